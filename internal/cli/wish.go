package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// wishRequest is a wish as it was typed.
type wishRequest struct {
	kind     run.WishKind
	step     int  // approve: which, 0 for the one it waits for
	goOn     bool // drive the run when no other process does
	wait     bool
	commands bool // run those of the run's hooks
	dryRun   bool // rollback: show what would be taken back
	yes      bool // rollback: do not ask
}

func (a *app) pause() *cobra.Command {
	return a.wishCommand(&wishRequest{kind: run.WishPause}, "Begin no new deed until serin resume")
}

func (a *app) resume() *cobra.Command {
	c := a.wishCommand(&wishRequest{kind: run.WishResume, goOn: true}, "Go on with a run that is paused, held or was interrupted")
	c.Example = `  serin resume
  # stay until somebody has typed serin approve
  serin resume --wait`
	return c
}

func (a *app) abort() *cobra.Command {
	return a.wishCommand(&wishRequest{kind: run.WishAbort, goOn: true}, "Stop here and leave everything as it is now")
}

func (a *app) rollback() *cobra.Command {
	req := &wishRequest{kind: run.WishRollback, goOn: true}
	c := a.wishCommand(req, "Take everything back, to what it was before; the newest finished run too")
	c.Long += `

Where no run is open it is the newest finished one that is taken back, if the mesh is as that left it. In a terminal
what would be taken back is shown then, in its order, before anything is done, and a yes is asked for. An open run is taken back at once.`
	c.Example = `  # in which order, and how
  serin rollback --dry-run
  serin rollback`
	c.Flags().BoolVar(&req.dryRun, "dry-run", false, "Show what would be taken back, in its order, and do nothing")
	c.Flags().BoolVarP(&req.yes, "yes", "y", false, "Do not ask")
	return c
}

func (a *app) wishCommand(req *wishRequest, short string) *cobra.Command {
	c := &cobra.Command{
		Use: string(req.kind), Short: short, Args: noArgs,
		Long: short + ".\n\nA process that drives the run is asked to do it; where there is none, " + string(req.kind) + " is noted in the run" + also(*req),
		RunE: func(c *cobra.Command, _ []string) error { return a.wish(c.Context(), *req) },
	}
	if req.goOn {
		req.flags(c)
	}
	return c
}

func also(req wishRequest) string {
	if req.goOn {
		return ",\nand this process drives it, live."
	}
	return "."
}

func (a *app) approve() *cobra.Command {
	req := wishRequest{kind: run.WishApprove, goOn: true}
	c := &cobra.Command{
		Use: "approve [STEP]", Short: "Say yes to a step that needs it, and go on",
		Long: `Say yes to a step that needs it: the one that the run waits for, or the one named by its number.

A process that drives the run is told; where there is none, this one goes on with it, live.`,
		Example: `  # the step that the run waits for, or a later one beforehand
  serin approve
  serin approve 13`,
		Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 1 {
					return fmt.Errorf("approve %q: a step is named by its number, as serin status shows it", args[0])
				}
				req.step = n
			}
			return a.wish(c.Context(), req)
		},
	}
	req.flags(c)
	return c
}

// flags are those of a wish after which this process drives the run.
func (req *wishRequest) flags(c *cobra.Command) {
	c.Flags().BoolVar(&req.wait, "wait", false, "Stay and wait for approvals that are given elsewhere")
	c.Flags().BoolVar(&req.commands, "hook-commands", false, "Run the commands of the run's hooks too, though they are read from the cluster, where others may have written them")
}

// wish asks the open run for something, and drives it where nobody else does.
func (a *app) wish(ctx context.Context, req wishRequest) error {
	j, err := a.world.Journal(a.target)
	if err != nil {
		return err
	}
	r, err := a.asked(ctx, j, req.kind)
	if err != nil {
		return err
	}
	if goes, err := a.sure(r, req); err != nil || !goes {
		return err
	}
	w, err := a.worded(r, req)
	if err != nil {
		return err
	}
	place, err := j.Ask(ctx, r.ID, w)
	if err != nil {
		return fmt.Errorf("asking run %s to %s: %w", r.ID, req.kind, err)
	}
	holder, err := a.taken(ctx, j, r, place)
	if err != nil {
		return err
	}
	switch {
	case holder != "":
		_, err = fmt.Fprintf(a.io.Out, "run/%s asked to %s: %s does it, after its current deed\n", r.ID, req.kind, holder)
		return err
	case !req.goOn:
		_, err = fmt.Fprintf(a.io.Out, "run/%s noted %s: nobody drives it now\n", r.ID, req.kind)
		return err
	}
	release, err := a.acquire(ctx, j)
	if err != nil {
		return err
	}
	defer release()
	now, err := j.Load(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("reading run %s: %w", r.ID, err)
	}
	return a.drive(ctx, j, now, driving{again: "serin resume", wait: req.wait, commands: req.commands})
}

