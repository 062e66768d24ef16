package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Judge asks one gate. Evidence that is missing makes it Unknown, never Open (S-47).
func Judge(n Name, q Question, ev Evidence) Verdict {
	if why := ev.Missing[n]; why != "" {
		return Verdict{Gate: n, State: Unknown, Reason: why}
	}
	state, reason := Unknown, "no gate has this name"
	switch n {
	case ControlPlane:
		state, reason = controlPlane(q, ev)
	case Injection:
		state, reason = injection(q, ev)
	case Tags:
		state, reason = tags(ev.Snapshot)
	case CRDs:
		state, reason = crds(ev.Snapshot)
	case RolledOut:
		state, reason = rolledOut(q, ev.Snapshot)
	case Proxies:
		state, reason = proxies(q, ev)
	case Served:
		state, reason = served(q, ev)
	case Requests:
		state, reason = requests(ev.Requests)
	case NothingRefers:
		state, reason = nothingRefers(q, ev)
	case Approval:
		state, reason = approval(q, ev)
	}
	return Verdict{Gate: n, State: state, Reason: reason}
}

// oldUnwell begins the reason of a gate that saw the old revision fail.
const oldUnwell = "the old revision is unwell: "

// OldUnwell says whether a verdict says that the old revision is unwell: then
// nothing is undone onto it (S-10, S-48).
func OldUnwell(vs []Verdict) bool {
	return slices.ContainsFunc(vs, func(v Verdict) bool { return strings.HasPrefix(v.Reason, oldUnwell) })
}

// some names up to three of several.
func some(words []string) string {
	if len(words) > 3 {
		return strings.Join(words[:3], ", ") + fmt.Sprintf(" and %d more", len(words)-3)
	}
	return strings.Join(words, ", ")
}

func approval(q Question, ev Evidence) (State, string) {
	if who := ev.Approved[q.Step]; who != "" {
		return Open, "approved by " + who
	}
	return Unknown, fmt.Sprintf("step %d waits for approval", q.Step)
}

func crds(s mesh.Snapshot) (State, string) {
	if len(s.CRDs) == 0 {
		return Unknown, "no CRD of Istio was seen"
	}
	var not []string
	for _, c := range s.CRDs {
		if !c.Established {
			not = append(not, c.Name)
		}
	}
	if len(not) > 0 {
		return Unknown, fmt.Sprintf("%d of %d CRDs are not established yet: %s", len(not), len(s.CRDs), some(not))
	}
	return Open, fmt.Sprintf("%d CRDs established", len(s.CRDs))
}

func tags(s mesh.Snapshot) (State, string) {
	var agree []string
	for _, t := range s.Tags() {
		if t.Split {
			return Shut, fmt.Sprintf("tag %s is split: its injector calls %s, its Service selects %q, its validator calls %q", t.Name, t.Revision, t.Service, t.Validator)
		}
		agree = append(agree, t.Name+" -> "+t.Revision)
	}
	if len(agree) == 0 {
		return Unknown, "there is no tag"
	}
	return Open, some(agree)
}

func nothingRefers(q Question, ev Evidence) (State, string) {
	var left []string
	for _, o := range ev.Snapshot.References(q.Old) {
		name := o.Name
		if o.Namespace != "" {
			name = o.Namespace + "/" + name
		}
		left = append(left, strings.ToLower(o.Kind)+" "+name)
	}
	if len(left) > 0 {
		return Shut, fmt.Sprintf("%d still rely on %s: %s", len(left), q.Old, some(left))
	}
	return Open, "nothing relies on " + q.Old
}
