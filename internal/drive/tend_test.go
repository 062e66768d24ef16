package drive_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// canaryRun is a world whose gateway of four pods moves by a second one, and whose run
// waits for a person at its first wave: nobody else serves by then.
func canaryRun(t *testing.T) *world {
	t.Helper()
	s := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").
		Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Service("cart")).
		Namespace("edge").Gateway("edge", "public", meshtest.Replicas(4), meshtest.Released("1.27.0", nil)).Snapshot()
	w := newWorldOf(t, s, plan.Hold)
	p := plan.Build(s, plan.Request{
		To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}, Gateways: []plan.GatewayMove{{Workload: "edge/public", Method: plan.Canary}},
		Waves: []plan.Wave{{Namespaces: []string{"shop"}, Approve: true}}, IgnoreChecks: []string{"SRN1054"},
	})
	if len(p.Steps) == 0 {
		t.Fatalf("no plan: %+v", p.Findings)
	}
	w.keep(run.Start("r1", p, s, "erin", w.now))
	return w
}

// second are the second gateway's pods in the Service, and those held out of it.
func (w *world) second() ([]string, []string) {
	var in, out []string
	for _, p := range w.s.Pods {
		switch {
		case p.Workload.Name != "public-1-29-1":
		case p.Ready:
			in = append(in, p.Name)
		case p.Held:
			out = append(out, p.Name)
		}
	}
	return in, out
}

// anew has some of its pods made anew, as a node that is drained has it: held, under
// another name.
func (w *world) anew(names ...string) {
	w.s = w.s.Clone()
	for i, p := range w.s.Pods {
		if slices.Contains(names, p.Name) {
			w.s.Pods[i].Name, w.s.Pods[i].Ready, w.s.Pods[i].Held = p.Name+"-anew", false, true
		}
	}
}

// waiting drives the run for so long after it has come to the phase and kind of step
// where at is called.
func (w *world) waiting(kind plan.Kind, phase run.Phase, d time.Duration, at func()) run.Run {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	var came time.Time
	w.waited = func(context.Context) {
		r := w.kept()
		if came.IsZero() && r.Phase == phase && r.Plan.Steps[r.At].Kind == kind {
			came = w.now
			at()
		}
		if !came.IsZero() && w.now.Sub(came) > d {
			stop()
		}
	}
	if _, err := w.life(ctx); err == nil || came.IsZero() {
		w.t.Fatalf("it never waited at %s: %v, %s", kind, err, w.kept().Phase)
	}
	w.waited = nil
	return w.kept()
}

// S-29, S-30: the run waits for a person and the second gateway serves alone. Its pods
// are made anew, one by one and then all at once, and come into the Service again.
func TestS30_podsMadeAnewAreLetInWhileARunWaits(t *testing.T) {
	for name, again := range map[string]int{"one": 1, "all of them": 4} {
		t.Run(name, func(t *testing.T) {
			w := canaryRun(t)
			r := w.waiting(plan.MoveNamespace, run.Waiting, time.Minute, func() {
				in, _ := w.second()
				if first, _ := w.s.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "public"}); len(in) != 4 || first.Ready != 0 {
					t.Fatalf("in are %v, and %d of the first", in, first.Ready)
				}
				w.anew(in[:again]...)
			})
			in, out := w.second()
			if len(in) != 4 || len(out) != 0 || len(w.admitted) != again {
				t.Errorf("in the Service are %v, held out %v, let in %v", in, out, w.admitted)
			}
			if n := noted(r, "was made anew"); n != again {
				t.Errorf("%d lines in the log, want %d: %+v", n, again, r.Log)
			}
		})
	}
}

