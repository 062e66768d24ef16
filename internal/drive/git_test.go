package drive_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// argo is a mesh that Argo CD owns, and somebody who commits what the run waits
// for once it has been waited for a while.
func argo(t *testing.T) *world {
	t.Helper()
	w := newWorldOf(t, meshtest.ByGit(meshtest.Bookinfo("1.27.0").Snapshot(), mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"}), plan.Hold)
	waited := 0
	w.waited = func(context.Context) {
		if waited++; w.kept().Awaits() && waited%3 == 0 {
			w.commit()
		}
	}
	return w
}

// commit is what Git's tool makes of what was committed.
func (w *world) commit() {
	r := w.kept()
	st := r.Plan.Steps[r.At]
	if r.Phase == run.Undoing {
		w.s = plan.SimulateUndo(w.s, st, r.Before)
	} else {
		w.s = plan.Simulate(w.s, st)
	}
	if o := w.s.Orphans(); len(o) > 0 {
		w.t.Fatalf("after the commit for step %d: %v", st.Number, o)
	}
}

func TestS45_stepsOfGitAreWaitedForThereAndBack(t *testing.T) {
	w := argo(t)
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	w.allNew()
	for _, d := range w.deeds { // nothing else was serin's to do
		if !strings.HasSuffix(d, string(plan.Restart)) && !strings.HasSuffix(d, string(plan.FirstPods)) {
			t.Errorf("S-45: %s", d)
		}
	}
	w.wishes = func(run.Run) run.Wish { return run.Wish{Kind: run.WishRollback, By: "max", Seq: 1} }
	if r, err = w.life(t.Context()); err != nil || r.Phase != run.Undone {
		t.Fatalf("taken back: %s because %q, %v", r.Phase, r.Cause, err)
	}
	w.asBefore()
}

// A person takes as long as they like: no patience runs out, nothing is held.
func TestS45_noPatienceWithPeopleWhoCommit(t *testing.T) {
	w := argo(t)
	began := w.now
	w.waited = func(context.Context) {
		w.now = w.now.Add(time.Hour)
		if w.kept().Awaits() && w.now.Sub(began) > 30*time.Hour {
			w.commit()
		}
	}
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Done {
		t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
	}
}

// Killed anywhere, it goes on waiting for what is not there and takes what came
// meanwhile for done.
func TestS49_killedWhileItWaitsForGit(t *testing.T) {
	t.Parallel()
	for at := 1; ; at += 9 {
		w := argo(t)
		w.crashAt = at
		r, err := w.life(t.Context())
		if err == nil {
			if at < 20 {
				t.Error("it was never killed")
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if r.Awaits() { // and the commit comes while nobody watches
			w.commit()
		}
		if r, err = w.life(t.Context()); err != nil || r.Phase != run.Done {
			t.Fatalf("killed at %d: %s because %q, %v", at, r.Phase, r.Cause, err)
		}
		w.allNew()
	}
}

// bell is a Watcher that a test rings.
type bell struct {
	w     *world
	rings int // that nobody has heard yet
	asked []int
}

func (b *bell) Changed(ctx context.Context, st plan.Step, d time.Duration) (bool, error) {
	if !slices.Contains(b.asked, st.Number) {
		b.asked = append(b.asked, st.Number)
		return true, nil
	}
	if b.rings > 0 {
		b.rings--
		return true, nil
	}
	return false, b.w.wait(ctx, d)
}

// The mesh is looked at when something has changed, not each second.
func TestS45_itWatchesAndDoesNotPoll(t *testing.T) {
	w := argo(t)
	b := &bell{w: w}
	w.watcher = b
	waited := 0
	w.waited = func(context.Context) {
		if !w.kept().Awaits() {
			return
		}
		if waited++; waited == 25 {
			if w.looks > 3 {
				t.Errorf("looked %d times in %d seconds in which nothing changed", w.looks, waited)
			}
		}
		if waited >= 25 {
			w.commit()
			b.rings++
		}
	}
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Done || waited < 25 {
		t.Errorf("%s because %q after %d waits, %v", r.Phase, r.Cause, waited, err)
	}
	if len(b.asked) < 5 {
		t.Errorf("watched for the steps %v only", b.asked)
	}
}

// A watch that tells of nothing is not relied on for ever.
func TestS45_aSilentWatchIsLookedBehind(t *testing.T) {
	w := argo(t)
	w.watcher = &bell{w: w}
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Done {
		t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
	}
}

// A wish is heard while it waits.
func TestS45_aWishIsHeardWhileItWaits(t *testing.T) {
	w := argo(t)
	w.watcher = &bell{w: w}
	w.waited = nil // nobody commits
	w.wishes = func(r run.Run) run.Wish {
		if r.Awaits() && w.now.After(r.Since.Add(5*time.Second)) {
			return run.Wish{Kind: run.WishAbort, By: "max", Seq: 1}
		}
		return run.Wish{}
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Held || r.HeldFrom != run.Applying || w.now.Sub(r.Since) > 10*time.Second {
		t.Errorf("%s from %s after %s, %v", r.Phase, r.HeldFrom, w.now.Sub(r.Since), err)
	}
}
