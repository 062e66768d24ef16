package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// gatewayVerb is one of the sub-commands that move a gateway.
type gatewayVerb struct {
	verb                 plan.Verb
	use, short, long     string
	example              string
	revision, name, pods string // help of --revision, --name, --to; empty is no such flag
	needsRevision        bool
	needsPods            bool
	traffic              bool
	charts               bool
}

func gatewayVerbs() []gatewayVerb {
	return []gatewayVerb{
		{
			verb: plan.GatewayAdd, use: "add", short: "Add a second gateway at another revision behind the same Service, held out of it",
			long: `A Helm release of its own takes the running one's values and service account, without a Service, a scaler or a
budget. The same Service selects its pods, and a readiness gate keeps them out until serin gateway shift lets them in:
only once their listeners, routes and certificates are the old ones', and they answer as the old ones do.`,
			example: `  serin gateway add istio-ingress --revision 1-29-1 --dry-run
  serin gateway add istio-ingress --revision 1-29-1`,
			charts: true, revision: "Revision or tag that its pods follow", name: "Name of its release (the gateway's and the revision when not given)", needsRevision: true, traffic: true,
		},
		{
			verb: plan.GatewayShift, use: "shift", short: "Let pods of an added gateway into the Service, one by one, or out of it",
			example: `  # one pod, then all, then out again
  serin gateway shift istio-ingress-1-29-1 --to 1
  serin gateway shift istio-ingress-1-29-1 --to 100%
  serin gateway shift istio-ingress-1-29-1 --to 0`,
			pods: "How many of its pods are to be in the Service: a number or a percentage", needsPods: true, traffic: true,
		},
		{
			verb: plan.GatewayDrain, use: "drain", short: "Take a gateway to zero once others stand behind its Service; its Deployment stays",
			example: `  # serin gateway restore istio-ingress brings it back
  serin gateway drain istio-ingress --probe-url http://192.0.2.1/healthz`,
			traffic: true,
		},
		{
			verb: plan.GatewayRenew, use: "renew", short: "Bring a drained gateway's release to the chart of a revision, and its value revision to it",
			long: `Its Service, account and values stay, and it stays at zero: serin gateway restore brings its pods back. One that has pods is
refused: a renewal would restart them while they serve.`,
			example: `  # its release at the chart of 1-29-1, then its pods again
  serin gateway renew istio-ingress --revision 1-29-1
  serin gateway restore istio-ingress`,
			charts: true, revision: "Revision whose chart it takes, and that its value revision is to name where that names one (the one it follows when not given)", traffic: true,
		},
		{
			verb: plan.GatewayRestore, use: "restore", short: "Bring a drained gateway back, or a rendered one to what it was at a revision",
			long: `A gateway that rests at zero gets its pods again. One that istioctl rendered is brought to --revision: from what was
kept when it was rendered again, else from the history that its Deployment keeps. No stored run is needed.`,
			revision: "Revision that its pods must be of: what they follow may have moved", pods: "How many pods (as many as the others behind its Service when not given)", traffic: true,
		},
		{
			verb: plan.GatewayRemove, use: "remove", short: "Take an added gateway out of the Service, then uninstall its release",
			traffic: true,
		},
	}
}