// S-30: a deed may take hours: while workloads restart, too, what is made anew comes in.
func TestS30_podsMadeAnewAreLetInBesideADeed(t *testing.T) {
	w := canaryRun(t)
	r := w.kept()
	r.Approved = map[int]string{}
	for _, st := range r.Plan.Steps {
		r.Approved[st.Number] = "erin"
	}
	w.keep(r)
	restarting := make(chan struct{})
	w.deed = func(st plan.Step) error {
		if st.Kind != plan.Restart {
			return nil
		}
		in, _ := w.second()
		w.anew(in...)
		close(restarting)
		for range in { // until all are in
			select {
			case <-w.admits:
			case <-t.Context().Done():
				return t.Context().Err()
			}
		}
		return nil
	}
	w.admits = make(chan string, 4)
	w.beside = func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-restarting:
			if len(w.admitted) == 4 { // no more to do beside it
				<-ctx.Done()
				return ctx.Err()
			}
			w.now = w.now.Add(d)
			return nil
		}
	}
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done {
		t.Fatalf("%s: %v, %s", r.Phase, err, r.Cause)
	}
	if n := noted(r, "was made anew"); n != 4 || len(w.admitted) != 4 {
		t.Errorf("%d lines in the log, let in %v", n, w.admitted)
	}
}

// noted is how many lines of the log hold the words.
func noted(r run.Run, words string) int {
	n := 0
	for _, e := range r.Log {
		if strings.HasPrefix(e.What, run.Noted) && strings.Contains(e.What, words) {
			n++
		}
	}
	return n
}

// S-29: what is not proven stays out: an istiod does not know it, its proxy has restarted,
// it was ready and is not. And no more come in than the last stage has let in.
func TestS29_whatIsNotProvenStaysOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   plan.Kind
		phase  run.Phase
		change func(w *world, in []string)
		in     int
	}{
		{"no istiod knows it", plan.MoveNamespace, run.Waiting, func(w *world, in []string) { w.unknown = in[0] + "-anew" }, 3},
		{"its proxy has restarted", plan.MoveNamespace, run.Waiting, func(w *world, in []string) {
			for i, p := range w.s.Pods {
				if p.Name == in[0]+"-anew" {
					w.s.Pods[i].Restarts = 1
				}
			}
		}, 3},
		{"it is of the old revision", plan.MoveNamespace, run.Waiting, func(w *world, in []string) {
			for i, p := range w.s.Pods {
				if p.Name == in[0]+"-anew" {
					w.s.Pods[i].Revision = "default"
				}
			}
		}, 3},
		{"the first is proven, and its own is what is lacking", plan.MoveNamespace, run.Waiting, func(w *world, in []string) { w.lacks = in[0] + "-anew" }, 3},
		{"it is ready and not ready in turns", plan.MoveNamespace, run.Waiting, func(w *world, in []string) {
			w.drifts = func(s *mesh.Snapshot) {
				for i, p := range s.Pods {
					if p.Name == in[0]+"-anew" {
						s.Pods[i].Held = w.now.Unix()/10%2 == 0
					}
				}
			}
		}, 3},
		{"another one is not well", plan.MoveNamespace, run.Waiting, func(w *world, _ []string) { w.unknown = "cart-0" }, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := canaryRun(t)
			w.waiting(tt.kind, tt.phase, time.Minute, func() {
				in, _ := w.second()
				w.anew(in[0])
				tt.change(w, in)
			})
			if in, out := w.second(); len(in) != tt.in || len(in)+len(out) != 4 {
				t.Errorf("in the Service are %v, held out %v", in, out)
			}
		})
	}
	t.Run("at the first stage one is in", func(t *testing.T) {
		w := canaryRun(t)
		w.wishes = func(r run.Run) run.Wish {
			if in, _ := w.second(); len(in) == 1 && r.Plan.Steps[r.At].Kind == plan.OpenGateway && r.Phase == run.Waiting {
				return run.Wish{Kind: run.WishPause, By: "erin", Seq: 1}
			}
			return run.Wish{}
		}
		paused := w.waiting(plan.OpenGateway, run.Waiting, 5*time.Minute, func() {
			if in, _ := w.second(); len(in) == 1 {
				w.anew(in[0])
			}
		})
		if in, out := w.second(); !paused.Paused || len(in) != 1 || len(out) != 3 || fmt.Sprint(w.admitted) == "[]" {
			t.Errorf("paused %v: in the Service are %v, held out %v, let in %v", paused.Paused, in, out, w.admitted)
		}
	})
}
