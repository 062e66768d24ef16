package drive_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// A deed ends as soon as another process has taken the mesh over: it is not finished
// beside that one's. S-46.
func TestS46_aDeedEndsWhenAnotherHasTheMesh(t *testing.T) {
	w := newWorld(t, plan.Hold)
	w.taken = make(chan struct{})
	w.within = func(ctx context.Context, st plan.Step) error {
		if st.Kind != plan.Restart {
			return nil
		}
		close(w.taken)
		<-ctx.Done()
		return ctx.Err()
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || !strings.Contains(r.Cause, "another process has taken the mesh over") {
		t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	if slices.Contains(w.deeds, "apply "+string(plan.Restart)) {
		t.Error("the restart went on to its end")
	}
}
