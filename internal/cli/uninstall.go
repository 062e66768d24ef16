package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func (a *app) uninstall() *cobra.Command {
	var (
		f     operationFlags
		p     purgeFlags
		rev   string
		files []string
	)
	c := &cobra.Command{
		Use: "uninstall --revision REVISION | --purge", Short: "Remove a control plane that nothing relies on, or the whole mesh",
		Long: `Remove one revision's control plane, by whatever it was installed: "default" is the one without a revision.

Everything that still relies on it is listed and stands in the way: tags, namespaces, workloads, pods,
gateways, configuration that names it, validators, Helm releases. Its webhooks go first, then the release or
the objects that istioctl made for this revision, then what istiod made for itself. Never another revision's,
never istio-cni, ztunnel or CRDs. What was removed serin rollback installs again as it was.

With -f the revision is that of an IstioOperator file, the one without a name if it has none: never all that
the file's owner has installed, as with istioctl.

With --purge the whole mesh goes: gateway releases, tags, every webhook, the base chart, every control plane,
whoever installed it. What relies on it is listed and does not stand in the way: its pods run on without a
control plane, and their successors without a sidecar. CRDs, configuration, istio-cni and ztunnel stay. It is
carried out only when the mesh's name has been typed, at the question or as --confirm NAME; -y is not enough.
The mesh's name is that of the kubeconfig's context (in a cluster, the API server's address).`,
		Example: `  serin uninstall --revision 1-27-0
  serin uninstall --revision default
  serin uninstall -f operator.yaml
  serin uninstall --purge --dry-run
  serin uninstall --purge --confirm prod-eu`,
		Args: noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if p.all || p.name != "" {
				return a.purge(c, args, f, p, rev != "" || len(files) > 0)
			}
			if rev == "" && len(files) > 0 {
				doc, _, err := readOperator(c, files, nil, "")
				if err != nil {
					return err
				}
				rev = cmp.Or(doc.Revision(), mesh.DefaultRevision)
			}
			if rev == "" {
				return fmt.Errorf("which revision to remove is missing\n  remedy: %s --revision REVISION; default is the one without a revision", c.CommandPath())
			}
			return a.uninstalling(c, args, f, plan.Operation{Verb: plan.Uninstall, Revision: rev})
		},
	}
	c.Flags().StringVarP(&rev, "revision", "r", "", "Revision to remove; default is the one without a revision")
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "IstioOperator files, whose revision to remove")
	c.Flags().BoolVar(&p.all, "purge", false, "Remove the whole mesh: every control plane, tag, webhook and gateway release; CRDs stay")
	c.Flags().StringVar(&p.name, "confirm", "", "With --purge: the mesh's name, which is the kubeconfig's context")
	f.add(c)
	f.addDryRun(c)
	c.Flags().BoolVar(&f.yes, "skip-confirmation", false, "The same as --yes")
	c.AddCommand(a.uninstallBase(), a.uninstallGateway())
	return c
}

func (a *app) uninstalling(c *cobra.Command, args []string, f operationFlags, o plan.Operation) error {
	r, err := f.request(o)
	if err != nil {
		return err
	}
	return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
}

func (a *app) uninstallBase() *cobra.Command {
	var f operationFlags
	c := &cobra.Command{
		Use: "base", Short: "Uninstall the base chart; the CRDs, and all configuration, stay",
		Long: `Uninstall the release of the base chart, whichever its name. It goes before the last control plane: its
validator would refuse all configuration once nothing answers it. The CRDs stay, and all configuration.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.uninstalling(c, args, f, plan.Operation{Verb: plan.Uninstall, Chart: "base"})
		},
	}
	f.add(c)
	f.addDryRun(c)
	return c
}

func (a *app) uninstallGateway() *cobra.Command {
	var f operationFlags
	c := &cobra.Command{
		Use: "gateway RELEASE -n NAMESPACE", Short: "Uninstall a release of the gateway chart",
		Args: one("the release's name"),
		RunE: func(c *cobra.Command, args []string) error {
			ns := a.target.namespace()
			if ns == "" {
				return fmt.Errorf("the release's namespace is missing\n  remedy: %s %s -n NAMESPACE", c.CommandPath(), args[0])
			}
			return a.uninstalling(c, args, f, plan.Operation{Verb: plan.Uninstall, Chart: "gateway", Name: args[0], Namespace: ns})
		},
	}
	f.add(c)
	f.addDryRun(c)
	return c
}
