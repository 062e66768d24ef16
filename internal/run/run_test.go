package run_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// start is a run of the usual upgrade.
func start(t *testing.T, onShut plan.OnShut) run.Run {
	t.Helper()
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(s, plan.Request{To: "1.29.1", OnShut: onShut, Probe: &plan.Probe{URL: "http://gateway/"}})
	if len(p.Steps) < 8 {
		t.Fatalf("%d steps: %+v", len(p.Steps), p.Findings)
	}
	return run.Start("r1", p, s, "erin", noon)
}

// judged are verdicts on the gates that the run asks for, all alike.
func judged(r run.Run, at time.Time, state gate.State) run.Event {
	e := run.Event{Kind: run.Judged, At: at}
	for _, n := range r.Gates() {
		e.Verdicts = append(e.Verdicts, gate.Verdict{Gate: n, State: state, Reason: "as told"})
	}
	return e
}

// upTo carries the run on, with all well, until it is in the phase at a step's number.
func upTo(t *testing.T, r run.Run, step int, phase run.Phase) (run.Run, time.Time) {
	t.Helper()
	at := noon
	for range 1000 {
		if r.At == step-1 && r.Phase == phase {
			return r, at
		}
		at = at.Add(time.Minute)
		e := judged(r, at, gate.Open)
		if r.Phase == run.Applying {
			e = run.Event{Kind: run.Applied, At: at}
		}
		r, _ = run.Next(r, e)
	}
	t.Fatalf("it never came to %s of step %d", phase, step)
	return r, at
}

func wish(kind run.WishKind) run.Event {
	return run.Event{Kind: run.Wished, At: noon.Add(time.Hour), Wish: run.Wish{Kind: kind, By: "max", Seq: 1}}
}

func well() gate.Verdict {
	return gate.Verdict{Gate: gate.OldRevision, State: gate.Open, Reason: "well"}
}

func TestNext_goesThroughToTheEnd(t *testing.T) {
	r := start(t, plan.Hold)
	r, _ = upTo(t, r, len(r.Plan.Steps), run.Done)
	for i, rec := range r.Steps {
		if rec.State != "done" || rec.Started.IsZero() || rec.Ended.IsZero() || len(rec.Verdicts) == 0 && len(r.Plan.Steps[i].Proof) > 0 {
			t.Errorf("step %d: %+v", i+1, rec)
		}
	}
}

func TestS47_aGateThatWasNotJudgedDoesNotOpen(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 7, run.Waiting)
	if len(r.Gates()) == 0 {
		t.Fatal("step 7 needs nothing")
	}
	if r, do := run.Next(r, run.Event{Kind: run.Judged, At: at}); r.Phase != run.Waiting || do != run.Observe {
		t.Errorf("%s, %s", r.Phase, do)
	}
	for _, state := range []gate.State{gate.Shut, gate.Unknown} {
		if r, do := run.Next(r, judged(r, at.Add(24*time.Hour), state)); r.Phase != run.Waiting || do != run.Observe {
			t.Errorf("%s: %s, %s", state, r.Phase, do)
		}
	}
}

func TestS14_driftHolds(t *testing.T) {
	r, do := run.Next(start(t, plan.Rollback), run.Event{Kind: run.Drifted, At: noon, Drift: []string{"tag prod: gone"}})
	if r.Phase != run.Held || do != run.Stop || !strings.Contains(r.Cause, "tag prod: gone") {
		t.Errorf("%s %s %q", r.Phase, do, r.Cause)
	}
	if r, do = run.Next(r, wish(run.WishResume)); r.Phase != run.Waiting || do != run.Observe || r.Cause != "" {
		t.Errorf("resumed: %s %s %q", r.Phase, do, r.Cause)
	}
}

func TestNext_aFailedDeedIsTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		policy plan.OnShut
		old    gate.Verdict
		want   run.Phase
	}{
		{plan.Hold, well(), run.Held}, {plan.Rollback, well(), run.Undoing}, {plan.Rollback, gate.Verdict{}, run.Held},
	} {
		r, at := upTo(t, start(t, tt.policy), 5, run.Applying)
		var do run.Effect
		for n := 1; n <= 3; n++ {
			r, do = run.Next(r, run.Event{Kind: run.Failed, At: at, Why: "no", Old: tt.old})
			if n < 3 && (r.Phase != run.Applying || do != run.Apply) {
				t.Errorf("try %d: %s %s", n, r.Phase, do)
			}
		}
		if r.Phase != tt.want || r.Cause == "" {
			t.Errorf("%s, old %q: %s because %q, want %s", tt.policy, tt.old.State, r.Phase, r.Cause, tt.want)
		}
	}
	r, at := upTo(t, start(t, plan.Rollback), 5, run.Applying)
	if r, _ = run.Next(r, run.Event{Kind: run.Failed, At: at, Why: "refused", Final: true, Old: well()}); r.Phase != run.Held || r.Tries != 1 {
		t.Errorf("refused: %s after %d tries", r.Phase, r.Tries)
	}
}

