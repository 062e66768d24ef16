package drive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// ErrRefused is a deed that must not be done as the cluster is: trying again is no use.
var ErrRefused = errors.New("refused")

// Ports are what Loop looks, does and stores with.
type Ports struct {
	Reader   Reader
	Writer   Writer
	Gatherer Gatherer
	Journal  Journal
	Now      func() time.Time
	Wait     func(ctx context.Context, d time.Duration) error // nil: a timer
}

// marker is a Gatherer that wants to know when a step begins.
type marker interface{ Mark(step int) }

const (
	interval = time.Second      // between two looks at the gates
	deedTime = 10 * time.Minute // a deed may take, whatever became of ctx
	keepTime = 10 * time.Second // between two saves of a run that only waits
	patience = 5 * time.Minute  // with an API server that does not answer
)

// loop is one process's drive of a run.
type loop struct {
	p      Ports
	show   func(run.Run)
	saved  run.Run
	at     time.Time // of the last save
	since  time.Time // of the first error in a row
	looked string    // the step and phase whose gates were judged last
}

// Loop carries a run on until it stops or ctx ends. Ending ctx stops it after
// the current deed. show is called with each new state.
func Loop(ctx context.Context, p Ports, r run.Run, show func(run.Run)) (run.Run, error) {
	if p.Wait == nil {
		p.Wait = wait
	}
	l := &loop{p: p, show: show}
	e := run.Event{Kind: run.Began, At: p.Now()}
	for {
		next, effect := run.Next(r, e)
		if err := l.save(ctx, next); err != nil {
			return r, err
		}
		r = next
		l.show(r)
		if effect == run.Stop {
			if w, err := l.wish(ctx, r); err != nil || w == nil {
				return r, err
			} else {
				e = *w
				continue
			}
		}
		if ctx.Err() != nil {
			return r, fmt.Errorf("stopped after the current deed: %w", ctx.Err())
		}
		var err error
		if e, err = l.do(ctx, r, effect); err != nil {
			return r, err
		}
	}
}

// do carries out one effect and returns what came of it.
func (l *loop) do(ctx context.Context, r run.Run, effect run.Effect) (run.Event, error) {
	if w, err := l.wish(ctx, r); err != nil {
		return run.Event{}, err
	} else if w != nil {
		return *w, nil
	}
	switch effect {
	case run.Apply, run.Revert:
		return l.deed(ctx, r, effect), nil
	case run.Observe:
		return l.observe(ctx, r)
	case run.Stop:
	}
	return run.Event{Kind: run.Began, At: l.p.Now()}, nil
}

// deed applies or reverts. Its context outlives ctx: what was begun is finished.
func (l *loop) deed(ctx context.Context, r run.Run, effect run.Effect) run.Event {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deedTime)
	defer cancel()
	st := r.Plan.Steps[r.At]
	var err error
	kind := run.Applied
	if effect == run.Apply {
		if m, ok := l.p.Gatherer.(marker); ok {
			m.Mark(st.Number)
		}
		err = l.p.Writer.Apply(ctx, st, r.Plan, r.Before)
	} else {
		kind = run.Reverted
		err = l.p.Writer.Revert(ctx, st, r.Plan, r.Before)
	}
	if err != nil {
		return run.Event{Kind: run.Failed, At: l.p.Now(), Why: err.Error(), Final: errors.Is(err, ErrRefused)}
	}
	return run.Event{Kind: kind, At: l.p.Now()}
}

// observe judges the gates of the phase, a second after the last time.
func (l *loop) observe(ctx context.Context, r run.Run) (run.Event, error) {
	here := fmt.Sprintf("%d %s", r.At, r.Phase)
	if l.looked == here { // also where no gate is asked: a paused run must not spin
		if err := l.p.Wait(ctx, interval); err != nil {
			return run.Event{}, fmt.Errorf("stopped: %w", err)
		}
	}
	l.looked = here
	e, err := l.judge(ctx, r)
	if err == nil {
		l.since = time.Time{}
		return e, nil
	}
	if ctx.Err() != nil {
		return run.Event{}, fmt.Errorf("stopped: %w", ctx.Err())
	}
	// An API server that is away for a while is not bad news about the mesh.
	if l.since.IsZero() {
		l.since = l.p.Now()
	}
	if l.p.Now().Sub(l.since) > patience {
		return run.Event{}, err
	}
	unknown := []gate.Verdict{{Gate: "api-server", State: gate.Unknown, Reason: err.Error()}}
	return run.Event{Kind: run.Judged, At: l.p.Now(), Verdicts: unknown}, nil
}

func (l *loop) judge(ctx context.Context, r run.Run) (run.Event, error) {
	st, gates := r.Plan.Steps[r.At], r.Gates()
	if r.Phase == run.Waiting {
		now, err := l.p.Reader.Observe(ctx)
		if err != nil {
			return run.Event{}, fmt.Errorf("observing the mesh: %w", err)
		}
		if d := plan.Drift(r.Expected(), now, r.Plan); len(d) > 0 {
			return run.Event{Kind: run.Drifted, At: l.p.Now(), Drift: d}, nil
		}
	}
	ev, err := l.p.Gatherer.Gather(ctx, st.Question, gates)
	if err != nil {
		return run.Event{}, fmt.Errorf("gathering evidence for step %d: %w", st.Number, err)
	}
	ev.Approved = r.Approved
	e := run.Event{Kind: run.Judged, At: l.p.Now(), Verdicts: make([]gate.Verdict, 0, len(gates))}
	for _, g := range gates {
		e.Verdicts = append(e.Verdicts, gate.Judge(g, st.Question, ev))
	}
	if ev.Requests != nil {
		e.Sent, e.Failed = ev.Requests.Now.Sent, ev.Requests.Now.Failed
	}
	return e, nil
}

// wish is what a person asked since the last one that the run has taken.
func (l *loop) wish(ctx context.Context, r run.Run) (*run.Event, error) {
	w, err := l.p.Journal.Wish(context.WithoutCancel(ctx), r.ID)
	if err != nil {
		if r.Phase == run.Waiting || r.Phase == run.Proving { // looked at again in a second
			return nil, nil //nolint:nilnil,nilerr // the API server may be away: gates say so
		}
		return nil, fmt.Errorf("reading what was asked of run %s: %w", r.ID, err)
	}
	if w.Kind == "" || w.Seq <= r.WishSeq {
		return nil, nil //nolint:nilnil // no wish
	}
	return &run.Event{Kind: run.Wished, At: l.p.Now(), Wish: w}, nil
}

// save stores the run before its effect. A run that only waits is stored now and
// then: nothing is lost by judging its gates again.
func (l *loop) save(ctx context.Context, r run.Run) error {
	same := l.saved.ID == r.ID && l.saved.Phase == r.Phase && l.saved.At == r.At && len(l.saved.Log) == len(r.Log) &&
		l.saved.Paused == r.Paused && l.saved.WishSeq == r.WishSeq
	if same && l.p.Now().Sub(l.at) < keepTime {
		return nil
	}
	if err := l.p.Journal.Save(context.WithoutCancel(ctx), r); err != nil {
		return fmt.Errorf("saving run %s: %w", r.ID, err)
	}
	l.saved, l.at = r, l.p.Now()
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