func (a *app) gatewayMove(v gatewayVerb) *cobra.Command {
	var (
		f operationFlags
		o = plan.Operation{Verb: v.verb}
	)
	c := &cobra.Command{
		Use: v.use + " NAME", Args: one("a gateway"), Short: v.short, Long: v.long, Example: v.example,
		RunE: func(c *cobra.Command, args []string) error {
			if err := v.complete(o, c.CommandPath()+" "+args[0]); err != nil {
				return err
			}
			r, err := f.request(o)
			if err != nil {
				return err
			}
			g, err := a.namedGateway(c.Context(), args[0])
			if err != nil {
				return err
			}
			if v.verb == plan.GatewayShift {
				if done, err := a.shiftOfRun(c.Context(), g, o.Pods, f.dryRun); done || err != nil {
					return err
				}
			}
			r.Operation.Name, r.Operation.Namespace = g.Ref.Name, g.Ref.Namespace
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	f.add(c)
	f.addDryRun(c)
	f.addTraffic(c)
	fs := c.Flags()
	if v.revision != "" {
		fs.StringVar(&o.Revision, "revision", "", v.revision)
	}
	if v.name != "" {
		fs.StringVar(&o.To, "name", "", v.name)
	}
	if v.charts {
		addCharts(c, &f.charts)
	}
	if v.pods != "" {
		fs.StringVar(&o.Pods, "to", "", v.pods)
	}
	return c
}

// complete says what was not given and must be.
func (v gatewayVerb) complete(o plan.Operation, typed string) error {
	switch {
	case v.needsRevision && o.Revision == "":
		return fmt.Errorf("which revision the new gateway is of is missing\n  remedy: %s --revision REVISION", typed)
	case v.needsPods && o.Pods == "":
		return fmt.Errorf("how many pods are to be in the Service is missing\n  remedy: %s --to 1", typed)
	}
	return nil
}

// namedGateway is the gateway of that name, in the namespace of -n where that is given.
func (a *app) namedGateway(ctx context.Context, name string) (mesh.Gateway, error) {
	s, err := a.observe(ctx)
	if err != nil {
		return mesh.Gateway{}, err
	}
	all := slices.DeleteFunc(s.Gateways(), func(g mesh.Gateway) bool {
		return g.Ref.Name != name || a.target.namespace() != "" && g.Ref.Namespace != a.target.namespace()
	})
	switch len(all) {
	case 0:
		return mesh.Gateway{}, refused("there is no gateway %s\n  remedy: serin gateway list", name)
	case 1:
		return all[0], nil
	}
	return mesh.Gateway{}, refused("there are gateways %s in several namespaces\n  remedy: -n NAMESPACE", name)
}

// gatewayTest compares a gateway with another one behind its Service, and writes nothing.
func (a *app) gatewayTest() *cobra.Command {
	var with string
	c := &cobra.Command{
		Use: "test NAME", Args: one("a gateway"), Short: "Compare a gateway with the one beside it: what it serves, and what it answers",
		Long: `Its pods' listeners, routes and certificates are compared with the other's by their own config dumps, and a
request for each host, port and path is sent straight to the pods of both. No client of the Service meets any of it.
Exit code 3 says that they differ, or that it cannot be told.`,
		RunE: func(c *cobra.Command, args []string) error {
			g, err := a.namedGateway(c.Context(), args[0])
			if err != nil {
				return err
			}
			beside, err := a.besideOf(c.Context(), g, with)
			if err != nil {
				return err
			}
			return a.compare(c.Context(), g, beside)
		},
	}
	c.Flags().StringVar(&with, "with", "", "Gateway to compare with (the one behind the same Service when not given)")
	return c
}

func (a *app) besideOf(ctx context.Context, g mesh.Gateway, with string) (mesh.Ref, error) {
	switch {
	case with != "":
		o, err := a.namedGateway(ctx, with)
		return o.Ref, err
	case len(g.Beside) == 1:
		return g.Beside[0], nil
	}
	return mesh.Ref{}, refused("there are %d other gateways behind the Service of %s\n  remedy: --with NAME", len(g.Beside), g.Ref)
}

func (a *app) compare(ctx context.Context, g mesh.Gateway, beside mesh.Ref) error {
	d, err := a.world.Drivers(ctx, a.target, plan.Plan{})
	if err != nil {
		return err
	}
	if d.Close != nil {
		defer d.Close()
	}
	q := gate.Question{Workloads: []mesh.Ref{g.Ref}, Beside: &beside, Revision: g.Next}
	gates := []gate.Name{gate.SameServing, gate.SameAnswers}
	ev, err := d.Gatherer.Gather(ctx, q, gates)
	if err != nil {
		return errors.Join(errors.New("comparing gateways"), err)
	}
	verdicts := make([]gate.Verdict, 0, len(gates))
	open := true
	for _, n := range gates {
		v := gate.Judge(n, q, ev)
		verdicts, open = append(verdicts, v), open && v.State == gate.Open
	}
	if err := view.GatewayTest(a.io.Out, g.Ref, beside, verdicts); err != nil {
		return err
	}
	if !open {
		return exit{code: exitRefused}
	}
	return nil
}
