package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// planRequest is `serin plan` as it was typed.
type planRequest struct {
	request  plan.Request
	out      output
	detailed bool
}

func (a *app) plan() *cobra.Command {
	var (
		flags requestFlags
		req   planRequest
		out   string
	)
	c := &cobra.Command{
		Use: "plan --to VERSION [-o patches DIR]", Short: "Show what an upgrade would do, step by step; writes nothing to the cluster",
		Long: `Look at the mesh and write down, step by step, what an upgrade would do. Nothing is written to the cluster.
Findings that stand in the way are shown all at once, and no plan is kept then (exit code 3).`,
		Example: `  # see the plan and keep it; the URL is one behind a gateway, which is asked all the while
  serin plan --to 1.29.1 --probe-url http://shop.example.com/ -o plan.yaml
  # in a pipeline: exit code 2 says that there is something to do
  serin plan -f request.yaml --detailed-exitcode
  # what to commit where Git declares the mesh, a folder a step
  serin plan -f request.yaml -o patches upgrade/`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if req.request, err = flags.request(c); err != nil {
				return err
			}
			if out == asPatches {
				if len(args) != 1 || req.detailed {
					return fmt.Errorf("-o patches takes one folder to write into, and no --detailed-exitcode\n  remedy: %s -o patches DIR", c.CommandPath())
				}
				return a.makePatches(c.Context(), req, args[0])
			}
			if err := noArgs(c, args); err != nil {
				return err
			}
			if req.out, err = parseOutputOrFile(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			return a.makePlan(c.Context(), req)
		},
	}
	flags.add(c)
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json, yaml; or a file that ends in .yaml or .json, besides the text; or patches, with a folder for what to commit")
	c.Flags().BoolVar(&req.detailed, "detailed-exitcode", false, "Exit with 2 when there is something to do")
	return c
}

func (a *app) makePlan(ctx context.Context, req planRequest) error {
	pl, s, err := a.planned(ctx, req.request)
	if err != nil {
		return err
	}
	if err := a.tryOperator(ctx, pl, s); err != nil {
		return err
	}
	if err := a.showPlan(pl, req.out); err != nil {
		return err
	}
	blocked, _ := view.Blocking(pl.Findings)
	switch {
	case blocked > 0 && req.out.file != "":
		return a.say(exitRefused, "%s was not written", req.out.file)
	case blocked > 0:
		return exit{code: exitRefused}
	case req.out.file != "":
		err = keepPlan(pl, req.out)
	}
	if err == nil && req.detailed && len(pl.Steps) > 0 {
		return exit{code: exitChanges}
	}
	return err
}

func (a *app) showPlan(pl plan.Plan, out output) error {
	switch {
	case out.file != "":
		return view.Plan(a.io.Out, pl, "serin apply "+out.file)
	case out.format == view.Text:
		return view.Plan(a.io.Out, pl, "serin plan again with -o plan.yaml, then serin apply plan.yaml")
	}
	return view.Encode(a.io.Out, out.format, pl)
}

func keepPlan(pl plan.Plan, out output) error {
	var b bytes.Buffer
	if err := view.Encode(&b, out.format, pl); err != nil {
		return err
	}
	if err := os.WriteFile(out.file, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keeping the plan: %w", err)
	}
	return nil
}
