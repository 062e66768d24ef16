package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/envoy"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/view"
	"github.com/serin-mesh/serin/internal/xds"
)

// proxyConfigRequest is `serin proxy-config KIND` as it was typed.
type proxyConfigRequest struct {
	out       output
	pod, file string
	adminPort int
	clusters  envoy.ClusterFilter
	endpoints envoy.EndpointFilter
	listeners envoy.ListenerFilter
	routes    envoy.RouteFilter
}

// proxyConfigKind is one of the sub-commands.
type proxyConfigKind struct {
	name, what string
	aliases    []string
	output     string // when -o is not given
	flags      func(*cobra.Command, *proxyConfigRequest)
	show       func(*app, context.Context, proxyConfigRequest) (view.ProxyConfig, error)
}

func proxyConfigKinds() []proxyConfigKind {
	return []proxyConfigKind{
		{"endpoints", "endpoints", []string{"endpoint", "ep"}, "text", endpointFlags, (*app).endpoints},
		{"clusters", "clusters", []string{"cluster", "c"}, "text", clusterFlags, (*app).clusters},
		{"listeners", "listeners", []string{"listener", "l"}, "text", listenerFlags, (*app).listeners},
		{"routes", "routes", []string{"route", "r"}, "text", routeFlags, (*app).routes},
		{"bootstrap", "bootstrap", []string{"b"}, "json", nil, (*app).bootstrap},
		{"secret", "certificates; private keys are never shown", []string{"secrets", "s"}, "text", nil, (*app).secrets},
	}
}

func (a *app) proxyConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "proxy-config", Aliases: []string{"pc"}, Short: "Show the configuration of one proxy, as it is in its Envoy",
		Long: `Flags, columns and documents are those of istioctl proxy-config. Where the cluster
xds-grpc is shown, which is a pipe to the agent beside the proxy, so is the address that
the agent was told to find istiod at and the istiod that is really connected.`,
	}
	for _, k := range proxyConfigKinds() {
		c.AddCommand(a.proxyConfigKind(k))
	}
	return c
}

