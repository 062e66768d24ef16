package cli

import (
	"context"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// fits looks again and plans again. It returns what was seen, for the run to
// begin from, and what the same request would do now: the same plan, or the mesh
// has changed.
func (a *app) fits(ctx context.Context, pl plan.Plan) (mesh.Snapshot, plan.Plan, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return mesh.Snapshot{}, plan.Plan{}, err
	}
	s, err := look(ctx, reader)
	if err != nil {
		return s, plan.Plan{}, err
	}
	now := plan.Build(s, pl.Request)
	s.Survey = nil // the checks have seen it: a run keeps what its undo needs
	return s, now, nil
}

// stale refuses a plan that no longer fits, with the differences.
func (a *app) stale(was, now plan.Plan, file string) error {
	if err := view.PlanDiff(a.io.ErrOut, was, now); err != nil {
		return err
	}
	return refused("the plan %s no longer fits the mesh: the same request would do something else now, as shown above\n  remedy: plan again, look at it, apply it", file)
}

// finished is the run that carried this very plan out, nil if there is none.
func finished(rs []run.Run, pl plan.Plan) *run.Run {
	for _, r := range rs {
		if r.Plan.Digest == pl.Digest && r.Phase == run.Done {
			return &r
		}
	}
	return nil
}
