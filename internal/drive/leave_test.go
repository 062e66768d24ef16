package drive_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// Pods that leave a revision are given their own time before it is taken back, however
// short the patience of the request is. S-48, S-54.
func TestS54_aRevisionIsTakenBackAfterItsPodsHaveLeft(t *testing.T) {
	w := newWorld(t, plan.Rollback)
	r := w.kept()
	r.Plan.Request.Patience = plan.Duration(8 * time.Second)
	w.keep(r)
	given := time.Duration(0)
	w.within = func(ctx context.Context, st plan.Step) error {
		switch back := w.kept().Phase == run.Undoing; {
		case st.Kind == plan.Restart && !back:
			return errors.New("no")
		case st.Kind == plan.InstallRevision && back:
			until, _ := ctx.Deadline()
			given = until.Sub(clock.Now())
		}
		return nil
	}
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Undone {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	if given < 2*time.Minute {
		t.Errorf("it has %s", given)
	}
}
