package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

var (
	errCrash = errors.New("crash")
	errAway  = errors.New("connection refused")
)

// world is a mesh in memory with a clock that goes on only while something waits
// or is done. It can kill the process around any save and any deed.
type world struct {
	t      *testing.T
	s      mesh.Snapshot
	stored []byte   // the run, as the journal has it
	read   *run.Run // the same, decoded when asked for
	now    time.Time

	shut    gate.Name // that gate is shut once the step shutAt was applied
	shutAt  int
	crashAt int // of the points passed, from 1; 0 never
	points  int
	deeds   []string
	marks   []int
	show    func(run.Run) // each new state
	taken   chan struct{} // closed when another process has the mesh
	since   []string      // what the gatherer was told of when steps began
	cold    func() string // what is missing to compare a step with
	saves   int
	wishes  func(r run.Run) run.Wish
	deed    func(st plan.Step) error                      // before a deed
	within  func(ctx context.Context, st plan.Step) error // in the midst of one
	lost    func(now time.Time) error                     // the API server's answer to a look
	jammed  func(now time.Time) error                     // and to the journal
	drifts  func(s *mesh.Snapshot)                        // what somebody else does, seen at each look
	waited  func(ctx context.Context)                     // in each wait
	lags    func(ev *gate.Evidence)                       // what an API server's cache makes of dry-run pods

	requests func() (ended, failed int)
	watcher  drive.Watcher
	hooks    drive.Hooks
	looks    int // at the mesh
	warnings []time.Time
	admitted []string                                         // pods that were let into their Service
	beside   func(ctx context.Context, d time.Duration) error // waits beside a deed; nil: a timer
	admits   chan string                                      // told of each, where somebody waits for them
	unknown  string                                           // a pod that no istiod knows
	lacks    string                                           // a pod that lacks what the others serve
}

func newWorld(t *testing.T, onShut plan.OnShut) *world {
	t.Helper()
	return newWorldOf(t, meshtest.Bookinfo("1.27.0").Snapshot(), onShut)
}

