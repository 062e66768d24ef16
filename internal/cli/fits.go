package cli

import (
	"context"
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// fits looks again and plans again: a plan whose mesh has changed is refused with
// the differences, and what was seen is returned for the run to begin from.
func (a *app) fits(ctx context.Context, pl plan.Plan, file string) (mesh.Snapshot, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return mesh.Snapshot{}, err
	}
	s, err := reader.Observe(ctx)
	if err != nil {
		return s, fmt.Errorf("looking at the mesh: %w", err)
	}
	now := plan.Build(s, pl.Request)
	if now.Digest == pl.Digest {
		return s, nil
	}
	if err := view.PlanDiff(a.io.ErrOut, pl, now); err != nil {
		return s, err
	}
	return s, refused("the plan %s no longer fits the mesh: the same request would do something else now, as shown above\n  remedy: plan again, look at it, apply it", file)
}
