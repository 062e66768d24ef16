package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/plan"
)

func (a *app) repair() *cobra.Command {
	var f operationFlags
	c := &cobra.Command{
		Use: "repair", Args: noArgs, Short: "Mend managed Gateways that a run has left in the middle: frozen, claimed, under a tag of serin's",
		Long: `A Gateway that istiod deploys is frozen while an upgrade moves it: its new listeners wait (serin status shows it). Where no
run is open any more and it is frozen still, this gives it its own label back, takes claims and freeze away, and first
brings its pods to the revision that the label leads to, where they are of another. What it would do is shown first. Done
again it finds nothing to do. A freeze that is not serin's is left.

It also removes Telemetries that a killed ` + "`serin gateway logs --telemetry`" + ` has left.`,
		Example: `  serin repair --dry-run
  serin repair`,
		RunE: func(c *cobra.Command, args []string) error {
			left, err := a.left(c.Context())
			if err != nil {
				return err
			}
			r, err := f.request(plan.Operation{Verb: plan.Repair, Left: left})
			if err != nil {
				return err
			}
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	f.add(c)
	f.addDryRun(c)
	f.addTraffic(c)
	return c
}

// left is what the runs know of Gateways that they have moved, the newest first.
// A repair's own are no source: it knows no more than it was told.
func (a *app) left(ctx context.Context) ([]plan.Left, error) {
	s, err := a.observe(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := s.Namespace(s.IstioNamespace); !ok {
		return nil, nil
	}
	j, err := a.world.Journal(a.target)
	if err != nil {
		return nil, err
	}
	runs, err := j.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	var out []plan.Left
	known := map[string]bool{}
	for _, r := range runs {
		if o := r.Plan.Request.Operation; o != nil && o.Verb == plan.Repair {
			continue
		}
		for _, l := range plan.LeftOf(r.Plan) {
			if !known[l.Gateway] {
				known[l.Gateway] = true
				out = append(out, l)
			}
		}
	}
	return out, nil
}
