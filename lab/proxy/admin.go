package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"    // or a dump would leave their rules out
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3" // likewise
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// admin is Envoy's admin port, the parts that istioctl and people read.
func (p *Proxy) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/config_dump", p.configDump)
	mux.HandleFunc("/clusters", p.clusterDump)
	mux.HandleFunc("/stats/prometheus", func(w http.ResponseWriter, _ *http.Request) { p.stats.write(w) })
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) { p.stats.write(w) })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !p.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "LIVE")
	})
	mux.HandleFunc("/server_info", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"version": "lab/" + p.version, "state": "LIVE", "node": map[string]any{"id": p.node().GetId()}})
	})
	mux.HandleFunc("/logging", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// configDump is /config_dump. As Envoy's, it leaves the endpoints out unless they
// are asked for, and with mask gives the named fields only.
func (p *Proxy) configDump(w http.ResponseWriter, r *http.Request) {
	s := p.state.Load()
	clusters, listeners, routes, endpoints := &adminv3.ClustersConfigDump{}, &adminv3.ListenersConfigDump{}, &adminv3.RoutesConfigDump{}, &adminv3.EndpointsConfigDump{}
	for _, n := range slices.Sorted(maps.Keys(s.clusters)) {
		clusters.DynamicActiveClusters = append(clusters.DynamicActiveClusters, &adminv3.ClustersConfigDump_DynamicCluster{Cluster: pack(s.clusters[n])})
	}
	for _, n := range slices.Sorted(maps.Keys(s.listeners)) {
		listeners.DynamicListeners = append(listeners.DynamicListeners, &adminv3.ListenersConfigDump_DynamicListener{
			Name: n, ActiveState: &adminv3.ListenersConfigDump_DynamicListenerState{Listener: pack(s.listeners[n])},
		})
	}
	for _, n := range slices.Sorted(maps.Keys(s.routes)) {
		routes.DynamicRouteConfigs = append(routes.DynamicRouteConfigs, &adminv3.RoutesConfigDump_DynamicRouteConfig{RouteConfig: pack(s.routes[n])})
	}
	for _, n := range slices.Sorted(maps.Keys(s.endpoints)) {
		endpoints.DynamicEndpointConfigs = append(endpoints.DynamicEndpointConfigs, &adminv3.EndpointsConfigDump_DynamicEndpointConfig{EndpointConfig: pack(s.endpoints[n])})
	}
	xds := xdsCluster()
	clusters.StaticClusters = []*adminv3.ClustersConfigDump_StaticCluster{{Cluster: pack(xds)}}
	boot := &bootstrap.Bootstrap{Node: p.node(), StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{xds}}}
	parts := []proto.Message{&adminv3.BootstrapConfigDump{Bootstrap: boot}, clusters}
	if r.URL.Query().Has("include_eds") {
		parts = append(parts, endpoints)
	}
	parts = append(parts, listeners, routes, p.secrets(s))
	dump := &adminv3.ConfigDump{}
	for _, m := range parts {
		if masked(m, r.URL.Query().Get("mask")) {
			dump.Configs = append(dump.Configs, pack(m))
		}
	}
	b, err := protojson.MarshalOptions{Multiline: true, Indent: " ", Resolver: lenient{protoregistry.GlobalTypes}}.Marshal(dump)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// masked clears the fields of a part that a mask does not name, and says whether
// anything of it is wanted. Envoy's masks name fields of any part.
func masked(m proto.Message, mask string) bool {
	if mask == "" {
		return true
	}
	wanted, found := strings.Split(mask, ","), false
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); slices.Contains(wanted, string(f.Name())) {
			found = true
		} else {
			m.ProtoReflect().Clear(f)
		}
	}
	return found
}

// xdsPath is the agent's socket, which the bootstrap of every release since 1.8 leads to.
const xdsPath = "./etc/istio/proxy/XDS"