func TestS48_whatAShutGateDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		policy plan.OnShut
		gate   gate.Name
		after  time.Duration
		reason string
		old    gate.Verdict
		want   run.Phase
	}{
		"hold is the default":       {"", gate.Requests, 0, "5 failed", well(), run.Held},
		"requests at once":          {plan.Rollback, gate.Requests, 0, "5 failed", well(), run.Undoing},
		"others may settle":         {plan.Rollback, gate.Proxies, 59 * time.Second, "rejected", well(), run.Proving},
		"and then no more":          {plan.Rollback, gate.Proxies, time.Minute, "rejected", well(), run.Undoing},
		"not onto what is unwell":   {plan.Rollback, gate.Requests, 0, "5 failed; the old revision is unwell: x", well(), run.Held},
		"nor onto what is not seen": {plan.Rollback, gate.Requests, 0, "5 failed", gate.Verdict{}, run.Held},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := upTo(t, start(t, tt.policy), 5, run.Proving)
			e := judged(r, r.Since.Add(tt.after), gate.Open)
			i := slices.IndexFunc(e.Verdicts, func(v gate.Verdict) bool { return v.Gate == tt.gate })
			e.Verdicts[i].State, e.Verdicts[i].Reason, e.Old = gate.Shut, tt.reason, tt.old
			if r, _ = run.Next(r, e); r.Phase != tt.want {
				t.Errorf("%s because %q, want %s", r.Phase, r.Cause, tt.want)
			}
		})
	}
}

func TestNext_theSoakIsWithoutABreak(t *testing.T) {
	r, _ := upTo(t, start(t, plan.Hold), 5, run.Proving)
	soak, at := time.Duration(r.Plan.Steps[4].Soak), r.Since
	see := func(after time.Duration, state gate.State, want run.Phase) {
		t.Helper()
		at = at.Add(after)
		if r, _ = run.Next(r, judged(r, at, state)); r.Phase != want {
			t.Fatalf("%s %s: %s", after, state, r.Phase)
		}
	}
	see(0, gate.Open, run.Proving)
	see(soak-time.Second, gate.Open, run.Proving)
	see(time.Hour, gate.Unknown, run.Proving) // one bad look long after the deed holds nothing
	see(time.Second, gate.Open, run.Proving)
	if r, _ = run.Next(r, run.Event{Kind: run.Began, At: at.Add(time.Hour)}); !r.OpenSince.IsZero() {
		t.Error("the time in which nobody watched counts")
	}
	see(2*time.Hour, gate.Unknown, run.Proving)
	see(9*time.Minute, gate.Unknown, run.Proving)
	see(time.Minute, gate.Unknown, run.Held)
	if !strings.Contains(r.Cause, "as told") {
		t.Errorf("the cause %q has no reason", r.Cause)
	}
}

