package drive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// ErrRefused is a deed that must not be done as the cluster is: trying again is no use.
var ErrRefused = errors.New("refused")

// ErrShut is a deed that has stopped half-way at what it saw, with nothing lost: not
// tried again by itself. The policy says what becomes of it, as of a gate that is shut.
var ErrShut = errors.New("stopped")

// Ports are what Loop looks, does and stores with.
type Ports struct {
	Reader   Reader
	Writer   Writer
	Gatherer Gatherer
	Watcher  Watcher // nil: what Git does is looked for each second
	Journal  Journal
	Hooks    Hooks // nil: there are none
	Now      func() time.Time
	Wait     func(ctx context.Context, d time.Duration) error // nil: a timer
	// Meanwhile waits, as Wait does, beside a deed that is under way; nil: a timer.
	Meanwhile func(ctx context.Context, d time.Duration) error
	Requests  func() (ended, failed int) // serin's own since it runs; nil: it sends none
}

// teller is a Writer that has something to say beside how a deed ended.
type teller interface{ Told() []string }

// marker is a Gatherer that wants to know when a step begins.
type marker interface{ Mark(step int) }

// knower is a Gatherer that is told when a step began that another process began.
type knower interface{ Since(step int, at time.Time) }

// warner is a Writer that warns of what was left for too long, where people look (S-27).
type warner interface {
	Warn(ctx context.Context, s mesh.Snapshot)
}

// comparer is a Gatherer that needs to have seen some time before a step.
type comparer interface{ Cold() string }

const (
	interval  = time.Second      // between two looks at the gates
	glance    = 30 * time.Second // of a change that no watch has told of
	keepTime  = 10 * time.Second // between two saves of a run that only waits
	lookTime  = time.Minute      // one look may take: a server that accepts and never answers is away too
	patience  = 5 * time.Minute  // with an API server that does not answer
	backoff   = 30 * time.Second // the longest pause between two tries to reach it
	warnTime  = 10 * time.Minute // between two looks for Gateways that are frozen for too long
	podTime   = 30 * time.Second // that a deed is given more for each pod that is replaced by itself
	leaveTime = 2 * time.Minute  // that taking a revision back is given more: its pods have a grace of their own to leave
)

// loop is one process's drive of a run.
type loop struct {
	p        Ports
	show     func(run.Run)
	saved    run.Run
	at       time.Time     // of the last save
	looked   bool          // at this phase's gates, since the last deed or wish: the next look waits
	since    time.Time     // of the first look in a row that failed
	failures int           // in that row
	begun    bool          // the event hooks were told of the run's first line
	ended    int           // requests that the run was told of
	failed   int           // of those
	quiet    time.Duration // since the last look for what Git does
	waits    int           // the step that was marked as waiting for Git, by its number
	warned   time.Time     // the last look for Gateways that are frozen for too long
	tender   Tender        // of gateways' pods that are made anew
	expected mesh.Snapshot
	done     int // steps that expected holds, -1 before the first
}

// Loop carries a run on until it stops or ctx ends. Ending ctx stops it after
// the current deed. show is called with each new state.
func Loop(ctx context.Context, p Ports, r run.Run, show func(run.Run)) (run.Run, error) {
	if p.Wait == nil {
		p.Wait = clock.Wait
	}
	if p.Meanwhile == nil {
		p.Meanwhile = clock.Wait
	}
	l := &loop{p: p, show: show, done: -1}
	e := run.Event{Kind: run.Began, At: p.Now()}
	for {
		next, effect := run.Next(r, e)
		if err := l.save(ctx, next); err != nil {
			return r, err
		}
		l.tell(r, next)
		l.looked = l.looked && next.Phase == r.Phase
		r = next
		l.show(r)
		w, err := l.wish(ctx, r)
		switch {
		case err != nil:
			return r, err
		case ctx.Err() != nil:
			return r, fmt.Errorf("stopped after the current deed: %w", ctx.Err())
		case w.Kind != "":
			l.looked = false
			e = run.Event{Kind: run.Wished, At: p.Now(), Wish: w}
			if w.Recalled {
				e.Old = l.old(ctx, r)
			}
			continue
		case effect == run.Stop:
			return r, nil
		}
		if e, err = l.do(ctx, r, effect); err != nil {
			return r, err
		}
		e = l.withOld(ctx, r, l.counted(e))
	}
}

// counted adds to an event the requests that ended since the one before. They
// are counted in each phase: a step that no probe judges has its losses too.
func (l *loop) counted(e run.Event) run.Event {
	if l.p.Requests == nil {
		return e
	}
	ended, failed := l.p.Requests()
	e.Sent, e.Failed = ended-l.ended, failed-l.failed
	l.ended, l.failed = ended, failed
	return e
}

