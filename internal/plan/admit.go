package plan

import (
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Admission is what a pod must show before it is let into its gateway's Service.
type Admission struct {
	Pod   string
	Asked gate.Question
	Needs []gate.Name
}

// Admissions are of the pods that their gate holds out of the Service into which the
// step has let others: made anew since then, each is proven by itself (S-29). It is
// compared with one of its own Deployment that serves, else with one of the gateway
// beside it. Where nobody serves there is nobody to compare it with.
func Admissions(s mesh.Snapshot, st Step) []Admission {
	ref := st.Workloads[0]
	var beside *mesh.Ref
	switch {
	case serves(s, ref):
		beside = &ref
	case st.Behind != nil && serves(s, *st.Behind):
		beside = st.Behind
	}
	var out []Admission
	for _, p := range s.PodsOf(ref) {
		if !p.Held || p.Leaving {
			continue
		}
		q := st.Question
		q.Pod, q.Beside, q.Held, q.Opened = p.Name, beside, true, 0
		out = append(out, Admission{Pod: p.Name, Asked: q, Needs: entry(q, true)})
	}
	return out
}

func serves(s mesh.Snapshot, ref mesh.Ref) bool {
	for _, p := range s.PodsOf(ref) {
		if p.Ready && !p.Leaving {
			return true
		}
	}
	return false
}

// Of is how many of n it is.
func (p Portion) Of(n int) (int, error) { return portion(string(p), n) }
