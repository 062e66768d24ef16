package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// promise checks what must hold after every step of a plan, forward and back
// (DESIGN section 3). It knows the plan only by the revisions it is about.
type promise struct {
	p     plan.Plan
	start mesh.Snapshot
}

// broken lists the promises that the mesh breaks.
func (c promise) broken(s mesh.Snapshot) []string {
	out := s.Orphans()
	for _, n := range c.start.Namespaces {
		now, _ := s.Namespace(n.Name)
		if !c.start.Injection(n.Labels, nil).None() && s.Injection(now.Labels, nil).None() {
			out = append(out, "namespace "+n.Name+" had an injector and has none")
		}
	}
	for _, w := range c.start.Workloads {
		if now, ok := s.Workload(w.Ref); ok && !c.start.InjectionOf(w).None() && s.InjectionOf(now).None() {
			out = append(out, "workload "+w.String()+" had an injector and has none")
		}
	}
	for _, t := range s.Tags() {
		if t.Split {
			out = append(out, fmt.Sprintf("tag %s: its parts disagree: %+v", t.Name, t))
		}
	}
	return append(append(out, c.behind(s)...), c.bystanders(s)...)
}

// behind finds Services of gateways with fewer ready pods than at the start (S-30).
func (c promise) behind(s mesh.Snapshot) []string {
	ready := func(s mesh.Snapshot, svc string) int {
		n := 0
		for _, p := range s.Pods {
			if w, ok := s.Workload(p.Workload); ok && p.Ready && !p.Leaving && slices.Contains(w.Services, svc) {
				n++
			}
		}
		return n
	}
	var out []string
	for _, svc := range c.start.Edge.Services {
		id := svc.Namespace + "/" + svc.Name
		if was, is := ready(c.start, id), ready(s, id); is < was {
			out = append(out, fmt.Sprintf("S-30: Service %s had %d ready pods behind it and has %d", id, was, is))
		}
	}
	if fmt.Sprint(c.start.Edge.Services) != fmt.Sprint(s.Edge.Services) {
		out = append(out, "S-31: a Service has changed")
	}
	return out
}

