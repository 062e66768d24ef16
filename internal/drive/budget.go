package drive

import (
	"context"
	"errors"
	"time"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// errSpent ends a deed that has cost more requests than the upgrade may.
var errSpent = errors.New("no further workload of the step is restarted")

// glimpse is how often the requests are counted while workloads restart.
const glimpse = 200 * time.Millisecond

// withinBudget ends the context of a restart once the upgrade has cost more failed
// requests than its budget: a wave may take minutes, and its other workloads need
// not follow. Other deeds are finished, as always. The function ends the watch.
func (l *loop) withinBudget(ctx context.Context, r run.Run) (context.Context, func()) {
	st := r.Plan.Steps[r.At]
	restarts := st.Kind == plan.Restart || st.Kind == plan.FirstPods || st.Kind == plan.Surge
	if !restarts || l.p.Requests == nil || r.Plan.Request.Budget == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(glimpse)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if _, failed := l.p.Requests(); r.Overspends(failed - l.failed) {
				cancel(errSpent)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
	}
}