func TestWishes(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 5, run.Waiting)
	paused, _ := run.Next(r, wish(run.WishPause))
	if p, do := run.Next(paused, judged(paused, at, gate.Open)); p.Phase != run.Waiting || do != run.Observe {
		t.Errorf("paused: %s %s", p.Phase, do)
	}
	resumed, _ := run.Next(paused, wish(run.WishResume))
	if p, do := run.Next(resumed, judged(resumed, at, gate.Open)); p.Phase != run.Applying || do != run.Apply {
		t.Errorf("resumed: %s %s", p.Phase, do)
	}
	held, do := run.Next(r, wish(run.WishAbort))
	if held.Phase != run.Held || do != run.Stop {
		t.Errorf("aborted: %s %s", held.Phase, do)
	}
	back, do := run.Next(held, wish(run.WishRollback))
	if d := cmp.Diff(plan.UndoOrder(r.Plan, []int{0, 1, 2, 3}), back.Undo); d != "" || do != run.Revert || back.At != back.Undo[0] {
		t.Errorf("rolled back from Held: %s at %d\n%s", do, back.At, d)
	}
	approved, _ := run.Next(r, run.Event{Kind: run.Wished, Wish: run.Wish{Kind: run.WishApprove, By: "max", Step: 10, Seq: 7}})
	if approved.Approved[10] != "max" || approved.WishSeq != 7 || len(r.Approved) != 0 {
		t.Errorf("approved %v, seq %d, and before %v", approved.Approved, approved.WishSeq, r.Approved)
	}
	// A word alone does not get a held run going: serin says both commands.
	word, do := run.Next(held, run.Event{Kind: run.Wished, Wish: run.Wish{Kind: run.WishApprove, By: "max", Step: 5, Seq: 8}})
	if word.Phase != run.Held || do != run.Stop || word.Approved[5] != "max" {
		t.Errorf("approved while it is held: %s %s", word.Phase, do)
	}
	if on, do := run.Next(word, wish(run.WishResume)); on.Phase != run.Waiting || do != run.Observe || on.Approved[5] != "max" {
		t.Errorf("then resumed: %s %s", on.Phase, do)
	}
}

func TestUndoing_holdsPausesAndGoesOn(t *testing.T) {
	r, _ := upTo(t, start(t, plan.Hold), 5, run.Proving)
	r, do := run.Next(r, wish(run.WishRollback))
	for range 3 {
		if r.Phase != run.Undoing || do != run.Revert {
			t.Fatalf("%s %s", r.Phase, do)
		}
		r, do = run.Next(r, run.Event{Kind: run.Failed, Why: "no"})
	}
	if r.Phase != run.Held || r.HeldFrom != run.Undoing || do != run.Stop {
		t.Fatalf("%s from %s, %s", r.Phase, r.HeldFrom, do)
	}
	if r, do = run.Next(r, wish(run.WishResume)); do != run.Revert || !strings.Contains(r.Cause, "asked by max") {
		t.Errorf("resumed: %s because %q", do, r.Cause)
	}
	r, _ = run.Next(r, wish(run.WishPause))
	if r, do = run.Next(r, run.Event{Kind: run.Reverted}); r.Phase != run.Undoing || do != run.Observe {
		t.Errorf("paused: %s %s", r.Phase, do)
	}
	r, do = run.Next(r, wish(run.WishResume))
	for n := 0; do == run.Revert && n < 20; n++ {
		r, do = run.Next(r, run.Event{Kind: run.Reverted, At: noon})
	}
	if r.Phase != run.Undone || do != run.Stop {
		t.Errorf("%s %s", r.Phase, do)
	}
	for i, rec := range r.Steps {
		if want := map[bool]string{true: "undone"}[i < 5]; rec.State != want {
			t.Errorf("step %d is %q, want %q", i+1, rec.State, want)
		}
	}
}

// S-54: taking back that is refused is held at once, and a rollback asked for again goes
// on where it was: with the same step, and no step that is back already.
func TestUndoing_refusedGoesOnWithARollback(t *testing.T) {
	r, _ := upTo(t, start(t, plan.Hold), 5, run.Proving)
	r, _ = run.Next(r, wish(run.WishRollback))
	r, _ = run.Next(r, run.Event{Kind: run.Reverted, At: noon})
	left := slices.Clone(r.Undo)
	r, do := run.Next(r, run.Event{Kind: run.Failed, Why: "still needed: pod shop/db-0", Final: true})
	if r.Phase != run.Held || do != run.Stop || !strings.Contains(r.Cause, "pod shop/db-0") {
		t.Fatalf("%s %s because %q", r.Phase, do, r.Cause)
	}
	r, do = run.Next(r, wish(run.WishRollback))
	if d := cmp.Diff(left, r.Undo); d != "" || do != run.Revert || r.At != left[0] {
		t.Fatalf("%s at %d: %s", do, r.At, d)
	}
	for n := 0; do == run.Revert && n < 20; n++ {
		r, do = run.Next(r, run.Event{Kind: run.Reverted, At: noon})
	}
	if r.Phase != run.Undone || do != run.Stop {
		t.Errorf("%s %s", r.Phase, do)
	}
}