// do carries out one effect and returns what came of it.
func (l *loop) do(ctx context.Context, r run.Run, effect run.Effect) (run.Event, error) {
	switch effect {
	case run.Apply, run.Revert:
		l.looked = false
		end := l.meanwhile(context.WithoutCancel(ctx), r)
		e := l.deed(ctx, r, effect)
		e.Notes = append(e.Notes, end()...)
		if t, ok := l.p.Writer.(teller); ok {
			e.Notes = append(e.Notes, t.Told()...)
		}
		return e, nil
	case run.Observe, run.Await:
		notes := l.tend(ctx, r)
		wait := l.observe
		if effect == run.Await {
			wait = l.await
		}
		e, err := wait(ctx, r)
		e.Notes = notes
		return e, err
	case run.Stop:
	}
	return run.Event{Kind: run.Began, At: l.p.Now()}, nil
}

// deed applies or reverts. Its context outlives ctx: what was begun is finished.
func (l *loop) deed(ctx context.Context, r run.Run, effect run.Effect) run.Event {
	st := r.Plan.Steps[r.At]
	given := deedTime(effect, st, r.Plan.Request, r.Before)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), given)
	defer cancel()
	ctx, release := l.whileHeld(ctx)
	defer release()
	var err error
	var notes []string
	kind := run.Applied
	if effect == run.Apply {
		var end func()
		ctx, end = l.withinBudget(ctx, r)
		defer end()
		if m, ok := l.p.Gatherer.(marker); ok {
			m.Mark(st.Number)
		}
		err = l.p.Writer.Apply(ctx, st, r.Plan, r.Before)
	} else {
		kind = run.Reverted
		if err = l.p.Writer.Revert(ctx, st, r.Plan, r.Before); err == nil {
			notes = l.ledBack(ctx, st)
		}
	}
	slow := errors.Is(ctx.Err(), context.DeadlineExceeded)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errTaken):
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: errTaken.Error(), Final: true}
	case errors.Is(context.Cause(ctx), errSpent):
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: errSpent.Error(), Slow: true}
	case slow:
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: fmt.Sprintf("not done in %s, which --patience sets: %s", given, strings.TrimSuffix(err.Error(), ": "+ctx.Err().Error())), Slow: true}
	default:
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: err.Error(), Final: errors.Is(err, ErrRefused), Slow: errors.Is(err, ErrShut)}
	}
	return run.Event{Kind: kind, At: l.p.Now(), Notes: notes}
}

// deedTime is how long a deed may take, whatever became of the context: the
// request's patience for each batch of workloads, and for anything else; and half a
// minute more for each pod that is replaced by itself. A revision that is taken back
// is left by its pods first.
func deedTime(effect run.Effect, st plan.Step, req plan.Request, before mesh.Snapshot) time.Duration {
	pace, alone := max(st.Pace, 1), 0
	for _, ref := range st.Detach {
		w, _ := before.Workload(ref)
		alone += w.Replicas
	}
	given := time.Duration(alone)*podTime + req.Waits()*time.Duration(max((len(st.Workloads)+pace-1)/pace, 1))
	if effect == run.Revert && (st.Kind == plan.InstallRevision || st.Kind == plan.RestoreRevision) {
		given += leaveTime
	}
	return given
}

// observe judges the gates of the phase, a second after the last time. An API
// server that is away for a while is not bad news about the mesh.
func (l *loop) observe(ctx context.Context, r run.Run) (run.Event, error) {
	if l.looked {
		if err := l.p.Wait(ctx, pause(l.failures)); err != nil {
			return run.Event{}, fmt.Errorf("stopped: %w", err)
		}
	}
	l.looked = true
	if r.Phase == run.Undoing { // paused: there is no gate to judge
		return run.Event{Kind: run.Began, At: l.p.Now()}, nil
	}
	return l.look(ctx, r)
}

// await looks once something has changed that the step is about, or might have,
// for whether Git has done its part. In between it comes back each second with
// no news: a person may have asked for something.
func (l *loop) await(ctx context.Context, r run.Run) (run.Event, error) {
	st := r.Plan.Steps[r.At]
	if m, ok := l.p.Gatherer.(marker); ok && l.waits != st.Number && r.Phase == run.Applying {
		m.Mark(st.Number)
		l.waits = st.Number
	}
	changed, err := l.changed(ctx, st)
	if err != nil {
		return run.Event{}, fmt.Errorf("stopped: %w", err)
	}
	if !changed && l.quiet < glance {
		l.quiet += interval
		return run.Event{Kind: run.Began, At: l.p.Now()}, nil
	}
	l.quiet = 0
	return l.look(ctx, r)
}