// worded is the wish as the run is asked it.
func (a *app) worded(r run.Run, req wishRequest) (run.Wish, error) {
	w := run.Wish{Kind: req.kind, By: a.world.Who()}
	var err error
	if req.kind == run.WishApprove {
		w.Step, err = approvable(r, req.step)
	}
	return w, err
}

// sure says whether the wish is to be made: a rollback that is only to be shown is not,
// and that of a finished run a person is asked about where there is one. Scripts have
// typed it, and are not asked.
func (a *app) sure(r run.Run, req wishRequest) (bool, error) {
	asks := req.kind == run.WishRollback && !view.Open(r) && !req.yes && interactive(a.io.In)
	if !req.dryRun && !asks {
		return true, nil
	}
	back, not := r.Back()
	if not != "" {
		return false, refused("run %s: %s", r.ID, not)
	}
	if err := view.TakingBack(a.io.Out, r, back); err != nil || req.dryRun {
		return false, err
	}
	return true, a.confirm("taking run " + r.ID + " back")
}

// asked is the run that a wish is about: the open one, or, for a rollback, the
// newest finished one.
func (a *app) asked(ctx context.Context, j Journal, kind run.WishKind) (run.Run, error) {
	r, err := open(ctx, j)
	if err == nil && r == nil && kind == run.WishRollback {
		r, err = a.finished(ctx, j)
	}
	if err != nil {
		return run.Run{}, err
	}
	if r == nil {
		return run.Run{}, refused("there is no open run in namespace %s to %s\n  remedy: serin history lists the runs, serin plan begins anew", a.target.IstioNamespace, kind)
	}
	return *r, nil
}

// finished is the newest run if it is done and can still be taken back: nothing
// that it relies on may have been changed since.
func (a *app) finished(ctx context.Context, j Journal) (*run.Run, error) {
	rs, err := j.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	if len(rs) == 0 || rs[0].Phase != run.Done {
		return nil, nil //nolint:nilnil // there is none: an answer, not an error
	}
	r := rs[0]
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return nil, err
	}
	now, err := reader.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("observing the mesh: %w", err)
	}
	if d := append(plan.Drift(r.Expected(), now, r.Plan), plan.Newcomers(r.Expected(), now, r.Plan)...); len(d) > 0 {
		return nil, refused("run %s is done, and the mesh was changed since: %s\n  remedy: change it back and try again, or plan the way to another version: serin plan --to VERSION", r.ID, strings.Join(d, "; "))
	}
	return &r, nil
}

// patience is how often a wish is looked after, a second apart: longer than a
// Lease lives, so that a driver that died is not waited for.
const patience = 30

// taken waits until the process that drives the run has taken the wish by its place, and
// returns its name. It is empty when there is none: one that died holds the
// Lease until that runs out, and takes no wish.
func (a *app) taken(ctx context.Context, j Journal, r run.Run, place int64) (string, error) {
	holder := ""
	for range patience {
		var err error
		if holder, err = j.Holder(ctx); err != nil {
			return "", fmt.Errorf("reading who drives run %s: %w", r.ID, err)
		}
		now, err := j.Load(ctx, r.ID)
		if err != nil {
			return "", fmt.Errorf("reading run %s: %w", r.ID, err)
		}
		if holder == "" || now.WishSeq >= place {
			return holder, nil
		}
		if !a.waited(ctx, time.Second) {
			return holder, nil // the wish is stored: who does not want to wait need not
		}
	}
	return holder, nil
}

// approvable is the step to approve: the named one, the one the run waits for, or
// the next one that needs it.
func approvable(r run.Run, step int) (int, error) {
	var need []int
	for _, s := range r.Plan.Steps {
		if slices.Contains(s.Needs, gate.Approval) && r.Approved[s.Number] == "" {
			need = append(need, s.Number)
		}
	}
	waits, waiting := view.AwaitsApproval(r)
	if waiting && !slices.Contains(need, waits) {
		need = append(need, waits) // what was proven before it asks
	}
	switch {
	case step == 0 && waiting:
		return waits, nil
	case step == 0 && len(need) == 0:
		return 0, refused("run %s has no step left that needs approval", r.ID)
	case step == 0:
		return need[0], nil
	case !slices.Contains(need, step):
		return 0, refused("run %s: step %d does not wait for approval; those that do: %v", r.ID, step, need)
	}
	return step, nil
}