// A refused rollback must not forget where a resume leads.
func TestNext_whatCannotBeTakenBackHolds(t *testing.T) {
	r := start(t, plan.Hold)
	last := len(r.Plan.Steps)
	r.Plan.Steps[last-1].Undo = plan.Undo{Irreversible: "istioctl made it"}
	r, _ = upTo(t, r, last, run.Proving)
	for range 2 {
		var do run.Effect
		if r, do = run.Next(r, wish(run.WishRollback)); r.Phase != run.Held || do != run.Stop || !strings.Contains(r.Cause, "cannot be taken back") {
			t.Fatalf("%s %s because %q", r.Phase, do, r.Cause)
		}
	}
	if r, do := run.Next(r, wish(run.WishResume)); r.Phase != run.Proving || do != run.Observe {
		t.Errorf("resumed: %s %s", r.Phase, do)
	}
}

// A deed that ran out of time is not tried again: the policy decides at once.
func TestNext_whatIsTooSlowIsBadNews(t *testing.T) {
	well := gate.Verdict{Gate: gate.OldRevision, State: gate.Open}
	for policy, want := range map[plan.OnShut]run.Phase{plan.Hold: run.Held, plan.Rollback: run.Undoing} {
		r, at := upTo(t, start(t, policy), 5, run.Applying)
		r, _ = run.Next(r, run.Event{Kind: run.Failed, At: at, Why: "0 of 1 pods updated", Slow: true, Old: well})
		if r.Phase != want || !strings.Contains(r.Cause, "0 of 1 pods updated") {
			t.Errorf("%s: %s because %q", policy, r.Phase, r.Cause)
		}
	}
}

func TestNext_patienceIsTheRequests(t *testing.T) {
	for _, patience := range []plan.Duration{0, plan.Duration(2 * time.Minute)} {
		r := start(t, plan.Hold)
		r.Plan.Request.Patience = patience
		r, at := upTo(t, r, 5, run.Proving)
		r, _ = run.Next(r, judged(r, at, gate.Unknown))
		waits := r.Plan.Request.Waits()
		if r, _ = run.Next(r, judged(r, at.Add(waits-time.Second), gate.Unknown)); r.Phase != run.Proving {
			t.Errorf("%s: it is %s before its time", waits, r.Phase)
		}
		if r, _ = run.Next(r, judged(r, at.Add(waits), gate.Unknown)); r.Phase != run.Held || !strings.Contains(r.Cause, "not proven after "+waits.String()) {
			t.Errorf("%s: %s because %q", waits, r.Phase, r.Cause)
		}
	}
}

// Gates that open and close again, as those of a pod whose readiness flaps, are not
// waited for for ever: patience runs out for them too.
func TestNext_whatFlapsIsNotProven(t *testing.T) {
	r := start(t, plan.Hold)
	r, at := upTo(t, r, 5, run.Proving)
	soak := time.Duration(r.Plan.Steps[4].Soak)
	for n := range 100 {
		state := []gate.State{gate.Open, gate.Unknown}[n%2]
		at = at.Add(soak / 2)
		if r, _ = run.Next(r, judged(r, at, state)); r.Phase != run.Proving {
			break
		}
	}
	if r.Phase != run.Held || !strings.Contains(r.Cause, "open and close again") || !strings.Contains(r.Cause, "as told") {
		t.Fatalf("%s because %q", r.Phase, r.Cause)
	}
	if waited := at.Sub(r.Since); waited < r.Plan.Request.Waits() {
		t.Errorf("held after %s, before its patience", waited)
	}
	if r, _ = run.Next(r, wish(run.WishResume)); r.Phase != run.Proving || r.Breaks != 0 {
		t.Errorf("resumed: %s after %d breaks", r.Phase, r.Breaks)
	}
}

// What a step needs may be unknown as long as the patience lasts; a person may
// take any time to say yes.
func TestNext_aNeedHasItsPatienceToo(t *testing.T) {
	waits := plan.Request{}.Waits()
	at4 := func() (run.Run, time.Time) { return upTo(t, start(t, plan.Hold), 4, run.Waiting) }
	r, at := at4()
	for _, after := range []time.Duration{0, waits - time.Second} {
		if r, _ = run.Next(r, judged(r, at.Add(after), gate.Unknown)); r.Phase != run.Waiting {
			t.Fatalf("after %s it is %s", after, r.Phase)
		}
	}
	if r, do := run.Next(r, judged(r, at.Add(waits), gate.Unknown)); r.Phase != run.Held || do != run.Stop || !strings.Contains(r.Cause, "not begun after 10m0s: ") {
		t.Errorf("%s because %q", r.Phase, r.Cause)
	}

	r, at = at4()
	r.Plan.Steps[r.At].Needs = append(r.Plan.Steps[r.At].Needs, gate.Approval)
	for n := range 3 {
		e := judged(r, at.Add(time.Duration(n)*24*time.Hour), gate.Open)
		e.Verdicts[len(e.Verdicts)-1].State = gate.Unknown
		if r, _ = run.Next(r, e); r.Phase != run.Waiting {
			t.Fatalf("nobody has said yes for %d days: %s because %q", n, r.Phase, r.Cause)
		}
	}

	r, at = at4()
	r.Paused = true
	for n := range 3 {
		if r, _ = run.Next(r, judged(r, at.Add(time.Duration(n)*24*time.Hour), gate.Unknown)); r.Phase != run.Waiting {
			t.Fatalf("paused for %d days: %s because %q", n, r.Phase, r.Cause)
		}
	}
}

