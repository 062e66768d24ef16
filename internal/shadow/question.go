package shadow

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Mark is the type of resource by which istiod's list of connections tells a
// shadow from the proxy in whose name it asks.
const Mark = "type.googleapis.com/serin.dev.Shadow"

// Question is what is asked of which workloads.
type Question struct {
	Snapshot mesh.Snapshot
	Sides
	Workloads []mesh.Ref
}

// Ask returns the question of what would become of the workloads of a mesh on a
// revision. from is the revision they are on, needed only where there are several;
// want names the workloads, nil those of the namespace, which is all when empty.
func Ask(s mesh.Snapshot, to, from, namespace string, want []mesh.Ref) (Question, error) {
	q := Question{Snapshot: s}
	next, ok := s.ControlPlane(to)
	if !ok {
		return q, fmt.Errorf("there is no revision %s: there are %v\n  remedy: serin install istiod --revision %s, which moves nothing", to, s.Revisions(), to)
	}
	refs, on := candidates(s, to, namespace, want)
	if from == "" && len(on) == 1 {
		from = on[0]
	}
	if from == "" {
		if len(on) == 0 {
			return q, fmt.Errorf("no workload in question is on another revision than %s: there is nothing to compare", to)
		}
		return q, fmt.Errorf("the workloads are on revisions %v\n  remedy: name one with --from", on)
	}
	old, ok := s.ControlPlane(from)
	if !ok {
		return q, fmt.Errorf("there is no revision %s: there are %v", from, s.Revisions())
	}
	q.Sides = Sides{Side{from, old.Version}, Side{to, next.Version}}
	q.Workloads = slices.DeleteFunc(refs, func(r mesh.Ref) bool { return !slices.Contains(revisions(s, r), from) })
	if len(q.Workloads) == 0 {
		return q, fmt.Errorf("no workload in question is on revision %s", from)
	}
	return q, nil
}

// candidates are the workloads in question and the revisions they are on.
func candidates(s mesh.Snapshot, to, namespace string, want []mesh.Ref) ([]mesh.Ref, []string) {
	var (
		refs []mesh.Ref
		on   []string
	)
	for _, w := range s.Workloads {
		if namespace != "" && w.Namespace != namespace || want != nil && !slices.Contains(want, w.Ref) || !again(w.Kind) {
			continue
		}
		for _, r := range revisions(s, w.Ref) {
			if r != to {
				refs, on = append(refs, w.Ref), append(on, r)
			}
		}
	}
	slices.SortFunc(refs, func(a, b mesh.Ref) int { return cmp.Compare(a.String(), b.String()) })
	slices.Sort(on)
	return slices.Compact(refs), slices.Compact(on)
}

// again says whether a workload of the kind makes its pods again from a template.
func again(k mesh.WorkloadKind) bool {
	return k == mesh.KindDeployment || k == mesh.KindStatefulSet || k == mesh.KindDaemonSet
}

// revisions are those of the workload's pods, sorted.
func revisions(s mesh.Snapshot, r mesh.Ref) []string {
	var out []string
	for _, p := range s.PodsOf(r) {
		if p.Revision != "" && !p.Leaving {
			out = append(out, p.Revision)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Hosts are the names of the control planes' own Services: each revision has its
// own, and those of the other say nothing about a workload.
func (q Question) Hosts() []string {
	var out []string
	for _, c := range q.Snapshot.ControlPlanes {
		out = append(out, c.Name+"."+c.Namespace+".svc")
	}
	for _, t := range q.Snapshot.TagServices {
		out = append(out, t.Name+"."+q.Snapshot.IstioNamespace+".svc")
	}
	return out
}