// changed waits for news of the step's objects, a second at most.
func (l *loop) changed(ctx context.Context, st plan.Step) (bool, error) {
	if l.p.Watcher != nil && l.failures == 0 {
		return l.p.Watcher.Changed(ctx, st, interval)
	}
	if !l.looked {
		l.looked = true
		return true, nil
	}
	return true, l.p.Wait(ctx, pause(l.failures))
}

// look judges the gates of the phase.
func (l *loop) look(ctx context.Context, r run.Run) (run.Event, error) {
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	e, err := l.judge(look, r)
	switch {
	case err == nil:
		l.since, l.failures = time.Time{}, 0
		return e, nil
	case ctx.Err() != nil:
		return run.Event{}, fmt.Errorf("stopped: %w", ctx.Err())
	case l.failures == 0:
		l.since = l.p.Now()
	}
	l.failures++
	if l.p.Now().Sub(l.since) > patience {
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: err.Error()}, nil
	}
	unknown := []gate.Verdict{{Gate: "api-server", State: gate.Unknown, Reason: err.Error()}}
	return run.Event{Kind: run.Judged, At: l.p.Now(), Verdicts: unknown}, nil
}

// pause is how long to wait after so many failures in a row.
func pause(failures int) time.Duration {
	return min(interval<<min(failures, 5), backoff)
}

func (l *loop) judge(ctx context.Context, r run.Run) (run.Event, error) {
	st, gates := r.Plan.Steps[r.At], r.Gates()
	l.warn(ctx, r)
	if e, waits := l.outside(r, gates); waits {
		return e, nil
	}
	if r.Phase == run.Waiting {
		now, err := l.p.Reader.Observe(ctx)
		if err != nil {
			return run.Event{}, fmt.Errorf("observing the mesh: %w", err)
		}
		if l.done != r.At { // a step's end is the only change of what a waiting run expects
			l.expected, l.done = r.Expected(), r.At
		}
		if d := plan.Drift(l.expected, now, r.Plan); len(d) > 0 {
			return run.Event{Kind: run.Drifted, At: l.p.Now(), Drift: d}, nil
		}
	}
	if r.Awaits() {
		now, err := l.p.Reader.Observe(ctx)
		if err != nil {
			return run.Event{}, fmt.Errorf("observing the mesh: %w", err)
		}
		return run.Event{Kind: run.Judged, At: l.p.Now(), Verdicts: []gate.Verdict{r.Arrived(now)}}, nil
	}
	l.began(r)
	ev, err := l.p.Gatherer.Gather(ctx, st.Question, gates)
	if err != nil {
		return run.Event{}, fmt.Errorf("gathering evidence for step %d: %w", st.Number, err)
	}
	ev.Approved, ev.Hooks = r.Approved, l.hooked(ctx, r, gates)
	e := run.Event{Kind: run.Judged, At: l.p.Now(), Verdicts: make([]gate.Verdict, 0, len(gates))}
	for _, g := range gates {
		e.Verdicts = append(e.Verdicts, gate.Judge(g, st.Question, ev))
	}
	e.Verdicts = append(e.Verdicts, l.compared(r)...)
	return e, nil
}

// warn looks now and then, while the run is open, whether a Gateway of its is frozen
// for too long, and has that said. It stops nothing: not seen now, it is seen later.
func (l *loop) warn(ctx context.Context, r run.Run) {
	w, ok := l.p.Writer.(warner)
	freezes := slices.ContainsFunc(r.Plan.Steps, func(st plan.Step) bool { return st.Kind == plan.MoveGateway || st.Kind == plan.ReturnGateway })
	now := l.p.Now()
	if !ok || !freezes || now.Sub(l.warned) < warnTime {
		return
	}
	if s, err := l.p.Reader.Observe(ctx); err == nil {
		l.warned = now
		w.Warn(ctx, s)
	}
}

// began tells the gatherer when the step that is proven began.
func (l *loop) began(r run.Run) {
	if k, ok := l.p.Gatherer.(knower); ok && r.Phase == run.Proving {
		k.Since(r.Plan.Steps[r.At].Number, r.Steps[r.At].Started)
	}
}

// compared lets a step wait until there is something to compare it with: one that
// could not be compared with anything would prove nothing (S-47).
func (l *loop) compared(r run.Run) []gate.Verdict {
	c, ok := l.p.Gatherer.(comparer)
	if !ok || r.Phase != run.Waiting || !slices.Contains(r.Plan.Steps[r.At].Proof, gate.Requests) {
		return nil
	}
	why := c.Cold()
	if why == "" {
		return nil
	}
	return []gate.Verdict{{Gate: gate.Requests, State: gate.Unknown, Reason: why}}
}