// bystanders must be byte-equal (S-12).
func (c promise) bystanders(s mesh.Snapshot) []string {
	involved := func(rev string) bool { return rev == c.p.To || slices.Contains(c.p.From, rev) }
	text := func(s mesh.Snapshot) string {
		var all []any
		for _, x := range s.ControlPlanes {
			if !involved(x.Revision) {
				all = append(all, x)
				r, _ := s.Release(x.Owner)
				all = append(all, r)
			}
		}
		for _, x := range s.Injectors {
			if !involved(x.Revision) {
				all = append(all, x)
			}
		}
		for _, x := range s.Validators {
			if !involved(x.Revision) {
				all = append(all, x)
			}
		}
		for _, x := range s.Pods {
			if !involved(x.Revision) {
				all = append(all, x)
			}
		}
		b, err := json.Marshal(all)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if text(c.start) != text(s) {
		return []string{"S-12: a bystander has changed"}
	}
	return nil
}

// forward walks the plan and returns each mesh it passes through, the start
// first, and what was broken on the way.
func (c promise) forward(steps []plan.Step) ([]mesh.Snapshot, []string) {
	states := []mesh.Snapshot{c.start}
	var out []string
	s := c.start
	for _, st := range steps {
		next := plan.Simulate(s, st)
		for _, b := range append(c.broken(next), c.backwards(s, next)...) {
			out = append(out, fmt.Sprintf("after step %d (%s %s): %s", st.Number, st.Kind, st.Target, b))
		}
		s = next
		states = append(states, s)
	}
	return states, append(out, c.ended(s, steps)...)
}

// backwards finds namespaces and pods that were on the new revision and have left it again.
func (c promise) backwards(was, is mesh.Snapshot) []string {
	var out []string
	for _, n := range was.Namespaces {
		now, _ := is.Namespace(n.Name)
		if was.Injection(n.Labels, nil).Revision == c.p.To && is.Injection(now.Labels, nil).Revision != c.p.To {
			out = append(out, "namespace "+n.Name+" was on the new revision and is not any more")
		}
	}
	revisions := map[string]string{}
	for _, p := range is.Pods {
		revisions[p.Workload.String()+" "+p.Name] = p.Revision
	}
	for _, p := range was.Pods {
		if now, ok := revisions[p.Workload.String()+" "+p.Name]; ok && p.Revision == c.p.To && now != c.p.To {
			out = append(out, "pod "+p.Name+" was on the new revision and is not any more")
		}
	}
	return out
}

// ended checks the mesh that the whole plan leaves.
func (c promise) ended(s mesh.Snapshot, steps []plan.Step) []string {
	var out []string
	for _, t := range s.Tags() {
		if slices.Contains(c.p.From, t.Revision) {
			out = append(out, "at the end: tag "+t.Name+" is on "+t.Revision)
		}
	}
	for _, n := range c.start.Namespaces {
		now, _ := s.Namespace(n.Name)
		if want := c.labels(n); fmt.Sprint(want) != fmt.Sprint(now.Labels) {
			out = append(out, fmt.Sprintf("S-7, at the end: namespace %s: labels %v, want %v", n.Name, now.Labels, want))
		}
	}
	out = append(out, removed(s, steps)...)
	if base, ok := s.Base(); ok && slices.ContainsFunc(steps, func(st plan.Step) bool { return st.Kind == plan.MoveTag && st.Tag == "default" }) {
		if got := base.DefaultRevisionValue(); got != "" && got != c.p.To {
			out = append(out, "S-3, at the end: the base release names "+got)
		}
	}
	return out
}

// removed checks that what went is gone and that nothing refers to it.
func removed(s mesh.Snapshot, steps []plan.Step) []string {
	var out []string
	for _, st := range steps {
		if st.Kind != plan.RemoveRevision {
			continue
		}
		if _, there := s.ControlPlane(st.From); there {
			out = append(out, "at the end: "+st.From+" is still there")
		}
		for _, r := range s.References(st.From) {
			out = append(out, fmt.Sprintf("at the end: %s %s/%s refers to %s, which was removed", r.Kind, r.Namespace, r.Name, st.From))
		}
	}
	return out
}

// labels are those a namespace must end with: as they were when they name a tag
// or istio-injection, the new revision where they named one that is left.
func (c promise) labels(n mesh.Namespace) map[string]string {
	want := maps.Clone(n.Labels)
	rev, ok := n.Labels[mesh.RevLabel]
	_, tag := c.start.Tag(rev)
	if rev == mesh.DefaultRevision && slices.Contains(c.p.From, mesh.DefaultRevision) {
		tag = true // pinned
	}
	if ok && !tag && slices.Contains(c.p.From, rev) && slices.Contains(c.p.From, c.start.Injection(n.Labels, nil).Revision) {
		want[mesh.RevLabel] = c.p.To
	}
	return want
}

// back takes everything back from every prefix of the plan.
func (c promise) back(states []mesh.Snapshot) []string {
	var out []string
	for k := 1; k < len(states); k++ {
		applied := make([]int, k)
		for i := range applied {
			applied[i] = i
		}
		s := states[k]
		final := false
		for _, i := range plan.UndoOrder(c.p, applied) {
			st := c.p.Steps[i]
			if final = st.Undo.Irreversible != ""; final {
				break
			}
			s = plan.SimulateUndo(s, st, c.start)
			for _, b := range c.broken(s) {
				out = append(out, fmt.Sprintf("from step %d, after taking back step %d (%s %s): %s", k, st.Number, st.Kind, st.Target, b))
			}
		}
		if d := c.start.Differences(s); !final && len(d) > 0 && !c.resumes() {
			out = append(out, fmt.Sprintf("S-51: taken back from step %d, it is not as before:\n\t%s", k, strings.Join(d, "\n\t")))
		}
	}
	return out
}

// resumes says whether the plan restarts what somebody had labelled before it:
// that cannot be as before.
func (c promise) resumes() bool {
	return slices.ContainsFunc(c.p.Steps, func(st plan.Step) bool { return st.Kind == plan.Restart && st.UndoFirst == 0 })
}
