package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/journal"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

const system = "istio-system"

func began() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// upgrade is a run of a whole plan, a few kilobytes packed.
func upgrade(id string, started time.Time) run.Run {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	return run.Start(id, plan.Build(s, plan.Request{To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}}), s, "erin", started)
}

// text is what is kept of a run.
func text(t *testing.T, r run.Run) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSaveAndLoad(t *testing.T) {
	for name, size := range map[string]int{"one object": 1 << 20, "in parts": 500} {
		t.Run(name, func(t *testing.T) {
			kube := fake.NewClientset()
			j := journal.New(kube, system, began).WithChunkSize(size)
			r := upgrade("r1", began())
			for r.At = range 3 {
				if err := j.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			got, err := j.Load(t.Context(), "r1")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(text(t, r), text(t, got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestListIsNewestFirstAndNamesWhatItCannotRead(t *testing.T) {
	kube := fake.NewClientset()
	j := journal.New(kube, system, began)
	for i, id := range []string{"old", "new"} {
		if err := j.Save(t.Context(), upgrade(id, began().Add(time.Duration(i)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	list, err := j.List(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != "new" {
		t.Fatalf("got %d runs, %v", len(list), err)
	}
	edit(t, kube, "serin-run-old", func(c *corev1.ConfigMap) { c.BinaryData["run"] = []byte("by hand") })
	list, err = j.List(t.Context())
	if len(list) != 1 || err == nil || !strings.Contains(err.Error(), "old") {
		t.Errorf("got %d runs, %v", len(list), err)
	}
}

func edit(t *testing.T, kube *fake.Clientset, name string, change func(*corev1.ConfigMap)) {
	t.Helper()
	maps := kube.CoreV1().ConfigMaps(system)
	c, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	if _, err := maps.Update(t.Context(), c, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestS49_aCrashBetweenTwoWritesLeavesARunThatCanBeRead ends a save before each of its writes in
// turn: what is read then is the run before or the run after, and the next save
// leaves no part behind.
func TestS49_aCrashBetweenTwoWritesLeavesARunThatCanBeRead(t *testing.T) {
	for at := 1; ; at++ {
		kube := fake.NewClientset()
		j := journal.New(kube, system, began).WithChunkSize(500)
		was := upgrade("r1", began())
		if err := j.Save(t.Context(), was); err != nil {
			t.Fatal(err)
		}
		is := was
		is.At, is.Phase = 4, run.Proving
		left := at
		kube.PrependReactor("*", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if a.GetVerb() == "get" || a.GetVerb() == "list" {
				return false, nil, nil
			}
			if left--; left == 0 {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "x", errors.New("the process died"))
			}
			return false, nil, nil
		})
		died := j.Save(t.Context(), is)
		got, err := j.Load(t.Context(), "r1")
		if err != nil {
			t.Fatalf("died before write %d: %v", at, err)
		}
		if got := text(t, got); got != text(t, was) && got != text(t, is) {
			t.Errorf("died before write %d: it is neither the run before nor the one after", at)
		}
		if died == nil {
			if at < 5 {
				t.Errorf("only %d writes: it was not in parts", at)
			}
			return
		}
		if err := j.Save(t.Context(), is); err != nil {
			t.Fatal(err)
		}
		list, err := kube.CoreV1().ConfigMaps(system).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		index := list.Items[0]
		if got, want := len(list.Items), 1; strconv.Itoa(got-want) != index.Data["chunks"] {
			t.Errorf("died before write %d: %d ConfigMaps, of which %s are parts", at, got, index.Data["chunks"])
		}
	}
}

func TestSaveWaitsForAnAPIServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		away := 4
		kube.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			if away--; away >= 0 {
				return true, nil, errors.New("connection refused")
			}
			return false, nil, nil
		})
		if err := journal.New(kube, system, began).Save(t.Context(), upgrade("r1", began())); err != nil {
			t.Error(err)
		}
		away = 1000
		err := journal.New(kube, system, began).Save(t.Context(), upgrade("r1", began()))
		if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "run r1") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWishes(t *testing.T) {
	kube := fake.NewClientset()
	now := began()
	j := journal.New(kube, system, func() time.Time { now = now.Add(time.Second); return now })
	r := upgrade("r1", began())
	if _, err := j.Ask(t.Context(), "r1", run.Wish{Kind: run.WishPause}); !apierrors.IsNotFound(err) {
		t.Errorf("there is no run yet, got %v", err)
	}
	if err := j.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if w, err := j.Wish(t.Context(), "r1", 0); err != nil || w != (run.Wish{}) {
		t.Errorf("got %+v, %v", w, err)
	}
	var last int64
	for _, kind := range []run.WishKind{run.WishPause, run.WishApprove} {
		place, err := j.Ask(t.Context(), "r1", run.Wish{Kind: kind, By: "max", Step: 3})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Save(t.Context(), r); err != nil { // it must not lose the wish
			t.Fatal(err)
		}
		w, err := j.Wish(t.Context(), "r1", last)
		if err != nil || w.Kind != kind || w.By != "max" || w.Step != 3 || w.Seq != place || w.Seq <= last {
			t.Errorf("got %+v after %d, %v", w, last, err)
		}
		last = w.Seq
	}
}

// A deed may take long: what several people ask meanwhile is taken in its order,
// also where the second one's clock is behind the first one's.
func TestWishes_ofSeveralAreAllTaken(t *testing.T) {
	kube := fake.NewClientset()
	now := began()
	j := journal.New(kube, system, func() time.Time { now = now.Add(-time.Minute); return now })
	if err := j.Save(t.Context(), upgrade("r1", began())); err != nil {
		t.Fatal(err)
	}
	wanted := []run.WishKind{run.WishRollback, run.WishApprove, run.WishPause}
	for _, kind := range wanted {
		if _, err := j.Ask(t.Context(), "r1", run.Wish{Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
	var taken int64
	for _, kind := range append(wanted, "") { // the last has been taken
		w, err := j.Wish(t.Context(), "r1", taken)
		if err != nil || w.Kind != kind {
			t.Errorf("got %+v, want %q: %v", w, kind, err)
		}
		taken = w.Seq
	}
}

// clocked is a journal of a process on a clock of its own.
func clocked(kube *fake.Clientset) *journal.Journal { return journal.New(kube, system, clock.Now) }

// sleep passes at once: the tests that sleep do so in a bubble. What else wakes at
// the moment that it ends, a renewal for one, is over when it returns.
func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	if err := clock.Wait(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestS46_oneProcessAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		one, two := clocked(kube), clocked(kube)
		release, err := one.Acquire(t.Context(), "erin")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // it is renewed as long as it is held
			sleep(t, 25*time.Second)
			if _, err := two.Acquire(t.Context(), "max"); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "erin") {
				t.Errorf("got %v", err)
			}
		}
		if who, err := two.Holder(t.Context()); err != nil || who != "erin" {
			t.Errorf("held by %q, %v", who, err)
		}
		release()
		if who, err := two.Holder(t.Context()); err != nil || who != "" {
			t.Errorf("held by %q, %v", who, err)
		}
		release, err = two.Acquire(t.Context(), "max")
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

// The clock of another machine is a minute ahead: a Lease that is renewed is not taken
// for one that ran out; one that nobody renews is.
func TestS46_aClockThatIsAheadTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		one := clocked(kube)
		ahead := journal.New(kube, system, func() time.Time { return clock.Now().Add(time.Minute) })
		release, err := one.Acquire(t.Context(), "erin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ahead.Acquire(t.Context(), "max"); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "clock") {
			t.Errorf("got %v", err)
		}
		release()
		release, err = ahead.Acquire(t.Context(), "max")
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

// A laptop that slept while another process went on with its run must not write
// over what that one has stored, nor do another deed.
func TestS46_whoLostTheMeshStoresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		one, two := clocked(kube), clocked(kube)
		ctx, asleep := context.WithCancel(t.Context())
		defer asleep()
		var suspended atomic.Bool
		kube.PrependReactor("update", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
			l, ok := a.(clienttesting.UpdateAction).GetObject().(*coordinationv1.Lease)
			return ok && suspended.Load() && strings.HasPrefix(*l.Spec.HolderIdentity, "erin@"), nil, errors.New("asleep")
		})
		release, err := one.Acquire(ctx, "erin")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		r := upgrade("r1", began())
		if err := one.Save(ctx, r); err != nil {
			t.Fatal(err)
		}
		suspended.Store(true)
		sleep(t, 2*time.Minute)
		suspended.Store(false)
		if err := one.Save(ctx, r); err != nil {
			t.Errorf("nobody took it meanwhile: %v", err)
		}
		suspended.Store(true)
		sleep(t, 2*time.Minute)
		releaseTwo, err := two.Acquire(ctx, "max")
		if err != nil {
			t.Fatal(err)
		}
		defer releaseTwo()
		select {
		case <-one.Lost():
			t.Error("it is told before it could know")
		default:
		}
		suspended.Store(false)
		sleep(t, 15*time.Second)
		select {
		case <-one.Lost(): // a deed that is under way ends
		default:
			t.Error("it is not told that another has the mesh")
		}
		if err := two.Save(ctx, r); err != nil {
			t.Error(err)
		}
		if err := one.Save(ctx, r); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "max") {
			t.Errorf("got %v", err)
		}
	})
}