func (a *app) proxyConfigKind(k proxyConfigKind) *cobra.Command {
	var (
		req proxyConfigRequest
		out string
	)
	c := &cobra.Command{
		Use: k.name + " " + podUsage, Aliases: k.aliases, Args: atMostOne, Short: "Show a proxy's " + k.what,
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == (req.file != "") {
				return fmt.Errorf("%s needs a pod or --file, and not both\n  remedy: %s deployment/NAME.NAMESPACE", c.CommandPath(), c.CommandPath())
			}
			if len(args) == 1 {
				req.pod = args[0]
			}
			if out == "short" { // istioctl's word
				out = string(view.Text)
			}
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			v, err := k.show(a, c.Context(), req)
			if err != nil {
				return of(req.file, err)
			}
			return v.Write(a.io.Out, req.out.format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", k.output, "Output format: text (or short), json or yaml")
	c.Flags().StringVarP(&req.file, "file", "f", "", "File with what the proxy's admin port answered, or -; no cluster is asked")
	c.Flags().IntVar(&req.adminPort, "proxy-admin-port", 15000, "Port of Envoy's admin interface")
	if k.flags != nil {
		k.flags(c, &req)
	}
	return c
}

// of names the file that an error is about, if it is about one.
func of(file string, err error) error {
	if file == "" {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

func clusterFlags(c *cobra.Command, r *proxyConfigRequest) {
	c.Flags().StringVar(&r.clusters.FQDN, "fqdn", "", "Only clusters with this in the name of their service")
	c.Flags().StringVar(&r.clusters.Direction, "direction", "", "Only clusters of this direction: inbound or outbound")
	c.Flags().StringVar(&r.clusters.Subset, "subset", "", "Only clusters with this in the name of their subset")
	c.Flags().IntVar(&r.clusters.Port, "port", 0, "Only clusters of this port")
}

func endpointFlags(c *cobra.Command, r *proxyConfigRequest) {
	c.Flags().StringVar(&r.endpoints.Address, "address", "", "Only endpoints of this address")
	c.Flags().Uint32Var(&r.endpoints.Port, "port", 0, "Only endpoints of this port")
	c.Flags().StringVar(&r.endpoints.Cluster, "cluster", "", "Only endpoints of this cluster")
	c.Flags().StringVar(&r.endpoints.Status, "status", "", "Only endpoints in this state: healthy, unhealthy, draining …")
}

func listenerFlags(c *cobra.Command, r *proxyConfigRequest) {
	c.Flags().StringVar(&r.listeners.Address, "address", "", "Only listeners of this address")
	c.Flags().StringVar(&r.listeners.Type, "type", "", "Only listeners of this type: HTTP, TCP, HTTP+TCP")
	c.Flags().Uint32Var(&r.listeners.Port, "port", 0, "Only listeners of this port")
	c.Flags().BoolVar(&r.listeners.Verbose, "verbose", true, "What each filter chain matches, and where it leads")
}

func routeFlags(c *cobra.Command, r *proxyConfigRequest) {
	c.Flags().StringVar(&r.routes.Name, "name", "", "Only the route configuration of this name")
	c.Flags().BoolVar(&r.routes.Verbose, "verbose", true, "Each route, and the VirtualService it comes from")
}

// ask is what the proxy's admin port answers to a path, or what the file says it
// did; and the pod that was asked, none for a file.
func (a *app) ask(ctx context.Context, req proxyConfigRequest, path string) ([]byte, mesh.Pod, error) {
	if req.file != "" {
		b, err := readInput(req.file, a.io.In)
		return b, mesh.Pod{}, err
	}
	name, err := a.parsePod(req.pod)
	if err != nil {
		return nil, mesh.Pod{}, err
	}
	pod := mesh.Pod{Namespace: name.namespace, Name: name.name}
	if name.kind != "" && name.kind != mesh.KindPod { // only then is the mesh to be looked at
		s, err := a.observe(ctx)
		if err != nil {
			return nil, pod, err
		}
		if pod, err = name.find(s); err != nil {
			return nil, pod, err
		}
	}
	b, err := a.world.Admin(ctx, a.target, Endpoint{pod.Namespace, pod.Name, req.adminPort}, path)
	if err != nil {
		return nil, pod, fmt.Errorf("asking the proxy of pod %s.%s: %w", pod.Name, pod.Namespace, err)
	}
	return b, pod, nil
}

func (a *app) dump(ctx context.Context, req proxyConfigRequest, mask string) (envoy.Dump, mesh.Pod, error) {
	b, pod, err := a.ask(ctx, req, "/config_dump?mask="+mask)
	if err != nil {
		return envoy.Dump{}, pod, err
	}
	d, err := envoy.Parse(b)
	return d, pod, err
}

func (a *app) clusters(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	d, pod, err := a.dump(ctx, req, "dynamic_active_clusters,dynamic_warming_clusters,static_clusters")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	t, err := d.Clusters(req.clusters)
	if err != nil {
		return view.ProxyConfig{}, err
	}
	return view.ProxyConfig{Table: t, Upstream: a.upstream(ctx, req, t, pod)}, nil
}

func (a *app) endpoints(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	b, pod, err := a.ask(ctx, req, "/clusters?format=json")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	t, err := envoy.Endpoints(b, req.endpoints)
	if err != nil {
		return view.ProxyConfig{}, err
	}
	return view.ProxyConfig{Table: t, Upstream: a.upstream(ctx, req, t, pod)}, nil
}

func (a *app) listeners(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	d, _, err := a.dump(ctx, req, "dynamic_listeners,static_listeners")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	t, err := d.Listeners(req.listeners)
	return view.ProxyConfig{Table: t}, err
}

func (a *app) routes(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	d, _, err := a.dump(ctx, req, "dynamic_route_configs,static_route_configs")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	t, err := d.Routes(req.routes)
	return view.ProxyConfig{Table: t}, err
}

func (a *app) secrets(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	d, _, err := a.dump(ctx, req, "dynamic_active_secrets,dynamic_warming_secrets")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	t, err := d.Secrets(a.world.Now())
	if len(t.Rows) == 0 && err == nil {
		_, err = fmt.Fprintln(a.io.ErrOut, "the proxy has no certificates")
	}
	return view.ProxyConfig{Table: t, Whole: true}, err
}

func (a *app) bootstrap(ctx context.Context, req proxyConfigRequest) (view.ProxyConfig, error) {
	d, pod, err := a.dump(ctx, req, "bootstrap")
	if err != nil {
		return view.ProxyConfig{}, err
	}
	b, err := d.Bootstrap()
	if err != nil {
		return view.ProxyConfig{}, err
	}
	v := view.ProxyConfig{Table: envoy.Table{Elements: []map[string]any{b.Document}}, Whole: true, Bootstrap: &b}
	if req.out.format == view.Text {
		v.Upstream = a.connection(ctx, pod, b.DiscoveryAddress)
	}
	return v, nil
}

// upstream is where the proxy gets its configuration from, if the table shows the
// cluster that leads there.
func (a *app) upstream(ctx context.Context, req proxyConfigRequest, t envoy.Table, pod mesh.Pod) *view.Upstream {
	shown := false
	for _, e := range t.Elements {
		shown = shown || e["name"] == envoy.XDS
	}
	if !shown || req.file != "" {
		return nil
	}
	req.pod = pod.Name + "." + pod.Namespace
	d, _, err := a.dump(ctx, req, "bootstrap")
	if err != nil {
		return &view.Upstream{Unknown: err.Error()}
	}
	b, err := d.Bootstrap()
	if err != nil {
		return &view.Upstream{Unknown: err.Error()}
	}
	return a.connection(ctx, pod, b.DiscoveryAddress)
}

// connection asks the istiods which of them has the pod's proxy.
func (a *app) connection(ctx context.Context, pod mesh.Pod, address string) *view.Upstream {
	u := &view.Upstream{DiscoveryAddress: address}
	if pod.Name == "" { // a file: there is nobody to ask
		return u
	}
	answers, err := a.world.Connections(ctx, a.target)
	if err != nil {
		u.Unknown = err.Error()
		return u
	}
	var silent []string
	for _, answer := range answers {
		if answer.Istiod.Error != "" {
			silent = append(silent, answer.Istiod.Pod+": "+answer.Istiod.Error)
		}
		for _, c := range answer.Connections {
			if c.Namespace == pod.Namespace && c.Name == pod.Name {
				u.Istiods = append(u.Istiods, xds.Istiod{Namespace: answer.Istiod.Namespace, Pod: answer.Istiod.Pod, Revision: answer.Istiod.Revision, Version: answer.Istiod.Version})
			}
		}
	}
	if len(u.Istiods) == 0 && len(silent) > 0 {
		u.Unknown = "no answer from " + strings.Join(silent, "; ")
	}
	return u
}
