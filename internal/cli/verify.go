package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// verifyRequest is `serin verify` as it was typed.
type verifyRequest struct {
	step         string // a number, or a folder's name
	file, run    string
	before, back bool
	timeout      time.Duration
	out          output
}

func (a *app) verify() *cobra.Command {
	var (
		req verifyRequest
		out string
	)
	c := &cobra.Command{
		Use: "verify STEP", Short: "Say whether the mesh is as a step of a plan wants it; writes nothing to the cluster",
		Long: `Say whether the mesh is as a step of a plan wants it, by whoever has made it so, and whether the step's own
gates are open: the same that serin apply asks. Unknown is not yes.

A step is named by its number, or by its folder's name. Without -f or --run it is a step of the open run, or
of the newest. Exit code 0 says yes, 3 says no.`,
		Example: `  serin verify 4 -f patches/plan.yaml
  serin verify 4 --before      # may it be begun?`,
		Args: one("the step's number"),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			req.step = args[0]
			return a.verifyStep(c, req)
		},
	}
	c.Flags().StringVarP(&req.file, "filename", "f", "", "File with the plan")
	c.Flags().StringVar(&req.run, "run", "", "Run whose plan it is; the open one, or the newest, when not given")
	c.Flags().BoolVar(&req.before, "before", false, "Ask what the step first needs, instead of what it leaves")
	c.Flags().BoolVar(&req.back, "back", false, "Ask whether the step of a run is taken back, instead")
	c.Flags().DurationVar(&req.timeout, "timeout", 10*time.Second, "How long to look again while the answer is no; 0 looks once")
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}

// verifyStep looks until the answer is yes or the time is over.
func (a *app) verifyStep(c *cobra.Command, req verifyRequest) error {
	ctx := c.Context()
	r, err := a.verified(c, req)
	if err != nil {
		return err
	}
	if r.At, err = stepOf(r.Plan, req.step); err != nil {
		return err
	}
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	g, ended, err := a.world.Evidence(ctx, a.target, r.Plan)
	if err != nil {
		return err
	}
	defer ended()
	until := a.world.Now().Add(req.timeout)
	for {
		v, err := judgeStep(ctx, reader, g, r, req)
		if err != nil {
			return err
		}
		if !v.Yes && a.world.Now().Before(until) && a.waited(ctx, time.Second) {
			continue
		}
		return a.showVerified(v, req.out)
	}
}

func (a *app) showVerified(v view.Verified, out output) error {
	var err error
	if out.format == view.Text {
		err = v.Write(a.io.Out)
	} else {
		err = view.Encode(a.io.Out, out.format, v)
	}
	if err == nil && !v.Yes {
		return exit{code: exitRefused}
	}
	return err
}

// said refuses what cannot be asked.
func (req verifyRequest) said() error {
	switch {
	case req.before && req.back:
		return errors.New("--before and --back ask for two things: one at a time")
	case req.file != "" && (req.run != "" || req.back):
		return errors.New("-f names a plan that has no run: --run and --back ask about a run")
	}
	return nil
}

// verified is the run that the step is one of; a plan from a file is taken for
// one that has not begun.
func (a *app) verified(c *cobra.Command, req verifyRequest) (run.Run, error) {
	if err := req.said(); err != nil {
		return run.Run{}, err
	}
	if req.file != "" {
		pl, err := readPlan(c, req.file)
		return run.Run{Plan: pl}, err
	}
	rs, err := a.runs(c.Context())
	if err != nil {
		return run.Run{}, err
	}
	i := slices.IndexFunc(rs, func(r run.Run) bool { return r.ID == req.run || req.run == "" && view.Open(r) })
	switch {
	case i >= 0:
		return rs[i], nil
	case req.run != "":
		return run.Run{}, refused("there is no run %s in namespace %s\n  remedy: serin history lists them", req.run, a.target.IstioNamespace)
	case len(rs) == 0:
		return run.Run{}, refused("there is no run in namespace %s to take the step from\n  remedy: name the plan: %s -f plan.yaml", a.target.IstioNamespace, c.CommandPath())
	}
	return rs[0], nil
}

// stepOf finds a step by its number, or by the name of its folder.
func stepOf(pl plan.Plan, word string) (int, error) {
	digits := word
	if number, kind, folder := strings.Cut(strings.TrimSuffix(word, "/"), "-"); folder && slices.ContainsFunc(pl.Steps, func(st plan.Step) bool { return string(st.Kind) == kind }) {
		digits = number
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > len(pl.Steps) {
		return 0, fmt.Errorf("verify %q: the plan has the steps 1 to %d\n  remedy: serin status, or the plan, shows their numbers", word, len(pl.Steps))
	}
	return n - 1, nil
}

// evident are the gates that serin's own evidence opens: no person and no hook is asked.
func evident(gates []gate.Name) []gate.Name {
	return slices.DeleteFunc(slices.Clone(gates), func(n gate.Name) bool { return n == gate.Approval || gate.Hooked(n) != "" })
}

// judgeStep asks once, by the predicates of apply.
func judgeStep(ctx context.Context, reader drive.Reader, g drive.Gatherer, r run.Run, req verifyRequest) (view.Verified, error) {
	st := r.Plan.Steps[r.At]
	s, err := reader.Observe(ctx)
	if err != nil {
		return view.Verified{}, fmt.Errorf("looking at the mesh: %w", err)
	}
	v := view.Verified{Step: st.Number, Steps: len(r.Plan.Steps), Kind: st.Kind, Target: st.Target, Asked: view.After}
	gates := evident(st.Proof)
	switch {
	case req.before:
		v.Asked, gates = view.Before, evident(st.Needs)
	case req.back:
		v.Asked, gates, v.Missing = view.Back, nil, plan.MissingBack(s, st, r.Before)
	default:
		v.Missing = plan.Missing(s, st)
	}
	if len(gates) > 0 {
		ev, err := g.Gather(ctx, st.Question, gates)
		if err != nil {
			return v, fmt.Errorf("gathering evidence for step %d: %w", st.Number, err)
		}
		for _, n := range gates {
			v.Gates = append(v.Gates, gate.Judge(n, st.Question, ev))
		}
	}
	v.Yes = len(v.Missing) == 0 && !slices.ContainsFunc(v.Gates, func(x gate.Verdict) bool { return x.State != gate.Open })
	return v, nil
}
