package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// looser is a reader that looks at what else selects pods.
type looser interface {
	Loose(ctx context.Context) (mesh.Snapshot, error)
}

// detachable are those of the step's workloads whose pods are replaced by letting
// them go. The fences are looked at again, on the mesh as it is, and what the API
// server would refuse is tried dry, all before anything is touched. Where one is
// shut by now the workload is rolled out, and the run says why (S-35, S-43); or it
// is refused, where nothing but detaching was asked for. On the way back nothing
// is refused: it must go.
func (w *Writer) detachable(ctx context.Context, st plan.Step, p plan.Plan, rev string) (map[mesh.Ref]*detaching, error) {
	if len(st.Detach) == 0 {
		return nil, nil //nolint:nilnil // there are none
	}
	s, err := w.surveyed(ctx)
	if err != nil {
		return nil, err
	}
	out := map[mesh.Ref]*detaching{}
	turns := &turns{}
	var shut []string
	for _, ref := range st.Detach {
		wl, ok := s.Workload(ref)
		if !ok {
			continue // gone, or without a proxy by now: the restart finds out
		}
		d := &detaching{Writer: w, ref: ref, rev: rev, plan: p.Digest, step: st.Number, services: wl.Listed(), budget: wl.Budget, turns: turns}
		why, err := d.fenced(ctx, s, wl)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking whether pods of %s can be detached: %w", ref, err)
		case why == "":
			out[ref] = d
		case rev != st.From && p.Request.Restarts == plan.Detach:
			shut = append(shut, ref.String()+": "+why)
		default:
			w.notes.add("workload " + ref.String() + " is rolled out, not detached: " + why)
		}
	}
	if len(shut) > 0 {
		slices.Sort(shut)
		return nil, refused("it cannot be detached, and a rollout was not asked for: %s", strings.Join(shut, "; "))
	}
	return out, nil
}

func (w *Writer) surveyed(ctx context.Context) (mesh.Snapshot, error) {
	look := w.observer.Observe
	if o, ok := w.observer.(looser); ok {
		look = o.Loose
	}
	s, err := look(ctx)
	if err != nil {
		return s, fmt.Errorf("looking at the mesh: %w", err)
	}
	return s, nil
}

// fenced says why the workload's pods cannot be detached now. What was begun before
// is ended, whatever has come between.
func (d *detaching) fenced(ctx context.Context, s mesh.Snapshot, w mesh.Workload) (string, error) {
	if d.ref.Kind != mesh.KindDeployment {
		w.Settled = true // a pod that is not there yet may be one of ours: run waits for it
		return d.mayGo(ctx, s.Retirable(w))
	}
	orphans, err := d.orphans(ctx)
	if err != nil || len(orphans) > 0 {
		return "", err
	}
	return d.mayGo(ctx, s.Detachable(w))
}

// mayGo adds to the fences what the API server would refuse of the first pod to go.
func (d *detaching) mayGo(ctx context.Context, shut string) (string, error) {
	if shut != "" {
		return shut, nil
	}
	settled := d.rolledOut
	if d.ref.Kind != mesh.KindDeployment {
		settled = func(ctx context.Context, _ mesh.Ref) (rollout, error) { return d.now(ctx) }
	}
	r, err := settled(ctx, d.ref)
	if err != nil || !r.there {
		return "", err
	}
	own, err := d.ownPods(ctx, r)
	if err != nil {
		return "", err
	}
	stale, _ := apart(own, d.rev)
	if len(stale) == 0 {
		return "", nil
	}
	return d.tried(ctx, stale[0])
}

// endLeftOver ends the pods of a workload that is rolled out now and was detached
// before, by a run that did not come to its end.
func (w *Writer) endLeftOver(ctx context.Context, ref mesh.Ref, rev string) error {
	d := &detaching{Writer: w, ref: ref, rev: rev, turns: &turns{}}
	if ref.Kind != mesh.KindDeployment {
		return nil
	}
	orphans, err := d.orphans(ctx)
	if err != nil || len(orphans) == 0 {
		return err
	}
	s, err := w.surveyed(ctx)
	if err != nil {
		return err
	}
	if wl, ok := s.Workload(ref); ok {
		d.services, d.budget = wl.Services, wl.Budget
	}
	return d.endOrphans(ctx)
}

// turns lets one workload of each disruption budget detach at a time (S-38).
type turns struct {
	mu   sync.Mutex
	held map[string]*sync.Mutex
}

// take waits for the budget's turn, and returns what ends it.
func (t *turns) take(namespace string, b *mesh.Budget) func() {
	if b == nil {
		return func() {}
	}
	t.mu.Lock()
	if t.held == nil {
		t.held = map[string]*sync.Mutex{}
	}
	name := namespace + "/" + b.Name
	if t.held[name] == nil {
		t.held[name] = &sync.Mutex{}
	}
	m := t.held[name]
	t.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// notes are what a deed has to say beside its end.
type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, text)
}

// Told returns what the last deed has said, once.
func (w *Writer) Told() []string {
	w.notes.mu.Lock()
	defer w.notes.mu.Unlock()
	out := w.notes.all
	w.notes.all = nil
	return out
}
