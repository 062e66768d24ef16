package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) prove() *cobra.Command {
	var (
		req diffRequest
		out string
	)
	c := &cobra.Command{
		Use: "prove [TYPE/NAME[.NAMESPACE]] --revision REVISION", Short: "Show what would become of the workloads on another revision, before anything moves",
		Long: `Prove a revision before the workloads of the mesh, or the one that is named, depend on it; nothing is moved and nothing is written:

  ground         certificates of one root in both revisions, room for the pods that come, answers in time
  injection      the pod that each workload would become, against today's, and whether the cluster takes it:
                 policies, quotas and Pod Security are asked by a dry run
  validation     every object of Istio's that is stored, put before the revision's own validator
  configuration  what its istiod would give each proxy, as serin diff --all shows it

The exit code is 0 if all is as expected, 3 if something is dangerous, 4 if a person must decide.`,
		Example: "  serin prove --revision 1-29-1\n  serin prove deploy/reviews-v1.default -r 1-29-1\n  serin prove -r 1-29-1 -n shop -o json",
		Args:    atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			req.all = len(args) == 0
			if !req.all {
				req.workload = args[0]
			}
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
