package run_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// ofBudget is a run that may cost so many failed requests.
func ofBudget(t *testing.T, onShut plan.OnShut, n int) run.Run {
	t.Helper()
	r := start(t, onShut)
	r.Plan.Request.Budget = &n
	return r
}

func TestS48_aSpentBudgetShutsInWhateverPhase(t *testing.T) {
	open := func(r run.Run) run.Event { return judged(r, noon, gate.Open) }
	of := func(kind run.EventKind) func(run.Run) run.Event {
		return func(run.Run) run.Event {
			return run.Event{Kind: kind, At: noon, Why: "no", Drift: []string{"tag prod"}}
		}
	}
	final := func(run.Run) run.Event { return run.Event{Kind: run.Failed, At: noon, Why: "refused", Final: true} }
	for name, tt := range map[string]struct {
		phase  run.Phase
		event  func(run.Run) run.Event
		policy plan.OnShut
		old    gate.Verdict
		failed int
		want   run.Phase
		from   run.Phase
		cause  string
	}{
		"as many as it may":                      {run.Proving, open, plan.Hold, well(), 3, run.Proving, "", ""},
		"one more in the proof":                  {run.Proving, open, plan.Hold, well(), 4, run.Held, run.Proving, "4 failed requests, and the budget of the upgrade is 3"},
		"before a step begins":                   {run.Waiting, open, plan.Hold, well(), 4, run.Held, run.Waiting, "budget"},
		"with nothing judged":                    {run.Waiting, of(run.Began), plan.Hold, well(), 4, run.Held, run.Waiting, "budget"},
		"while the deed was done":                {run.Applying, of(run.Applied), plan.Hold, well(), 4, run.Held, run.Proving, "budget"},
		"while it failed: it is not tried again": {run.Applying, of(run.Failed), plan.Hold, well(), 4, run.Held, run.Applying, "budget of the upgrade is 3; no"},
		"undo, if policy says so":                {run.Proving, open, plan.Rollback, well(), 4, run.Undoing, "", "budget"},
		"undo before the step begins":            {run.Waiting, open, plan.Rollback, well(), 4, run.Undoing, "", "budget"},
		"undo after the deed":                    {run.Applying, of(run.Applied), plan.Rollback, well(), 4, run.Undoing, "", "budget"},
		"not onto what is not seen":              {run.Proving, open, plan.Rollback, gate.Verdict{}, 4, run.Held, run.Proving, "not known to be well"},
		"drift holds, whatever the policy":       {run.Waiting, of(run.Drifted), plan.Rollback, well(), 4, run.Held, run.Waiting, "tag prod; then 4 failed"},
		"a refusal too":                          {run.Applying, final, plan.Rollback, well(), 4, run.Held, run.Applying, "refused; then 4 failed"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := upTo(t, ofBudget(t, tt.policy, 3), 5, tt.phase)
			r.Steps[2].Failed = 2 // an earlier step has cost some of them
			e := tt.event(r)
			e.Sent, e.Failed, e.Old = 100, tt.failed-2, tt.old
			r, _ = run.Next(r, e)
			if r.Phase != tt.want || r.HeldFrom != tt.from || !strings.Contains(r.Cause, tt.cause) {
				t.Errorf("%s from %q because %q, want %s from %q because %q", r.Phase, r.HeldFrom, r.Cause, tt.want, tt.from, tt.cause)
			}
		})
	}
}

func TestBudget_noneIsNoLimit(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 5, run.Waiting)
	e := judged(r, at, gate.Open)
	e.Sent, e.Failed = 1000, 1000
	if r, _ = run.Next(r, e); r.Phase != run.Applying {
		t.Errorf("%s because %q", r.Phase, r.Cause)
	}
}

// What is taken back goes on being taken back, and what has ended has ended.
func TestBudget_spentInAnUndoItGoesOn(t *testing.T) {
	r, _ := upTo(t, ofBudget(t, plan.Hold, 0), 6, run.Waiting)
	r, _ = run.Next(r, wish(run.WishRollback))
	for range 100 {
		if r.Phase != run.Undoing {
			break
		}
		r, _ = run.Next(r, run.Event{Kind: run.Reverted, At: noon, Sent: 10, Failed: 5})
	}
	if r.Phase != run.Undone {
		t.Errorf("%s because %q", r.Phase, r.Cause)
	}
}

// A person who resumes has seen the count: the budget begins anew, and says so.
func TestBudget_aResumeLetsPassWhatIsLost(t *testing.T) {
	r, at := upTo(t, ofBudget(t, plan.Hold, 3), 5, run.Proving)
	e := judged(r, at, gate.Open)
	e.Failed = 10
	r, _ = run.Next(r, e)
	r, _ = run.Next(r, wish(run.WishResume))
	if last := r.Log[len(r.Log)-1].What; r.Phase != run.Proving || !strings.Contains(last, "10 failed requests so far are let pass") {
		t.Fatalf("%s, %q", r.Phase, last)
	}
	e = judged(r, at, gate.Unknown)
	e.Failed = 3
	if r, _ = run.Next(r, e); r.Phase != run.Proving {
		t.Errorf("within the new budget: %s because %q", r.Phase, r.Cause)
	}
	e.Failed = 1
	if r, _ = run.Next(r, e); r.Phase != run.Held || !strings.Contains(r.Cause, "4 failed requests") {
		t.Errorf("beyond it: %s because %q", r.Phase, r.Cause)
	}
	held := r
	if r, _ = run.Next(held, wish(run.WishAbort)); r.Pardoned != held.Pardoned {
		t.Error("an abort lets pass what is lost")
	}
}
