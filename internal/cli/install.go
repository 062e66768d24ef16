package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// installFlags are what the three installs take, in Helm's words.
type installFlags struct {
	operationFlags
	version, dry         string
	files, sets, strings []string
	create               bool
}

// How --dry-run looks.
const (
	dryClient = "client"
	dryServer = "server"
)

func (f *installFlags) add(c *cobra.Command) {
	f.operationFlags.add(c)
	fs := c.Flags()
	fs.StringVar(&f.version, "version", "", "Istio version to install, as in 1.29.1")
	addCharts(c, &f.charts)
	fs.StringSliceVarP(&f.files, "values", "f", nil, "Files of Helm values, or for istiod IstioOperator files; the last wins")
	fs.StringArrayVar(&f.sets, "set", nil, "Values, as in a.b=c; they win over files. With an IstioOperator its paths, as istioctl has them: values.a.b=c")
	fs.StringArrayVar(&f.strings, "set-string", nil, "Values that are strings whatever they look like")
	fs.BoolVar(&f.create, "create-namespace", false, "Make the namespaces that are missing")
	fs.StringVar(&f.dry, "dry-run", "", "Do nothing: client renders the objects here, server has the API server accept them too")
	fs.StringVarP(&f.out, "output", "o", "text", "With --dry-run, output format: text, or yaml for the objects")
}

// values are the files' values with those set on the command line over them.
func (f *installFlags) values(c *cobra.Command) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range f.files {
		b, err := readFile(name, c)
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		var v map[string]any
		if err := readYAML(b, &v); err != nil {
			return nil, fmt.Errorf("reading values of %s: %w", name, err)
		}
		out = over(out, v)
	}
	if err := f.setOver(out); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, nil //nolint:nilnil // no values
	}
	// As they will be read back from the journal: 2 and 2.0 are one number there.
	b, err := yaml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("reading values: %w", err)
	}
	var plain map[string]any
	if err := yaml.Unmarshal(b, &plain); err != nil {
		return nil, fmt.Errorf("reading values: %w", err)
	}
	return plain, nil
}

// setOver sets what the command line says.
func (f *installFlags) setOver(out map[string]any) error {
	for _, s := range slices.Concat(f.sets, f.strings) {
		if key, _, _ := strings.Cut(s, "="); key == "" || strings.Count(key, "[") != strings.Count(key, "]") {
			return fmt.Errorf("reading --set %s: %q is no path of a value", s, key) // Helm takes the one and drops the other without a word
		}
	}
	for _, s := range f.sets {
		if err := strvals.ParseInto(s, out); err != nil {
			return fmt.Errorf("reading --set %s: %w", s, err)
		}
	}
	for _, s := range f.strings {
		if err := strvals.ParseIntoString(s, out); err != nil {
			return fmt.Errorf("reading --set-string %s: %w", s, err)
		}
	}
	return nil
}

// over merges maps; anything else that is given twice is replaced.
func over(a, b map[string]any) map[string]any {
	for k, v := range b {
		x, isMap := a[k].(map[string]any)
		y, too := v.(map[string]any)
		if isMap && too {
			v = over(x, y)
		}
		a[k] = v
	}
	return a
}

// check refuses what cannot be installed, or shown.
func (f *installFlags) check(c *cobra.Command) error {
	if f.version == "" {
		return fmt.Errorf("which Istio version to install is missing\n  remedy: %s --version 1.29.1", c.CommandPath())
	}
	return f.checkDry()
}

// checkDry refuses an unknown way to look, and an output without one.
func (f *installFlags) checkDry() error {
	if f.dry != "" && f.dry != dryClient && f.dry != dryServer {
		return fmt.Errorf("--dry-run %q is neither client nor server", f.dry)
	}
	if _, err := parseOutput(f.out, view.Text, view.YAML); err != nil {
		return err
	}
	if f.out != string(view.Text) && f.dry == "" {
		return fmt.Errorf("-o %s prints what would be installed\n  remedy: --dry-run=client -o %s", f.out, f.out)
	}
	return nil
}

// installing runs one install.
func (a *app) installing(c *cobra.Command, args []string, f installFlags, o plan.Operation, namespaces ...string) error {
	if err := f.check(c); err != nil {
		return err
	}
	doc, in, err := f.operator(c, &o)
	if err != nil {
		return err
	}
	r, err := f.request(o)
	if err != nil {
		return err
	}
	op := operation{flags: f.operationFlags, again: typed(c, args), shown: a.carriedOver}
	if doc != nil {
		r.Operator, op.shown = doc, a.fromFile(c.Context(), in)
	} else if r.Values, err = f.values(c); err != nil {
		return err
	}
	r.To = strings.TrimPrefix(f.version, "v")
	op.request = r
	if f.create {
		op.namespace = namespaces
	}
	if f.dry == "" {
		return a.operate(c.Context(), op)
	}
	return a.rendered(c.Context(), op, f)
}

