package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
	"github.com/serin-mesh/serin/internal/view"
)

var errNoRevision = errors.New("no revision is named\n  remedy: name the one in question with --revision; serin revisions lists them")

// diffRequest is `serin diff` as it was typed.
type diffRequest struct {
	workload, revision, from string
	all                      bool
	out                      output
}

// add adds what a diff and a proof both take.
func (r *diffRequest) add(c *cobra.Command) {
	c.Flags().StringVarP(&r.revision, "revision", "r", "", "Revision that would serve them")
	c.Flags().StringVar(&r.from, "from", "", "Revision that serves them now; the only other one there is when not given")
}

func (a *app) diff() *cobra.Command {
	var (
		req diffRequest
		out string
	)
	c := &cobra.Command{
		Use: "diff (TYPE/NAME[.NAMESPACE] | --all) --revision REVISION", Short: "Show what another revision would give the proxies, against what they have now",
		Long: `Ask a revision's istiod, as the shadow of each workload's proxy, for the configuration that it would give
it, and compare that with what the proxy is given now: clusters, endpoints, listeners, routes, filters, DNS names.
Nothing is moved and nothing is written to the cluster.

Differences are grouped by pattern and classed:

  dangerous    a host, route, listener, cluster, filter or certificate is gone, or the mTLS mode or
               an authorization rule changes: exit code 3
  unexplained  nobody has said what it is, or a workload could not be asked: exit code 4
  expected     a rule names the field and both values for these two releases`,
		Example: "  serin diff --all --revision 1-29-1\n  serin diff deploy/reviews-v1.default -r 1-29-1 -o json\n  serin diff --all -r 1-29-1 -o html > diff.html",
		Args:    atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.workload = args[0]
			}
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML, view.HTML); err != nil {
				return err
			}
			return a.runDiff(c.Context(), req)
		},
	}
	req.add(c)
	c.Flags().BoolVar(&req.all, "all", false, "Every workload of the mesh, or of the namespace that -n names")
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json, yaml or html")
	return c
}

func (a *app) runDiff(ctx context.Context, req diffRequest) error {
	if req.revision == "" {
		return errNoRevision
	}
	if (req.workload != "") == req.all {
		return errors.New("diff needs a workload or --all, and not both\n  remedy: serin diff deployment/NAME.NAMESPACE, or --all")
	}
	q, err := a.question(ctx, req)
	if err != nil {
		return err
	}
	asker, err := a.world.Asker(a.target)
	if err != nil {
		return err
	}
	r, err := asker.Configs(ctx, q)
	if err != nil {
		return err
	}
	if err := view.WriteComparison(a.io.Out, req.out.format, r); err != nil {
		return err
	}
	return verdict(r.Worst())
}

// verdict is the exit code of a comparison: the report has said all there is.
func verdict(c shadow.Class) error {
	switch c {
	case shadow.Dangerous:
		return exit{code: exitRefused}
	case shadow.Unexplained:
		return exit{code: exitHeld}
	case shadow.Expected:
	}
	return nil
}

// question is what is asked of which workloads.
func (a *app) question(ctx context.Context, req diffRequest) (shadow.Question, error) {
	var want []mesh.Ref
	namespace := a.target.namespace()
	if !req.all {
		name, err := a.parsePod(req.workload)
		if err != nil {
			return shadow.Question{}, err
		}
		if name.kind == mesh.KindPod {
			return shadow.Question{}, fmt.Errorf("%s is a pod\n  remedy: name what owns it, as in deployment/NAME.NAMESPACE", req.workload)
		}
		if name.kind == "" {
			name.kind = mesh.KindDeployment
		}
		want, namespace = []mesh.Ref{{Kind: name.kind, Namespace: name.namespace, Name: name.name}}, name.namespace
	}
	s, err := a.observe(ctx)
	if err != nil {
		return shadow.Question{}, err
	}
	if want != nil {
		if _, known := s.Workload(want[0]); !known {
			return shadow.Question{}, fmt.Errorf("there is no workload %s in the mesh\n  remedy: serin diff --all names those there are", want[0])
		}
	}
	return shadow.Ask(s, req.revision, req.from, namespace, want)
}