// outside judges what asks neither the mesh nor anybody in it, while the hours are
// not those in which the step may begin: nobody is troubled for a whole weekend.
func (l *loop) outside(r run.Run, gates []gate.Name) (run.Event, bool) {
	st, e := r.Plan.Steps[r.At], run.Event{Kind: run.Judged, At: l.p.Now()}
	for _, g := range gates {
		if g == gate.Within || g == gate.Approval {
			e.Verdicts = append(e.Verdicts, gate.Judge(g, st.Question, gate.Evidence{At: e.At, Approved: r.Approved}))
		}
	}
	return e, run.Outside(e.Verdicts)
}

// withOld adds to bad news how the old revision is now, where an undo would go
// back to it (S-48). What could not be seen is not well.
func (l *loop) withOld(ctx context.Context, r run.Run, e run.Event) run.Event {
	over := r.Overspends(e.Failed)
	bad := over || e.Kind == run.Failed || slices.ContainsFunc(e.Verdicts, func(v gate.Verdict) bool { return v.State == gate.Shut })
	begun := r.Phase == run.Applying || r.Phase == run.Proving || r.Phase == run.Waiting && over
	if !bad || !begun || r.Plan.Request.OnShut != plan.Rollback {
		return e
	}
	e.Old = l.old(ctx, r)
	return e
}

// old is how the revisions are now that an undo would go back to.
func (l *loop) old(ctx context.Context, r run.Run) gate.Verdict {
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	s, err := l.p.Reader.Observe(look)
	if err != nil {
		return gate.Verdict{Gate: gate.OldRevision, State: gate.Unknown, Reason: "the old revision was not seen: " + err.Error()}
	}
	return gate.Well(r.Plan.From, s)
}

// wish is what a person asked since the last one that the run has taken; the zero
// Wish is none. A run that has ended or rests is not kept from resting, and one
// that polls asks again in a second; but no deed begins that a wish may have stopped.
func (l *loop) wish(ctx context.Context, r run.Run) (run.Wish, error) {
	if r.Phase == run.Undone {
		return run.Wish{}, nil
	}
	var w run.Wish
	ask := func(look context.Context) error {
		var err error
		w, err = l.p.Journal.Wish(look, r.ID, r.WishSeq)
		return err
	}
	if r.Phase == run.Applying || r.Phase == run.Undoing {
		if err := l.insist(ctx, ask); err != nil {
			return w, fmt.Errorf("reading what was asked of run %s: %w", r.ID, err)
		}
	} else if err := l.once(ctx, ask); err != nil {
		return run.Wish{}, nil //nolint:nilerr // the gates say that the API server is away
	}
	if w.Seq <= r.WishSeq {
		return l.recalled(ctx, r), nil
	}
	return w, nil
}

// save stores the run before its effect. A run that only waits is stored now and
// then: nothing is lost by judging its gates again.
func (l *loop) save(ctx context.Context, r run.Run) error {
	same := l.onlyWaits(r)
	if same && l.p.Now().Sub(l.at) < keepTime {
		return nil
	}
	store := func(look context.Context) error { return l.p.Journal.Save(look, r) }
	if same { // nothing depends on this one
		if l.once(ctx, store) == nil {
			l.saved, l.at = r, l.p.Now()
		}
		return nil
	}
	if err := l.insist(ctx, store); err != nil {
		return fmt.Errorf("saving run %s: %w", r.ID, err)
	}
	l.saved, l.at = r, l.p.Now()
	return nil
}

// onlyWaits says whether nothing has happened to a run since it was saved.
func (l *loop) onlyWaits(r run.Run) bool {
	s := l.saved
	return s.ID == r.ID && s.Phase == r.Phase && s.At == r.At && len(s.Log) == len(r.Log) &&
		s.Paused == r.Paused && s.WishSeq == r.WishSeq && s.Cause == r.Cause && s.Asks() == r.Asks()
}

// once calls the journal. A deed that is done must be noted though ctx has ended.
func (*loop) once(ctx context.Context, f func(context.Context) error) error {
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	return f(look)
}

// insist calls the journal until it answers, patience or ctx ends, or it refuses:
// a mesh that another process has taken is not to be waited for.
func (l *loop) insist(ctx context.Context, f func(context.Context) error) error {
	begun := l.p.Now()
	for n := 0; ; n++ {
		err := l.once(ctx, f)
		if err == nil || errors.Is(err, ErrRefused) || l.p.Now().Sub(begun) > patience {
			return err
		}
		if l.p.Wait(ctx, pause(n)) != nil {
			return err
		}
	}
}