// xdsCluster is the static cluster that leads to istiod by way of the agent.
func xdsCluster() *cluster.Cluster {
	return &cluster.Cluster{
		Name:                 "xds-grpc",
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		LoadAssignment:       &endpoint.ClusterLoadAssignment{ClusterName: "xds-grpc", Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{at(pipe(xdsPath))}}}},
	}
}

func pipe(path string) *core.Address {
	return &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: path}}}
}

func at(a *core.Address) *endpoint.LbEndpoint {
	return &endpoint.LbEndpoint{HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: a}}}
}

// secrets are the mesh's root and the certificates that istiod has sent, without
// their keys; those that were asked for and have not come are warming.
func (p *Proxy) secrets(s *state) *adminv3.SecretsConfigDump {
	root := &tls.Secret{Name: "ROOTCA", Type: &tls.Secret_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
		TrustedCa: &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: p.cfg.RootCA()}},
	}}}
	dump := &adminv3.SecretsConfigDump{DynamicActiveSecrets: []*adminv3.SecretsConfigDump_DynamicSecret{{Name: "ROOTCA", Secret: pack(root)}}}
	for _, n := range s.sdsNames() {
		sent := s.secrets[n]
		if sent == nil {
			dump.DynamicWarmingSecrets = append(dump.DynamicWarmingSecrets, &adminv3.SecretsConfigDump_DynamicSecret{Name: n, Secret: pack(&tls.Secret{Name: n})})
			continue
		}
		shown := &tls.Secret{Name: n, Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{CertificateChain: sent.GetTlsCertificate().GetCertificateChain()}}}
		dump.DynamicActiveSecrets = append(dump.DynamicActiveSecrets, &adminv3.SecretsConfigDump_DynamicSecret{Name: n, Secret: pack(shown)})
	}
	return dump
}

// clusterDump lists clusters and their endpoints as Envoy does: as lines, or with
// format=json as a document.
func (p *Proxy) clusterDump(w http.ResponseWriter, r *http.Request) {
	s := p.state.Load()
	doc := &adminv3.Clusters{}
	xds := xdsCluster()
	for _, n := range append(slices.Sorted(maps.Keys(s.clusters)), xds.GetName()) {
		c, added := s.clusters[n], true
		if n == xds.GetName() {
			c, added = xds, false
		}
		status := &adminv3.ClusterStatus{Name: n, AddedViaApi: added, EdsServiceName: c.GetEdsClusterConfig().GetServiceName()}
		for _, loc := range s.assigned(c).GetEndpoints() {
			for _, e := range loc.GetLbEndpoints() {
				health := e.GetHealthStatus()
				if health == core.HealthStatus_UNKNOWN { // what was not said otherwise is healthy to Envoy
					health = core.HealthStatus_HEALTHY
				}
				status.HostStatuses = append(status.HostStatuses, &adminv3.HostStatus{
					Address: e.GetEndpoint().GetAddress(), HealthStatus: &adminv3.HostHealthStatus{EdsHealthStatus: health}, Weight: max(1, e.GetLoadBalancingWeight().GetValue()),
				})
			}
		}
		doc.ClusterStatuses = append(doc.ClusterStatuses, status)
	}
	if r.URL.Query().Get("format") == "json" {
		b, err := protojson.Marshal(doc)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
		return
	}
	for _, c := range doc.GetClusterStatuses() {
		for _, h := range c.GetHostStatuses() {
			a := h.GetAddress().GetSocketAddress()
			fmt.Fprintf(w, "%s::%s:%d::health_flags::%s\n", c.GetName(), a.GetAddress(), a.GetPortValue(), strings.ToLower(h.GetHealthStatus().GetEdsHealthStatus().String()))
		}
	}
}

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		return &anypb.Any{}
	}
	return a
}

// lenient resolves a type that is not linked in as an empty message, so that a
// dump shows its name rather than failing as a whole.
type lenient struct{ *protoregistry.Types }

func (l lenient) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if t, err := l.Types.FindMessageByURL(url); err == nil {
		return t, nil
	}
	return (&emptypb.Empty{}).ProtoReflect().Type(), nil
}
