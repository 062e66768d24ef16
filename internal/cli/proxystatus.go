package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/view"
	"github.com/serin-mesh/serin/internal/xds"
)

// proxyStatusRequest is `serin proxy-status` as it was typed.
type proxyStatusRequest struct {
	out       output
	revision  string // or tag
	pod       string
	verbosity int
}

func (a *app) proxyStatus() *cobra.Command {
	var (
		req proxyStatusRequest
		out string
	)
	c := &cobra.Command{
		Use: "proxy-status [" + podUsage + "]", Aliases: []string{"ps"}, Args: atMostOne,
		Short: "Show what each proxy is connected to and whether it is in sync, over all revisions",
		Long: `Every istiod of every revision is asked at once. One that does not answer is a line of
its own, and the pods that may be connected to it are unknown. To the columns of
istioctl proxy-status are added the revision that injected the pod, the one that a
new pod would get, and what does not agree.`,
		Example: `  # all proxies of the mesh
  serin proxy-status
  # those that want, have or are connected to a revision, or to what a tag points to
  serin proxy-status --revision 1-29-1
  # one pod, type by type
  serin proxy-status deployment/productpage-v1.default`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if out == "table" { // istioctl's word
				out = string(view.Text)
			}
			if req.out, err = parseOutput(out, view.Text, view.Wide, view.JSON, view.YAML); err != nil {
				return err
			}
			if len(args) > 0 {
				req.pod = args[0]
			}
			return a.showProxyStatus(c.Context(), req)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text (or table), wide, json or yaml")
	c.Flags().StringVar(&req.revision, "revision", "", "Only proxies that want, have or are connected to this revision, or the one this tag points to")
	c.Flags().IntVarP(&req.verbosity, "verbosity", "v", 0, "1 shows every type of configuration and when it was sent")
	return c
}

func (a *app) showProxyStatus(ctx context.Context, req proxyStatusRequest) error {
	s, err := a.observe(ctx)
	if err != nil {
		return err
	}
	filter := xds.Filter{Namespace: a.target.namespace()}
	if filter.Revision, err = revisionOf(req.revision, s); err != nil {
		return err
	}
	if req.pod != "" {
		name, err := a.parsePod(req.pod)
		if err != nil {
			return err
		}
		pod, err := name.find(s)
		if err != nil {
			return err
		}
		filter.Namespace, filter.Name = pod.Namespace, pod.Name
	}
	answers, err := a.world.Connections(ctx, a.target)
	if err != nil {
		return fmt.Errorf("asking the istiods: %w", err)
	}
	report := view.ProxyReport{Report: xds.Join(s, answers).Only(filter), Now: a.world.Now(), Detail: req.pod != "", Verbose: req.verbosity > 0}
	if req.out.format == view.JSON || req.out.format == view.YAML {
		return view.Encode(a.io.Out, req.out.format, report.Report)
	}
	return report.Text(a.io.Out, req.out.format)
}

// revisionOf is the revision of that name, or the one that the tag points to:
// istioctl's --revision knows no tags (R§2.2).
func revisionOf(name string, s mesh.Snapshot) (string, error) {
	if name == "" {
		return "", nil
	}
	if _, ok := s.ControlPlane(name); ok {
		return name, nil
	}
	for _, t := range s.Tags() {
		if t.Name == name {
			return t.Revision, nil
		}
	}
	for _, p := range s.Pods { // left behind by a control plane that is gone
		if p.Revision == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("there is no revision or tag %q and no pod of it\n  remedy: the revisions are %s", name, strings.Join(s.Revisions(), ", "))
}
