package run_test

import (
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

func outside(at time.Time) run.Event {
	return run.Event{Kind: run.Judged, At: at, Verdicts: []gate.Verdict{{Gate: gate.Within, State: gate.Unknown, Reason: "outside"}}}
}

// A window opens when it does: no patience runs out before, whatever else the step
// needs, and it begins to run only then.
func TestWindow_isWaitedForForDays(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 4, run.Waiting)
	r.Plan.Steps[r.At].Needs = append(r.Plan.Steps[r.At].Needs, gate.Within)
	for range 5 {
		at = at.Add(24 * time.Hour)
		var do run.Effect
		if r, do = run.Next(r, outside(at)); r.Phase != run.Waiting || do != run.Observe || r.Asks() {
			t.Fatalf("%s %s because %q", r.Phase, do, r.Cause)
		}
	}
	for _, after := range []time.Duration{time.Minute, 9 * time.Minute} {
		at = at.Add(after)
		e := judged(r, at, gate.Unknown)
		e.Verdicts[len(e.Verdicts)-1].State = gate.Open // the window
		if r, _ = run.Next(r, e); r.Phase != run.Waiting {
			t.Fatalf("%s after the window had opened: %s", after, r.Cause)
		}
	}
	if r, do := run.Next(r, judged(r, at, gate.Open)); r.Phase != run.Applying || do != run.Apply {
		t.Errorf("%s %s because %q", r.Phase, do, r.Cause)
	}
}

// A step that has begun is finished, and what is taken back waits for no window.
func TestWindow_keepsNoUndoWaiting(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 6, run.Waiting)
	for i := range r.Plan.Steps {
		r.Plan.Steps[i].Needs = append(r.Plan.Steps[i].Needs, gate.Within)
	}
	r, _ = run.Next(r, outside(at))
	r, do := run.Next(r, wish(run.WishRollback))
	if r.Phase != run.Undoing || do != run.Revert || len(r.Gates()) > 0 {
		t.Errorf("%s %s, asking %v", r.Phase, do, r.Gates())
	}
	r.Phase = run.Proving
	for _, g := range r.Gates() {
		if g == gate.Within {
			t.Error("a step that has begun waits for a window")
		}
	}
}
