package drive_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// S-47: a step whose proof compares requests with the time before it does not begin
// before there is such a time; and one that another process began is compared with
// the time before that.
func TestS47_aStepWaitsForSomethingToCompareItWith(t *testing.T) {
	w := newWorld(t, plan.Hold)
	asked := 0
	w.cold = func() string {
		if asked++; asked < 4 {
			return "3 of 60 requests"
		}
		return ""
	}
	deeds := func() int { return len(w.deeds) }
	seen := false
	w.show = func(r run.Run) {
		waits := slices.ContainsFunc(r.Verdicts, func(v gate.Verdict) bool { return v.Gate == gate.Requests && strings.Contains(v.Reason, "3 of 60") })
		if waits && (r.Phase != run.Waiting || !slices.Contains(r.Plan.Steps[r.At].Proof, gate.Requests)) {
			t.Errorf("%s of step %d waits", r.Phase, r.At+1)
		}
		seen = seen || waits
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	if !seen || asked < 4 || deeds() == 0 {
		t.Errorf("it did not wait: asked %d times", asked)
	}
	if len(w.since) == 0 || !strings.HasPrefix(w.since[0], "1 ") {
		t.Errorf("the gatherer was told of %v", w.since)
	}
}
