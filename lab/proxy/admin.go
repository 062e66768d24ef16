package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
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
	parts := []proto.Message{&adminv3.BootstrapConfigDump{Bootstrap: &bootstrap.Bootstrap{Node: p.node()}}, clusters}
	if r.URL.Query().Has("include_eds") {
		parts = append(parts, endpoints)
	}
	parts = append(parts, listeners, routes)
	dump := &adminv3.ConfigDump{}
	for _, m := range parts {
		dump.Configs = append(dump.Configs, pack(m))
	}
	b, err := protojson.MarshalOptions{Multiline: true, Indent: " ", Resolver: lenient{protoregistry.GlobalTypes}}.Marshal(dump)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// clusterDump lists clusters and their endpoints as Envoy's text format does.
func (p *Proxy) clusterDump(w http.ResponseWriter, _ *http.Request) {
	s := p.state.Load()
	for _, n := range slices.Sorted(maps.Keys(s.endpoints)) {
		for _, loc := range s.endpoints[n].GetEndpoints() {
			for _, e := range loc.GetLbEndpoints() {
				a := e.GetEndpoint().GetAddress().GetSocketAddress()
				fmt.Fprintf(w, "%s::%s:%d::health_flags::healthy\n", n, a.GetAddress(), a.GetPortValue())
			}
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
