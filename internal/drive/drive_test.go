package drive_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// allNew checks that nothing of the old revision is left.
func (w *world) allNew() {
	w.t.Helper()
	if d := cmp.Diff([]string{"1-29-1"}, w.s.Revisions()); d != "" {
		w.t.Error(d)
	}
	for _, p := range w.s.Pods {
		if p.Revision != "1-29-1" {
			w.t.Errorf("pod %s is on %q", p.Name, p.Revision)
		}
	}
}

func (w *world) asBefore() {
	w.t.Helper()
	if d := w.kept().Before.Differences(w.s); len(d) > 0 {
		w.t.Errorf("it is not as before:\n%s", strings.Join(d, "\n"))
	}
}

func TestLoop_goesThroughToTheEnd(t *testing.T) {
	w := newWorld(t, plan.Hold)
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	w.allNew()
	var want []int
	for _, st := range r.Plan.Steps {
		want = append(want, st.Number)
	}
	if d := cmp.Diff(want, w.marks); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(r, w.kept()); d != "" {
		t.Errorf("the end was not stored: %s", d)
	}
}

// Killed around every save and every deed, going through, taken back by policy
// and taken back by wish, it ends all new or exactly as before.
func TestS49_killedAnywhereItEndsAllNewOrAsBefore(t *testing.T) {
	t.Parallel()
	rollback := func(step int) func(run.Run) run.Wish {
		return func(r run.Run) run.Wish {
			if r.At+1 < step && r.WishSeq == 0 {
				return run.Wish{}
			}
			return run.Wish{Kind: run.WishRollback, By: "max", Seq: 1}
		}
	}
	for name, tt := range map[string]struct {
		change func(*world)
		want   run.Phase
	}{
		"through":          {func(*world) {}, run.Done},
		"the canary fails": {func(w *world) { w.shut, w.shutAt = gate.Requests, 5 }, run.Undone},
		"the tag fails":    {func(w *world) { w.shut, w.shutAt = gate.Requests, 7 }, run.Undone},
		"the last restart": {func(w *world) { w.shut, w.shutAt = gate.Requests, 8 }, run.Undone},
		"asked at step 1":  {func(w *world) { w.wishes = rollback(1) }, run.Undone},
		"asked at step 6":  {func(w *world) { w.wishes = rollback(6) }, run.Undone},
		"asked at step 9":  {func(w *world) { w.wishes = rollback(9) }, run.Undone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashes, step := 0, 1
			if testing.Short() { // under the race detector: every seventh
				step = 7
			}
			for at := 1; ; at += step {
				w := newWorld(t, plan.Rollback)
				tt.change(w)
				w.crashAt = at
				r, err := w.life(t.Context())
				if err == nil { // the life was shorter than that
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				crashes++
				if r, err = w.life(t.Context()); err != nil || r.Phase != tt.want {
					t.Fatalf("killed at %d: %s because %q, %v", at, r.Phase, r.Cause, err)
				}
				if r.Phase == run.Done {
					w.allNew()
				} else {
					w.asBefore()
				}
				if t.Failed() {
					t.Fatalf("killed at %d: %v", at, w.deeds)
				}
			}
			if crashes*step < 4 {
				t.Errorf("killed %d times only", crashes)
			}
		})
	}
}

func TestS48_aShutGateHoldsUnlessToldToUndo(t *testing.T) {
	w := newWorld(t, plan.Hold)
	w.shut, w.shutAt = gate.Requests, 5
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || !strings.Contains(r.Cause, "503") || slices.ContainsFunc(w.deeds, func(d string) bool { return strings.HasPrefix(d, "revert") }) {
		t.Errorf("%s because %q, %v; %v", r.Phase, r.Cause, err, w.deeds)
	}
}