// rendered shows what an install would make, and makes nothing.
func (a *app) rendered(ctx context.Context, o operation, f installFlags) error {
	pl, s, err := a.planned(ctx, o.request, o.namespace...)
	if err != nil {
		return err
	}
	if f.out == string(view.Text) {
		err = a.show(pl, s, o)
	} else {
		err = a.refuseBlocked(pl)
	}
	if err != nil || f.out == string(view.Text) && f.dry == dryClient {
		return err
	}
	for _, st := range pl.Steps {
		b, err := a.world.Manifest(ctx, a.target, Rendering{pl, st, s, f.dry == dryServer})
		if err != nil {
			return err
		}
		if f.out == string(view.Text) {
			_, err = fmt.Fprintln(a.io.Out, "The API server would accept it.")
		} else {
			_, err = a.io.Out.Write(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuseBlocked leaves the output to the manifests: what is in the way goes to stderr.
func (a *app) refuseBlocked(pl plan.Plan) error {
	if blocked, _ := view.Blocking(pl.Findings); blocked == 0 {
		return nil
	}
	if err := view.Findings(a.io.ErrOut, pl.Findings); err != nil {
		return err
	}
	return exit{code: exitRefused}
}

// carriedOver shows the values of a new revision against those of the old one (S-15).
func (a *app) carriedOver(pl plan.Plan, s mesh.Snapshot) error {
	for _, st := range pl.Steps {
		if st.Kind != plan.InstallRevision || st.From == "" {
			continue
		}
		rel, err := a.world.Carried(a.target, pl, st, s)
		if err != nil {
			return err
		}
		old, _ := s.ControlPlane(st.From)
		from, _ := s.Release(old.Owner)
		if err := view.Values(a.io.Out, "values of revision "+st.To+", against those of "+st.From+":", from.Values, rel.Values); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) install() *cobra.Command {
	c := &cobra.Command{
		Use: "install", Short: "Install the base chart, a control plane or a gateway, beside what is there",
		Long: `Install one of Istio's charts as a Helm release, as helm install does, without helm. What is there is not
touched: the default stays where it is, tags and gateways too. It is proven before the command ends.`,
		Example: `  serin install base --version 1.29.1 --create-namespace
  serin install istiod --version 1.29.1
  serin install istiod --version 1.29.1 --revision 1-29-1 --from-revision default
  serin install istiod --version 1.29.1 --revision 1-29-1 -f operator.yaml
  serin install gateway istio-ingress -n istio-ingress --version 1.29.1 --create-namespace`,
	}
	c.AddCommand(a.installBase(), a.installIstiod(), a.installGateway())
	return c
}

func (a *app) installBase() *cobra.Command {
	var (
		f    installFlags
		name string
	)
	c := &cobra.Command{
		Use: "base --version VERSION", Short: "Install the CRDs and the default validator, or upgrade them", Args: noArgs,
		Long: `Install the base chart. Where it is installed at an older release, and no values are given, it is upgraded: its
CRDs serve every revision, and a newer one may need them. Its values stay as they are; a downgrade is refused.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.installing(c, args, f, plan.Operation{Verb: plan.Install, Chart: "base", Name: name}, a.target.IstioNamespace)
		},
	}
	f.add(c)
	c.Flags().StringVar(&name, "name", "istio-base", "Name of the release")
	return c
}

func (a *app) installIstiod() *cobra.Command {
	var (
		f         installFlags
		rev, from string
		fromRun   string
	)
	c := &cobra.Command{
		Use: "istiod --version VERSION [--revision REVISION]", Short: "Install a control plane, and wait until it injects and validates",
		Long: `Install a control plane as the release istiod, or istiod-REVISION, in Istio's namespace. With --from-revision
it gets that revision's Helm values, less what belongs to that revision alone, and at least its size; the
difference is shown first. Nothing follows it yet: tags, namespaces and gateways stay where they are.

With an IstioOperator file it is installed as istioctl installs it, without a Helm release, and only the
control plane: gateways, istio-cni and ztunnel are named as next steps. A field that would have no effect is
refused by its path.

With --from-run a revision that a run removed is installed again as that run found it, from the record that
its removal kept: version, values and mesh config need not be known, nor the charts be there any more.`,
		Example: `  # what would be installed, and how its values differ
  serin install istiod --version 1.29.1 --revision 1-29-1 --from-revision default --dry-run=client
  serin install istiod --version 1.29.1 --revision 1-29-1 --from-revision default
  serin install istiod --version 1.29.1 --revision 1-29-1 -f operator.yaml
  serin install istiod --from-run 20260301-120000`,
		Args: noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if fromRun != "" {
				return a.installKept(c, args, f, keptRequest{run: fromRun, revision: rev, from: from})
			}
			return a.installing(c, args, f, plan.Operation{Verb: plan.Install, Chart: "istiod", Revision: rev, From: from}, a.target.IstioNamespace)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&rev, "revision", "r", "", "Name of the revision; without one it is the default revision")
	c.Flags().StringVar(&fromRun, "from-run", "", "Run that removed the revision, to install it again from what it kept")
	_ = c.RegisterFlagCompletionFunc("from-run", a.completeRuns)
	c.Flags().StringVar(&from, "from-revision", "", "Revision whose values and mesh config are carried over")
	return c
}

func (a *app) installGateway() *cobra.Command {
	var f installFlags
	c := &cobra.Command{
		Use: "gateway RELEASE -n NAMESPACE --version VERSION", Short: "Install an injected gateway", Args: one("the release's name"),
		RunE: func(c *cobra.Command, args []string) error {
			ns := a.target.namespace()
			if ns == "" {
				return fmt.Errorf("the gateway's namespace is missing\n  remedy: %s %s -n NAMESPACE", c.CommandPath(), args[0])
			}
			return a.installing(c, args, f, plan.Operation{Verb: plan.Install, Chart: "gateway", Name: args[0], Namespace: ns}, ns)
		},
	}
	f.add(c)
	return c
}
