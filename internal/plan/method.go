package plan

import (
	"github.com/serin-mesh/serin/internal/mesh"
)

// Methods are what a request may ask for.
func Methods() []Method { return []Method{Auto, Detach, Rollout} }

// Detaches says whether any workload's pods may be detached: then what selects pods
// must be looked at before planning. An operation that restarts nothing looks at less.
func (r Request) Detaches() bool {
	o := r.Operation
	return r.Restarts != Rollout && (o == nil || o.Verb == Roll && !o.Surge || o.Verb == Move && !o.LabelsOnly)
}

// detaches says whether the workload's pods are replaced by detaching them. A pod
// more is beside the old ones already where one was asked for.
func (b *builder) detaches(w mesh.Workload) bool {
	return b.req.Detaches() && !b.surge && (b.s.Detachable(w) == "" || b.retires(w))
}

// retires says whether the workload's pods leave their endpoints one by one, and
// then go: it serves with one fewer meanwhile, which nobody has asked for who wants
// nothing but detaching.
func (b *builder) retires(w mesh.Workload) bool {
	return b.req.Restarts == Auto && !b.surge && b.s.Retirable(w) == ""
}

// detaching are those of the step's workloads that go by detaching.
func (b *builder) detaching(kind Kind, units []unit) []mesh.Ref {
	if kind != FirstPods && kind != Restart {
		return nil
	}
	var out []mesh.Ref
	for _, u := range units {
		if b.detaches(u.w) {
			out = append(out, u.w.Ref)
		}
	}
	return out
}

// judgeMethod says why a workload is rolled out although detaching was asked for,
// or preferred.
func (b *builder) judgeMethod(w mesh.Workload) {
	if !b.req.Detaches() || b.surge {
		return
	}
	why := b.whyRolledOut(w)
	switch {
	case why == "":
	case b.retires(w):
		b.find(codeRetired, Info, "workload "+w.String(), "its pods leave their endpoints first, then go and are made again, one by one: one fewer serves meanwhile", "")
	case b.req.Restarts == Detach:
		b.find(codeRolledOut, Mandatory, "workload "+w.String(), "its pods cannot be detached: "+why, "ask for auto: it is rolled out then, and the others are detached")
	default:
		b.find(codeRolledOut, Info, "workload "+w.String(), "it is rolled out, and its pods are not detached: "+why, "")
	}
}

// whyRolledOut is the reason that fits the kind: what has controllers that make its
// pods again where they were is asked whether these may leave first.
func (b *builder) whyRolledOut(w mesh.Workload) string {
	why := b.s.Detachable(w)
	if b.req.Restarts == Auto && (w.Kind == mesh.KindStatefulSet || w.Kind == mesh.KindDaemonSet) && !b.retires(w) {
		return b.s.Retirable(w)
	}
	return why
}