func TestS48_nothingIsUndoneOntoAnOldRevisionThatIsUnwell(t *testing.T) {
	w := newWorld(t, plan.Rollback)
	w.shut, w.shutAt = gate.Requests, 5
	w.drifts = func(s *mesh.Snapshot) {
		for i, c := range s.ControlPlanes {
			if c.Revision == mesh.DefaultRevision && w.kept().At >= 4 {
				s.ControlPlanes[i].Ready = 0
			}
		}
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || !strings.Contains(r.Cause, "unwell") {
		t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
	}
}

func TestS14_driftHoldsBeforeTheDeed(t *testing.T) {
	w := newWorld(t, plan.Rollback)
	w.drifts = func(s *mesh.Snapshot) {
		if w.kept().At == 5 {
			for i, n := range s.Namespaces {
				if n.Name == "default" {
					s.Namespaces[i].Labels = map[string]string{mesh.InjectionLabel: "disabled"}
				}
			}
		}
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || r.HeldFrom != run.Waiting || r.At != 5 || !strings.Contains(r.Cause, "namespace default") {
		t.Errorf("%s at %d because %q, %v", r.Phase, r.At, r.Cause, err)
	}
	if len(w.deeds) != 5 {
		t.Errorf("deeds %v", w.deeds)
	}
}

func TestLoop_aRefusalIsNotTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{{fmt.Errorf("removing: %w", drive.ErrRefused), 1}, {errors.New("no"), 3}} {
		w := newWorld(t, plan.Hold)
		tries := 0
		w.deed = func(st plan.Step) error {
			if st.Number != 5 {
				return nil
			}
			tries++
			return tt.err
		}
		r, err := w.life(t.Context())
		if err != nil || r.Phase != run.Held || tries != tt.want {
			t.Errorf("%v: %s after %d tries, %v", tt.err, r.Phase, tries, err)
		}
	}
}

// S-48, S-22: a deed that stops at what it sees is tried once; then the policy says
// what becomes of it, as of a gate that is shut.
func TestLoop_aDeedThatStopsItself(t *testing.T) {
	for policy, want := range map[plan.OnShut]run.Phase{plan.Hold: run.Held, plan.Rollback: run.Undone} {
		w := newWorld(t, policy)
		tries := 0
		w.deed = func(st plan.Step) error {
			if st.Number != 5 || w.kept().Phase != run.Applying {
				return nil
			}
			tries++
			return fmt.Errorf("moving gateway: %w: a host would be gone", drive.ErrShut)
		}
		r, err := w.life(t.Context())
		if err != nil || r.Phase != want || tries != 1 || !strings.Contains(r.Cause, "a host would be gone") {
			t.Errorf("%s: %s after %d tries because %q, %v", policy, r.Phase, tries, r.Cause, err)
		}
		if policy == plan.Rollback {
			w.asBefore()
		}
	}
}

func TestLoop_anInterruptEndsAfterTheDeed(t *testing.T) {
	w := newWorld(t, plan.Hold)
	ctx, cancel := context.WithCancel(t.Context())
	w.deed = func(st plan.Step) error {
		if st.Number == 4 {
			cancel()
		}
		return nil
	}
	r, err := w.life(ctx)
	if !errors.Is(err, context.Canceled) || r.Phase != run.Proving || r.At != 3 || len(w.deeds) != 4 {
		t.Fatalf("%s at %d, %v; %v", r.Phase, r.At, err, w.deeds)
	}
	if d := cmp.Diff(r, w.kept()); d != "" {
		t.Error(d)
	}
	if r, err = w.life(t.Context()); err != nil || r.Phase != run.Done {
		t.Errorf("resumed: %s because %q, %v", r.Phase, r.Cause, err)
	}
	w.allNew()
}

// away is an API server that answers no more for that long, from step 5 on.
func away(w *world, d time.Duration, while run.Phase) func(time.Time) error {
	var since time.Time
	return func(now time.Time) error {
		if r := w.kept(); since.IsZero() && r.At == 4 && r.Phase == while {
			since = now
		}
		if !since.IsZero() && now.Sub(since) < d {
			return errAway
		}
		return nil
	}
}

func TestLoop_anAPIServerThatIsAwayIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		away time.Duration
		want run.Phase
	}{{4 * time.Minute, run.Done}, {time.Hour, run.Held}} {
		for _, while := range []run.Phase{run.Waiting, run.Proving} {
			w := newWorld(t, plan.Rollback)
			w.lost = away(w, tt.away, while)
			r, err := w.life(t.Context())
			if err != nil || r.Phase != tt.want || tt.want == run.Held && !strings.Contains(r.Cause, errAway.Error()) {
				t.Errorf("%s for %s: %s because %q, %v", while, tt.away, r.Phase, r.Cause, err)
			}
		}
	}
	for _, while := range []run.Phase{run.Waiting, run.Proving, run.Applying} {
		w := newWorld(t, plan.Rollback)
		w.jammed = away(w, 4*time.Minute, while)
		if r, err := w.life(t.Context()); err != nil || r.Phase != run.Done {
			t.Errorf("the journal in %s: %s because %q, %v", while, r.Phase, r.Cause, err)
		}
		w = newWorld(t, plan.Rollback)
		w.jammed = away(w, time.Hour, while)
		if r, err := w.life(t.Context()); err == nil && r.Phase != run.Held && r.Phase != run.Done {
			t.Errorf("the journal for good in %s: %s", while, r.Phase)
		}
	}
}

func TestWishes_areTakenOnceAndPausesRest(t *testing.T) {
	w := newWorld(t, plan.Hold)
	waits, saves := 0, 0
	w.wishes = func(r run.Run) run.Wish {
		switch {
		case r.At < 5:
			return run.Wish{}
		case waits < 300:
			return run.Wish{Kind: run.WishPause, By: "max", Seq: 1}
		}
		return run.Wish{Kind: run.WishResume, By: "max", Seq: 2}
	}
	w.waited = func(context.Context) {
		if w.kept().Paused {
			if waits == 0 {
				saves = w.saves
			}
			if waits++; waits == 300 && w.saves-saves > 31 {
				t.Errorf("%d saves in 300 s of rest", w.saves-saves)
			}
		}
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done || waits < 300 || r.WishSeq != 2 {
		t.Errorf("%s, %v; waited %d times, seq %d", r.Phase, err, waits, r.WishSeq)
	}
}

func TestS47_withoutEvidenceNothingGoesOn(t *testing.T) {
	w := newWorld(t, plan.Rollback)
	w.s.CRDs = nil
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || r.At != 1 || !strings.Contains(r.Cause, "no CRD") {
		t.Errorf("%s at %d because %q, %v", r.Phase, r.At, r.Cause, err)
	}
}

// Requests are counted in every step, those without a requests gate and those
// that are taken back included: nothing that was lost goes unsaid.
func TestLoop_countsRequestsInEachPhase(t *testing.T) {
	for _, policy := range []plan.OnShut{plan.Hold, plan.Rollback} {
		w := newWorld(t, policy)
		if policy == plan.Rollback {
			w.shut, w.shutAt = gate.Requests, 6
		}
		n := 0
		w.requests = func() (int, int) { n += 10; return n, n / 100 }
		r, err := w.life(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sent, failed := 0, 0
		for i, rec := range r.Steps {
			if sent += rec.Sent; rec.Sent == 0 && rec.State != "" {
				t.Errorf("step %d counted none", i+1)
			}
			failed += rec.Failed
		}
		if sent != n || failed != n/100 {
			t.Errorf("%s: the steps say %d sent, %d failed, the prober %d and %d", r.Phase, sent, failed, n, n/100)
		}
	}
}
