package run

import (
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Tended is a gateway that the run has let pods of into their Service: one that is
// made anew, by a drain or a node that fails, is let in too, once it is proven.
type Tended struct {
	Step plan.Step // the last that let pods in
	Most int       // so many of its pods may be in; 0 is all that there are
}

// Gateway is the one that is tended.
func (t Tended) Gateway() mesh.Ref { return t.Step.Workloads[0] }

// Tends are the gateways whose pods the run has let in and not taken out again: a
// step that is under way, forth or back, is not counted.
func (r Run) Tends() []Tended {
	var out []Tended
	for i, st := range r.Plan.Steps {
		if st.Kind != plan.OpenGateway || st.Pods == nil {
			continue
		}
		mine := func(t Tended) bool { return t.Gateway() == st.Workloads[0] }
		opens, state := st.Pods.To > st.Pods.From, r.Steps[i].State
		switch {
		case opens && state == "done" && !r.takingBack(i):
			out = append(slices.DeleteFunc(out, mine), Tended{Step: st, Most: r.most(st)})
		case !opens && (state == "done" || state == "applying"):
			out = slices.DeleteFunc(out, mine)
		}
	}
	return out
}

// takingBack says whether the step is the one that is being taken back now.
func (r Run) takingBack(i int) bool {
	return r.At == i && (r.Phase == Undoing || r.Phase == Held && r.HeldFrom == Undoing)
}

// most is how many pods a step lets in: what is all of them when the plan is made is
// all of them later, too, when somebody has given the gateway more.
func (r Run) most(st plan.Step) int {
	more, added := false, false
	for _, o := range r.Plan.Steps {
		if len(o.Workloads) != 1 || o.Workloads[0] != st.Workloads[0] {
			continue
		}
		more = more || o.Kind == plan.OpenGateway && o.Pods.To > st.Pods.To
		added = added || o.Kind == plan.AddGateway
	}
	if added && !more {
		return 0
	}
	return st.Pods.To
}

// In is how many of the gateway's pods are in the Service.
func (t Tended) In(s mesh.Snapshot) int {
	n := 0
	for _, p := range s.PodsOf(t.Gateway()) {
		if p.Ready && !p.Leaving {
			n++
		}
	}
	return n
}

// Full says whether as many are in as may be.
func (t Tended) Full(s mesh.Snapshot) bool { return t.Most > 0 && t.In(s) >= t.Most }
