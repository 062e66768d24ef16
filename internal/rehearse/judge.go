package rehearse

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Standing is how the pod of a copied Deployment is.
type Standing struct {
	Workload string `json:"workload"`
	Ready    bool   `json:"ready"`
	Trouble  string `json:"trouble,omitempty"` // why there is no pod, or why it does not start
}

// Answer is what a pod of the original and one of the copy said to the same request.
type Answer struct {
	Ask

	Was     string `json:"was,omitempty"`
	Is      string `json:"is,omitempty"`
	Unasked string `json:"unasked,omitempty"` // why one of them could not be asked
}

// String names the port that was asked.
func (a Ask) String() string { return fmt.Sprintf("%s:%d%s", a.Service, a.Port, a.Path) }

// The two gates of which a run knows nothing.
const (
	Complete gate.Name = "complete" // everything that the copied workloads refer to is there
	Started  gate.Name = "started"  // each copied Deployment has its pod, ready
)

// Question is what the gates of a run are asked of the copy.
func (p Plan) Question() gate.Question {
	q := gate.Question{Revision: p.Revision, Version: p.Version, Namespaces: []string{p.Copy}}
	for _, name := range p.Meshed {
		q.Workloads = append(q.Workloads, mesh.Ref{Kind: mesh.KindDeployment, Namespace: p.Copy, Name: name})
	}
	return q
}

// Gates are those of a run that a copy must pass.
func (p Plan) Gates() []gate.Name {
	if len(p.Meshed) == 0 {
		return []gate.Name{gate.Injection}
	}
	return []gate.Name{gate.Injection, gate.RolledOut, gate.Proxies}
}

// Judge says what the evidence proves. What is no copy's is not looked at: a proxy
// that is unwell elsewhere is nothing that the rehearsal shows.
func (p Plan) Judge(ev gate.Evidence, standing []Standing, answers []Answer) []gate.Verdict {
	ev.Snapshot.Pods = slices.DeleteFunc(slices.Clone(ev.Snapshot.Pods), func(pod mesh.Pod) bool { return pod.Namespace != p.Copy })
	out := []gate.Verdict{p.complete(), p.started(standing)}
	for _, name := range p.Gates() {
		out = append(out, gate.Judge(name, p.Question(), ev))
	}
	return append(out, p.answered(answers))
}

func (p Plan) complete() gate.Verdict {
	if len(p.Missing) == 0 {
		return gate.Verdict{Gate: Complete, State: gate.Open, Reason: "everything that is referred to is there"}
	}
	var out []string
	for _, m := range p.Missing {
		out = append(out, m.Kind+" "+m.Name+" is not there: "+m.Why)
	}
	return gate.Verdict{Gate: Complete, State: gate.Shut, Reason: strings.Join(out, "; ")}
}

func (p Plan) started(standing []Standing) gate.Verdict {
	by := map[string]Standing{}
	for _, s := range standing {
		by[s.Workload] = s
	}
	v := gate.Verdict{Gate: Started, State: gate.Open}
	var waiting, troubled []string
	for _, name := range p.Workloads() {
		switch s := by[name]; {
		case s.Ready:
		case s.Trouble != "":
			troubled = append(troubled, name+": "+s.Trouble)
		default:
			waiting = append(waiting, name)
		}
	}
	n := len(p.Workloads())
	v.Reason = fmt.Sprintf("%d of %s ready", n-len(waiting)-len(troubled), mesh.Count(n, "pod"))
	switch {
	case len(troubled) > 0:
		v.State, v.Reason = gate.Shut, v.Reason+"; "+strings.Join(troubled, "; ")
	case len(waiting) > 0:
		v.State, v.Reason = gate.Unknown, v.Reason+", waiting for "+first(waiting)
	}
	return v
}

// answered compares. A port that nobody could be asked at makes it unknown: that
// nothing differs where nothing was asked is no news (S-47).
func (p Plan) answered(answers []Answer) gate.Verdict {
	v := gate.Verdict{Gate: gate.SameAnswers, State: gate.Open}
	var differ, unasked []string
	for _, a := range answers {
		switch {
		case a.Unasked != "":
			unasked = append(unasked, a.String()+": "+a.Unasked)
		case a.Was != a.Is:
			differ = append(differ, fmt.Sprintf("%s: %s by the copy, %s by the original", a, a.Is, a.Was))
		}
	}
	same := fmt.Sprintf("%d of %s answered as the originals do", len(answers)-len(differ)-len(unasked), mesh.Count(len(p.Asks), "question"))
	switch {
	case len(differ) > 0:
		v.State, v.Reason = gate.Shut, same+"; "+first(differ)
	case len(unasked) > 0:
		v.State, v.Reason = gate.Unknown, same+"; "+first(unasked)
	case len(answers) < len(p.Asks):
		v.State, v.Reason = gate.Unknown, same+"; not asked yet"
	case len(p.Asks) == 0:
		v.Reason = "nothing of what is copied has a Service to ask"
	default:
		v.Reason = same
	}
	return v
}

// Result is a rehearsal that was held.
type Result struct {
	Plan Plan `json:"plan"`

	Proof   []gate.Verdict `json:"proof"`
	Answers []Answer       `json:"answers,omitempty"`
	State   gate.State     `json:"state"`
	Kept    bool           `json:"kept,omitempty"` // the copy is still there
}

// StateOf is the worst of the verdicts.
func StateOf(proof []gate.Verdict) gate.State {
	state := gate.Open
	for _, v := range proof {
		if v.State == gate.Shut {
			return gate.Shut
		}
		if v.State != gate.Open {
			state = gate.Unknown
		}
	}
	return state
}

// decoded is the text of a Secret's value, empty if it is none.
func decoded(value string) string {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return ""
	}
	return string(b)
}