// What is proven to be dangerous holds at once, before anything has moved; what a
// person must look at waits for as long as it takes.
func TestNext_theProofBeforeTheFirstMove(t *testing.T) {
	r, at := upTo(t, start(t, plan.Hold), 4, run.Waiting)
	if !slices.Contains(r.Gates(), gate.Prove) {
		t.Fatalf("step %d needs %v", r.At+1, r.Gates())
	}
	told := func(state gate.State, asks bool, after time.Duration) run.Event {
		e := judged(r, at.Add(after), gate.Open)
		for i := range e.Verdicts {
			if e.Verdicts[i].Gate == gate.Prove {
				e.Verdicts[i].State, e.Verdicts[i].Asks = state, asks
			}
		}
		return e
	}
	if next, do := run.Next(r, told(gate.Shut, false, 0)); next.Phase != run.Held || do != run.Stop || !strings.Contains(next.Cause, "gate prove is shut") || next.HeldFrom != run.Waiting {
		t.Errorf("%s because %q", next.Phase, next.Cause)
	}
	next := r
	for n := range 3 {
		if next, _ = run.Next(next, told(gate.Unknown, true, time.Duration(n)*24*time.Hour)); next.Phase != run.Waiting {
			t.Fatalf("nobody has said yes for %d days: %s because %q", n, next.Phase, next.Cause)
		}
	}
	if next, do := run.Next(next, told(gate.Open, false, 100*time.Hour)); next.Phase != run.Applying || do != run.Apply {
		t.Errorf("%s %s", next.Phase, do)
	}
}

// A finished run can be taken back: the last one may have shown too late what is wrong.
func TestNext_whatIsDoneCanBeTakenBack(t *testing.T) {
	r := start(t, plan.Hold)
	r, at := upTo(t, r, len(r.Plan.Steps), run.Done)
	if next, do := run.Next(r, wish(run.WishPause)); do != run.Stop || next.Phase != run.Done {
		t.Errorf("%s %s: only a rollback is left", next.Phase, do)
	}
	r, do := run.Next(r, wish(run.WishRollback))
	if r.Phase != run.Undoing || do != run.Revert || !r.Ended.IsZero() || r.Plan.Steps[r.At].Kind != plan.RemoveRevision {
		t.Fatalf("%s %s at step %d, ended %s", r.Phase, do, r.At+1, r.Ended)
	}
	for range r.Plan.Steps {
		at = at.Add(time.Minute)
		r, do = run.Next(r, run.Event{Kind: run.Reverted, At: at})
	}
	if r.Phase != run.Undone || do != run.Stop || !r.Ended.Equal(at) {
		t.Errorf("%s %s, ended %s", r.Phase, do, r.Ended)
	}
}

func TestStart_nothingToDoIsDone(t *testing.T) {
	r := run.Start("r1", plan.Plan{}, meshtest.New().Snapshot(), "erin", noon)
	if r, do := run.Next(r, run.Event{Kind: run.Began}); r.Phase != run.Done || do != run.Stop {
		t.Errorf("%s %s", r.Phase, do)
	}
}

func TestExpected_isWhatTheDoneStepsLeave(t *testing.T) {
	r, _ := upTo(t, start(t, plan.Hold), 4, run.Applying)
	want := r.Before
	for _, st := range r.Plan.Steps[:3] {
		want = plan.Simulate(want, st)
	}
	if d := cmp.Diff(want, r.Expected()); d != "" {
		t.Error(d)
	}
}