func newWorldOf(t *testing.T, s mesh.Snapshot, onShut plan.OnShut) *world {
	t.Helper()
	w := &world{t: t, s: s, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	p := plan.Build(s, plan.Request{To: "1.29.1", OnShut: onShut, Probe: &plan.Probe{URL: "http://gateway/"}})
	r := run.Start("r1", p, s, "erin", w.now)
	for _, st := range p.Steps {
		r.Approved[st.Number] = "erin"
	}
	w.keep(r)
	return w
}

func (w *world) keep(r run.Run) {
	b, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stored, w.read = b, nil
}

// kept is the run as another process would read it.
func (w *world) kept() run.Run {
	if w.read == nil {
		w.read = &run.Run{}
		if err := json.Unmarshal(w.stored, w.read); err != nil {
			w.t.Fatal(err)
		}
	}
	return *w.read
}

// point is a place where the process may die.
func (w *world) point() {
	w.points++
	if w.points == w.crashAt {
		panic(errCrash)
	}
}

func (w *world) Observe(context.Context) (mesh.Snapshot, error) {
	w.looks++
	if w.lost != nil {
		if err := w.lost(w.now); err != nil {
			return mesh.Snapshot{}, err
		}
	}
	s := w.s.Clone()
	if w.drifts != nil {
		w.drifts(&s)
	}
	return s, nil
}

func (w *world) Apply(ctx context.Context, st plan.Step, _ plan.Plan, _ mesh.Snapshot) error {
	return w.do(ctx, "apply", st, func() { w.s = plan.Simulate(w.s, st) })
}

func (w *world) Revert(ctx context.Context, st plan.Step, _ plan.Plan, before mesh.Snapshot) error {
	return w.do(ctx, "revert", st, func() { w.s = plan.SimulateUndo(w.s, st, before) })
}

func (w *world) do(ctx context.Context, what string, st plan.Step, f func()) error {
	if st.ByGit() {
		w.t.Fatalf("S-45: %s of step %d, which is Git's", what, st.Number)
	}
	if r := w.kept(); r.At != st.Number-1 || r.Phase != map[string]run.Phase{"apply": run.Applying, "revert": run.Undoing}[what] {
		w.t.Fatalf("%s of step %d was not stored before: %s of %d", what, st.Number, r.Phase, r.At+1)
	}
	w.point()
	if w.deed != nil {
		if err := w.deed(st); err != nil {
			return err
		}
	}
	if w.within != nil {
		if err := w.within(ctx, st); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		w.t.Fatalf("%s of step %d was cut short: %v", what, st.Number, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		w.t.Fatalf("%s of step %d may take for ever", what, st.Number)
	}
	f()
	w.now = w.now.Add(2 * time.Second)
	w.deeds = append(w.deeds, what+" "+string(st.Kind))
	if o := w.s.Orphans(); len(o) > 0 {
		w.t.Fatalf("after %s of step %d: %v", what, st.Number, o)
	}
	w.point()
	return nil
}

func (w *world) Warn(context.Context, mesh.Snapshot) { w.warnings = append(w.warnings, w.now) }

// Admit keeps the bound by itself, as the cluster's does.
func (w *world) Admit(_ context.Context, of mesh.Ref, name string, most int) (bool, error) {
	in := 0
	for _, p := range w.s.PodsOf(of) {
		if p.Ready {
			in++
		}
	}
	w.s = w.s.Clone()
	for i, p := range w.s.Pods {
		if p.Workload == of && p.Name == name && p.Held && (most == 0 || in < most) {
			w.s.Pods[i].Ready, w.s.Pods[i].Held = true, false
			w.admitted = append(w.admitted, name)
			if w.admits != nil {
				w.admits <- name
			}
			return true, nil
		}
	}
	return false, nil
}

func (w *world) Mark(step int) { w.marks = append(w.marks, step) }

func (w *world) Since(step int, at time.Time) {
	w.since = append(w.since, fmt.Sprintf("%d %s", step, at.Format(time.TimeOnly)))
}

func (w *world) Cold() string {
	if w.cold == nil {
		return ""
	}
	return w.cold()
}

func (w *world) Gather(ctx context.Context, q gate.Question, gates []gate.Name) (gate.Evidence, error) {
	s, err := w.Observe(ctx)
	if err != nil {
		return gate.Evidence{}, err
	}
	ev := gate.Evidence{At: w.now, Snapshot: s, Foresight: &gate.Foresight{}, Served: map[string]int{}, Requests: []gate.Comparison{{Before: gate.Window{Sent: 50}, Now: gate.Window{Sent: 50}}}}
	for _, n := range q.Namespaces {
		i := s.InjectionOf(mesh.Workload{Ref: mesh.Ref{Namespace: n}})
		for _, wl := range s.Workloads {
			if i.None() && wl.Namespace == n {
				i = s.InjectionOf(wl)
			}
		}
		d := gate.DryRun{Namespace: n, Revision: i.Revision, Proxies: 1}
		ev.DryRuns = append(ev.DryRuns, d, d)
	}
	if s.Serves(q.Revision) {
		d := gate.DryRun{Namespace: s.IstioNamespace, Revision: q.Revision, Proxies: 1}
		ev.DryRuns = append(ev.DryRuns, d, d)
	}
	if q.Beside != nil {
		ev.Parity, ev.Answers = &gate.Parity{Old: q.Beside.Name, New: 1, Facts: 3}, &gate.Answers{Old: q.Beside.Name, Asked: 2}
		if w.lacks != "" && (q.Pod == "" || q.Pod == w.lacks) {
			ev.Parity.Missing = []string{"a route"}
		}
	}
	for _, p := range s.Pods {
		if p.Name == w.unknown {
			continue
		}
		ev.Proxies = append(ev.Proxies, gate.Proxy{Namespace: p.Namespace, Name: p.Name, Revision: p.Revision, Version: p.Version})
		ev.Served[p.Namespace+"/"+p.Name] = 10
	}
	if r := w.kept(); w.shut == gate.Requests && r.Phase == run.Proving && q.Step == w.shutAt {
		ev.Requests[0].Now.Failed, ev.Requests[0].Now.Example = 17, "503"
	}
	if w.lags != nil {
		w.lags(&ev)
	}
	for _, g := range gates {
		if g == gate.Proxies && w.shut == g && q.Step == w.shutAt {
			for i := range ev.Proxies {
				ev.Proxies[i].Rejected = []string{"LDS: no"}
			}
		}
	}
	return ev, nil
}

func (w *world) Save(_ context.Context, r run.Run) error {
	if w.jammed != nil {
		if err := w.jammed(w.now); err != nil {
			return err
		}
	}
	w.point()
	w.keep(r)
	w.saves++
	w.point()
	return nil
}

// Lost is never closed unless a test sets it.
func (w *world) Lost() <-chan struct{} { return w.taken }

func (w *world) Wish(context.Context, string, int64) (run.Wish, error) {
	if w.jammed != nil {
		if err := w.jammed(w.now); err != nil {
			return run.Wish{}, err
		}
	}
	if w.wishes == nil {
		return run.Wish{}, nil
	}
	return w.wishes(w.kept()), nil
}

func (w *world) wait(ctx context.Context, d time.Duration) error {
	if w.waited != nil {
		w.waited(ctx)
	}
	w.now = w.now.Add(d)
	return ctx.Err()
}

// life is one process: it drives the stored run until that stops, or dies.
func (w *world) life(ctx context.Context) (r run.Run, err error) { //nolint:nonamedreturns // a recovered crash is the error
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(errCrash):
			r, err = w.kept(), errCrash
		default:
			panic(p)
		}
	}()
	ports := drive.Ports{
		Reader: w, Writer: w, Gatherer: w, Watcher: w.watcher, Journal: w,
		Now: func() time.Time { return w.now }, Wait: w.wait, Meanwhile: w.beside, Requests: w.requests, Hooks: w.hooks,
	}
	shown := 0
	return drive.Loop(ctx, ports, w.kept(), func(r run.Run) {
		if w.show != nil {
			w.show(r)
		}
		if shown++; shown > 20000 {
			w.t.Fatal("it goes round and round")
		}
	})
}
