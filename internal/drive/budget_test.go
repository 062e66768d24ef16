package drive_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// S-48: a wave that loses more requests than the upgrade may is not restarted to
// its end; then the policy says what becomes of it.
func TestS48_aSpentBudgetEndsARestart(t *testing.T) {
	for policy, want := range map[plan.OnShut]run.Phase{plan.Hold: run.Held, plan.Rollback: run.Undone} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t, policy)
			r := w.kept()
			budget := 3
			r.Plan.Request.Budget = &budget
			w.keep(r)
			var failed atomic.Int64
			w.requests = func() (int, int) { return 1000, int(failed.Load()) }
			w.within = func(ctx context.Context, st plan.Step) error {
				if st.Kind != plan.Restart || w.kept().Phase != run.Applying {
					return nil
				}
				failed.Store(4)
				<-ctx.Done() // the other workloads of the wave wait for the first
				return ctx.Err()
			}
			r, err := w.life(t.Context())
			if err != nil || r.Phase != want {
				t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
			}
			if !strings.Contains(r.Cause, "4 failed requests, and the budget of the upgrade is 3") || strings.Contains(r.Cause, "well") {
				t.Errorf("the cause is %q", r.Cause)
			}
			if slices.Contains(w.deeds, "apply "+string(plan.Restart)) {
				t.Error("the restart went on to its end")
			}
			if policy == plan.Rollback {
				w.asBefore()
			}
		})
	}
}

// A deed that restarts nothing is finished, whatever it costs, and the run holds after it.
func TestS48_aSpentBudgetCutsNoOtherDeedShort(t *testing.T) {
	w := newWorld(t, plan.Hold)
	r := w.kept()
	r.Plan.Request.Budget = new(int)
	w.keep(r)
	failed := 0
	w.requests = func() (int, int) { return 1000, failed }
	w.deed = func(st plan.Step) error {
		if st.Kind == plan.InstallRevision {
			failed = 1
		}
		return nil
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || r.HeldFrom != run.Proving || r.Plan.Steps[r.At].Kind != plan.InstallRevision {
		t.Errorf("%s from %s in step %d because %q, %v", r.Phase, r.HeldFrom, r.At+1, r.Cause, err)
	}
}
