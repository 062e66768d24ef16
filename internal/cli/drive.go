package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// driving is how a run is driven.
type driving struct {
	again    string      // the command that goes on after an interruption
	wait     bool        // wait for an approval instead of ending
	hooks    []plan.Hook // of the user's own plan, whose commands may be run; nil: those of the stored run
	commands bool        // of the stored run's hooks may be run too
}

// open is the run that has not ended, nil if there is none.
func open(ctx context.Context, j Journal) (*run.Run, error) {
	rs, err := j.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	for _, r := range rs {
		if view.Open(r) {
			return &r, nil
		}
	}
	return nil, nil //nolint:nilnil // no run is an answer, not an error
}

// acquire takes the mesh for this process, or is refused with the holder's name.
// The journal adds host and process to what it is given.
func (a *app) acquire(ctx context.Context, j Journal) (func(), error) {
	name, _, _ := strings.Cut(a.world.Who(), "@")
	release, err := j.Acquire(ctx, name)
	if errors.Is(err, drive.ErrRefused) {
		return nil, exit{code: exitRefused, cause: err}
	}
	return release, err
}

// drive carries the run on until it ends, holds, waits for a person or is interrupted.
func (a *app) drive(ctx context.Context, j Journal, r run.Run, d driving) error {
	drivers, err := a.world.Drivers(ctx, a.target, r.Plan)
	if err != nil {
		return err
	}
	if drivers.Close != nil {
		defer drivers.Close()
	}
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	loop, stop := context.WithCancel(ctx)
	defer stop()
	silent := context.AfterFunc(ctx, func() {
		_, _ = fmt.Fprintln(a.io.ErrOut, "\nstopping after the current deed; ctrl-C again ends at once, and nothing is lost then either")
	})
	defer silent()
	asks, end := a.hooks(r, d)
	defer end()
	ports := a.ports(reader, drivers, j)
	ports.Hooks = asks
	progress := &view.Progress{W: a.io.Out, Now: a.world.Now, Live: terminal(a.io.Out)}
	r, err = drive.Loop(loop, ports, r, func(now run.Run) {
		progress.Show(now)
		if !d.wait && onlyApproval(now) {
			stop()
		}
	})
	if failed := progress.End(); failed != nil && err == nil {
		err = failed
	}
	return a.finish(ctx, r, d, err)
}

// hooks are those of the run. What a plan of the user's own says may be run, may; what
// is stored in a cluster others may have written, and its commands are run here only
// where the user says so.
func (a *app) hooks(r run.Run, d driving) (drive.Hooks, func()) {
	hs, commands := r.Plan.Request.Hooks, d.commands
	if len(d.hooks) > 0 {
		hs, commands = d.hooks, true
	}
	if len(hs) == 0 || a.world.Hooks == nil {
		return nil, func() {}
	}
	return a.world.Hooks(hs, commands)
}

// onlyApproval says whether a person's word is all that the run waits for.
func onlyApproval(r run.Run) bool {
	if _, ok := view.AwaitsApproval(r); !ok || len(r.Verdicts) == 0 {
		return false
	}
	asked := false
	for _, v := range r.Verdicts {
		if v.State != gate.Open && !v.Asks && !v.Waits { // an approval may be given before a window opens
			return false
		}
		asked = asked || v.State != gate.Open && v.Asks
	}
	return asked
}

// finish says on stderr how it ended and what to type next, and picks the exit code.
func (a *app) finish(ctx context.Context, r run.Run, d driving, err error) error {
	if err != nil && ctx.Err() == nil && !onlyApproval(r) {
		return fmt.Errorf("driving run %s: %w\n  remedy: nothing is lost; %s goes on", r.ID, err, d.again)
	}
	switch {
	case r.Phase == run.Done:
		return a.say(exitOK, "run %s is done. Next: serin report", r.ID)
	case r.Phase == run.Undone:
		return a.say(exitRolledBack, "run %s is rolled back: %s. Next: serin report", r.ID, r.Cause)
	case r.Phase == run.Held:
		return a.say(exitHeld, "run %s is held: %s\n  next: %s", r.ID, r.Cause, view.Next(r, ""))
	case onlyApproval(r):
		return a.say(exitHeld, "run %s waits for approval\n  next: %s", r.ID, view.Next(r, ""))
	}
	return a.say(exitHeld, "run %s stopped after the current deed; nothing is lost\n  next: %s goes on, serin rollback takes it back", r.ID, d.again)
}

func (a *app) say(code int, format string, args ...any) error {
	if _, err := fmt.Fprintf(a.io.ErrOut, format+"\n", args...); err != nil {
		return err
	}
	if code == exitOK {
		return nil
	}
	return exit{code: code}
}

// terminal says whether a person watches: only then are control codes written.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ports are what drive.Loop looks, does and stores with.
func (a *app) ports(reader drive.Reader, d Drivers, j Journal) drive.Ports {
	return drive.Ports{
		Reader: reader, Writer: d.Writer, Gatherer: d.Gatherer, Watcher: d.Watcher, Journal: j,
		Now: a.world.Now, Wait: a.world.Wait, Requests: d.Requests,
	}
}

// start makes the run of a plan on the mesh as it is now. Its name is the time, and
// a number where a run of that second is there: it must not come into that one's wishes.
func (a *app) start(pl plan.Plan, before mesh.Snapshot, runs []run.Run) run.Run {
	now := a.world.Now()
	name := now.UTC().Format("20060102-150405")
	id := name
	for n := 2; slices.ContainsFunc(runs, func(r run.Run) bool { return r.ID == id }); n++ {
		id = fmt.Sprintf("%s-%d", name, n)
	}
	return run.Start(id, pl, before, a.world.Who(), now)
}
