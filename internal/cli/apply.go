package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// applyRequest is `serin apply` as it was typed.
type applyRequest struct {
	file    string
	approve []string // step numbers, or all
	wait    bool     // stay for approvals that are given elsewhere
}

// everyStep is what --approve means without a number.
const everyStep = "all"

func (a *app) apply() *cobra.Command {
	var req applyRequest
	c := &cobra.Command{
		Use: "apply PLAN", Short: "Carry out a plan, live; running it again goes on where it stopped",
		Long: `Carry out a plan, live, until it is done or a person must decide.

Ctrl-C stops after the current deed. Nothing is lost then, nor when the process dies or the network goes:
the same command goes on, from any machine. Where a step needs approval, apply ends with exit code 4, and
serin approve goes on from there; with --wait it stays and waits for an approval given elsewhere.`,
		Example: `  serin apply plan.yaml
  # the approval of step 13 is given beforehand; --approve alone gives all
  serin apply plan.yaml --approve=13
  # stay until somebody has typed serin approve
  serin apply plan.yaml --wait`,
		Args: onePlan,
		RunE: func(c *cobra.Command, args []string) error {
			req.file = args[0]
			pl, err := readPlan(c, req.file)
			if err != nil {
				return err
			}
			return a.applyPlan(c.Context(), pl, req)
		},
	}
	c.Flags().StringSliceVar(&req.approve, "approve", nil, "Approve steps in advance: by number, as in --approve=13; all that need it with --approve alone")
	c.Flags().Lookup("approve").NoOptDefVal = everyStep
	c.Flags().BoolVar(&req.wait, "wait", false, "Stay and wait for approvals that are given elsewhere")
	return c
}

// onePlan wants the plan's file. The number of --approve is part of its word: after a
// space it is an argument.
func onePlan(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which plan to apply is missing\n  remedy: serin plan --to VERSION -o plan.yaml, then %s plan.yaml", c.CommandPath())
	}
	if len(args) == 1 {
		return nil
	}
	remedy := c.CommandPath() + " --help"
	for _, word := range args {
		if _, err := strconv.Atoi(word); err == nil && c.Flags().Changed("approve") {
			remedy = "--approve=" + word
		}
	}
	return fmt.Errorf("%s takes one plan, got %s\n  remedy: %s", c.CommandPath(), strings.Join(args, " and "), remedy)
}

// readPlan reads a plan and makes sure that it says what serin plan wrote.
func readPlan(c *cobra.Command, file string) (plan.Plan, error) {
	var pl plan.Plan
	b, err := readFile(file, c)
	if err != nil {
		return pl, fmt.Errorf("reading the plan: %w", err)
	}
	if err := readYAML(b, &pl); err != nil {
		return pl, fmt.Errorf("reading the plan %s: %w", file, err)
	}
	if pl.Kind != "Plan" || pl.APIVersion != plan.APIVersion {
		return pl, fmt.Errorf("reading the plan %s: it is %s %s, this serin applies %s Plan", file, pl.APIVersion, pl.Kind, plan.APIVersion)
	}
	if err := plan.Verify(pl); err != nil {
		return pl, refused("the plan %s is not as serin wrote it: %w\n  remedy: change the request and plan again", file, err)
	}
	if o := pl.Request.Operation; o != nil && o.Purge {
		return pl, refused("the plan %s removes the whole mesh: that is carried out only where the mesh's name is typed\n  remedy: serin uninstall --purge", file)
	}
	if blocked, _ := view.Blocking(pl.Findings); blocked > 0 {
		return pl, refused("the plan %s has findings in the way: there is nothing to apply\n  remedy: mend them, or override those that may be, and plan again", file)
	}
	return pl, nil
}

func (a *app) applyPlan(ctx context.Context, pl plan.Plan, req applyRequest) error {
	if len(pl.Steps) == 0 {
		_, err := fmt.Fprintf(a.io.ErrOut, "nothing to do: everything is on %s already\n", pl.To)
		return err
	}
	steps, err := approvals(pl, req.approve)
	if err != nil {
		return err
	}
	j, err := a.world.Journal(a.target)
	if err != nil {
		return err
	}
	// Order: all that can be refused is refused before the Lease is taken, which is the first write.
	r, _, err := a.begin(ctx, j, pl, req.file)
	if err != nil {
		return err
	}
	if !view.Open(r) {
		return a.say(exitOK, "run %s has carried this plan out already. Next: serin report", r.ID)
	}
	if err := a.permitted(ctx, pl); err != nil {
		return err
	}
	release, err := a.acquire(ctx, j)
	if err != nil {
		return err
	}
	defer release()
	// What was seen before the Lease was held is looked at again.
	r, stored, err := a.begin(ctx, j, pl, req.file)
	if err != nil {
		return err
	}
	if stored {
		_, _ = fmt.Fprintf(a.io.ErrOut, "going on with run %s\n", r.ID)
	}
	for _, n := range steps {
		if r.Approved == nil {
			r.Approved = map[int]string{}
		}
		r.Approved[n] = a.world.Who()
	}
	return a.drive(ctx, j, r, driving{again: "serin apply " + quoted(req.file), wait: req.wait, hooks: pl.Request.Hooks})
}

// approvals are the steps that --approve names.
func approvals(pl plan.Plan, words []string) ([]int, error) {
	var need, out []int
	for _, s := range pl.Steps {
		if slices.Contains(s.Needs, gate.Approval) {
			need = append(need, s.Number)
		}
	}
	for _, w := range words {
		if w == everyStep {
			return need, nil
		}
		n, err := strconv.Atoi(w)
		if err != nil || !slices.Contains(need, n) {
			return nil, fmt.Errorf("--approve %s: the steps that need approval are %v", w, need)
		}
		out = append(out, n)
	}
	return out, nil
}

// begin is the stored run of this very plan and true, or a new one if the plan
// still fits the mesh. An open run of another plan refuses.
func (a *app) begin(ctx context.Context, j Journal, pl plan.Plan, file string) (run.Run, bool, error) {
	rs, err := j.List(ctx)
	if err != nil {
		return run.Run{}, false, fmt.Errorf("reading the runs: %w", err)
	}
	for _, r := range rs {
		switch {
		case !view.Open(r):
		case r.Plan.Digest == pl.Digest:
			return r, true, nil
		default:
			return r, false, refused("run %s of another plan (to %s %s, started by %s) is open: %s\n  remedy: serin status shows it; serin resume or serin rollback ends it",
				r.ID, r.Plan.To, r.Plan.Version, r.By, r.Phase)
		}
	}
	s, now, err := a.fits(ctx, pl)
	if err != nil {
		return run.Run{}, false, err
	}
	if now.Digest == pl.Digest {
		return a.start(pl, s, rs), false, nil
	}
	if r := finished(rs, pl); r != nil {
		return *r, true, nil
	}
	return run.Run{}, false, a.stale(pl, now, file)
}