// effects are those a phase may ask for.
func effects(r run.Run) []run.Effect {
	switch r.Phase {
	case run.Waiting, run.Proving:
		return []run.Effect{run.Observe}
	case run.Applying:
		return []run.Effect{run.Apply}
	case run.Undoing:
		return []run.Effect{map[bool]run.Effect{true: run.Observe, false: run.Revert}[r.Paused]}
	case run.Held, run.Done, run.Undone:
	}
	return []run.Effect{run.Stop}
}

func anyEvent(rnd *rand.Rand, r run.Run, at time.Time) run.Event {
	kinds := []run.EventKind{run.Began, run.Judged, run.Judged, run.Judged, run.Drifted, run.Applied, run.Applied, run.Reverted, run.Failed, run.Wished}
	states := []gate.State{gate.Open, gate.Open, gate.Open, gate.Shut, gate.Unknown}
	e := run.Event{Kind: kinds[rnd.IntN(len(kinds))], At: at, Why: "bad", Final: rnd.IntN(8) == 0}
	if e.Kind == run.Judged {
		e.Verdicts = judged(r, at, states[rnd.IntN(len(states))]).Verdicts
	}
	if rnd.IntN(2) == 0 {
		e.Old = well()
	}
	wishes := []run.WishKind{run.WishPause, run.WishResume, run.WishResume, run.WishResume, run.WishApprove, run.WishAbort, run.WishRollback}
	e.Wish = run.Wish{Kind: wishes[rnd.IntN(len(wishes))], By: "max", Step: 1 + rnd.IntN(10), Seq: at.Unix()}
	return e
}

// However events fall: Done and Undone are final, Held is left by a wish only,
// each phase asks for its own effect, and from wherever the events leave it, good
// news and a resume bring the run to an end.
func TestNext_randomEvents(t *testing.T) {
	base := map[bool]run.Run{true: start(t, plan.Rollback), false: start(t, plan.Hold)}
	ends := map[run.Phase]int{}
	for seed := range uint64(2000) {
		rnd, at := rand.New(rand.NewPCG(seed, 1)), noon
		r := base[seed%2 == 0]
		for range 120 {
			at = at.Add(time.Duration(rnd.IntN(90)) * time.Second)
			e := anyEvent(rnd, r, at)
			next, do := run.Next(r, e)
			if why := broken(r, e, next, do); why != "" {
				t.Fatalf("seed %d: %s: %s %v -> %s %s", seed, why, r.Phase, e, next.Phase, do)
			}
			r = next
		}
		end := settle(r, at)
		if end.Phase != run.Done && end.Phase != run.Undone {
			t.Fatalf("seed %d: stuck in %s at %d because %q", seed, end.Phase, end.At, end.Cause)
		}
		ends[end.Phase]++
	}
	if ends[run.Done] < 100 || ends[run.Undone] < 100 {
		t.Errorf("the events lead nowhere new: %v", ends)
	}
}

func broken(was run.Run, e run.Event, is run.Run, do run.Effect) string {
	switch {
	case (was.Phase == run.Done || was.Phase == run.Undone) && is.Phase != was.Phase:
		return "a final phase was left"
	case was.Phase == run.Held && is.Phase != run.Held && e.Kind != run.Wished:
		return "Held was left without a wish"
	case was.Phase == run.Undoing && slices.Contains([]run.Phase{run.Waiting, run.Applying, run.Proving}, is.Phase):
		return "S-48: back and forth"
	case !slices.Contains(effects(is), do):
		return fmt.Sprintf("the phase asks for %s", do)
	case is.Phase == run.Undoing && (len(is.Undo) == 0 || is.Undo[0] != is.At):
		return "it takes back another step than the next one"
	case is.Phase == run.Held && (is.Cause == "" || is.HeldFrom == run.Held || is.HeldFrom == ""):
		return "held without a cause or a way back"
	case len(is.Log) < len(was.Log):
		return "the log is shorter"
	}
	return ""
}

// settle lets everything go well from here on.
func settle(r run.Run, at time.Time) run.Run {
	for range 400 {
		at = at.Add(time.Hour)
		e := judged(r, at, gate.Open)
		switch {
		case r.Phase == run.Held || r.Paused:
			e = run.Event{Kind: run.Wished, At: at, Wish: run.Wish{Kind: run.WishResume, By: "max"}}
		case r.Phase == run.Applying:
			e.Kind = run.Applied
		case r.Phase == run.Undoing:
			e.Kind = run.Reverted
		}
		r, _ = run.Next(r, e)
	}
	return r
}
