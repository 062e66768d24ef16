package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) prove() *cobra.Command {
	var (
		req = diffRequest{all: true}
		out string
	)
	c := &cobra.Command{
		Use: "prove --revision REVISION", Short: "Show what would become of the workloads on another revision, before anything moves",
		Long: `Prove a revision before a workload depends on it; nothing is moved and nothing is written:

  ground         certificates of one root in both revisions, room for the pods that come, answers in time
  injection      the pod that each workload would become, against today's, and whether the cluster takes it:
                 policies, quotas and Pod Security are asked by a dry run
  validation     every object of Istio's that is stored, put before the revision's own validator
  configuration  what its istiod would give each proxy, as serin diff --all shows it

The exit code is 0 if all is as expected, 3 if something is dangerous, 4 if a person must decide.`,
		Example: "  serin prove --revision 1-29-1\n  serin prove -r 1-29-1 -n shop -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			if req.revision == "" {
				return errNoRevision
			}
			return a.runProve(c.Context(), req)
		},
	}
	req.add(c)
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}

func (a *app) runProve(ctx context.Context, req diffRequest) error {
	q, err := a.question(ctx, req)
	if err != nil {
		return err
	}
	asker, err := a.world.Asker(a.target)
	if err != nil {
		return err
	}
	p, err := asker.Prove(ctx, q)
	if err != nil {
		return err
	}
	if err := view.WriteProof(a.io.Out, req.out.format, p); err != nil {
		return err
	}
	return verdict(p.Verdict)
}
