package proxy //nolint:testpackage // routing has no exported face

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func host(name string, domains ...string) *route.VirtualHost {
	return &route.VirtualHost{Name: name, Domains: domains, Routes: []*route.Route{
		to(name+"-exact", &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: "/exact"}}),
		to(name+"-api", &route.RouteMatch{PathSpecifier: &route.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: "/api"}}),
		to(name, &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}),
	}}
}

func to(name string, m *route.RouteMatch) *route.Route {
	return &route.Route{Match: m, Action: &route.Route_Route{Route: &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_Cluster{Cluster: name},
		RetryPolicy:      &route.RetryPolicy{RetryOn: "connect-failure,refused-stream", NumRetries: wrapperspb.UInt32(2)},
	}}}
}

// A request goes where Envoy would send it: the most exact domain, then the first
// route that matches.
func TestRouteFor(t *testing.T) {
	rc := &route.RouteConfiguration{VirtualHosts: []*route.VirtualHost{
		host("any", "*"), host("prefix", "reviews.*"), host("suffix", "*.example.com"), host("longer", "*.eu.example.com"),
		host("exact", "shop.eu.example.com", "reviews.default.svc.cluster.local:9080"),
	}}
	s := &state{routes: map[string]*route.RouteConfiguration{"9080": rc}}
	for _, tt := range []struct{ host, path, want string }{
		{"shop.eu.example.com", "/", "exact"},
		{"shop.eu.example.com:8080", "/", "exact"},
		{"reviews.default.svc.cluster.local:9080", "/", "exact"},
		{"other.eu.example.com", "/", "longer"},
		{"other.example.com", "/", "suffix"},
		{"reviews.default", "/", "prefix"},
		{"elsewhere", "/", "any"},
		{"elsewhere", "/exact", "any-exact"},
		{"elsewhere", "/exactly", "any"},
		{"elsewhere", "/api", "any-api"},
		{"elsewhere", "/api/v1", "any-api"},
		{"elsewhere", "/apis", "any"},
	} {
		got, retries, ok := s.routeFor(&chain{http: true, rds: "9080"}, tt.host, tt.path, nil)
		if got != tt.want || !ok || retries != 2 {
			t.Errorf("%s%s goes to %q (%d retries, %v), want %q", tt.host, tt.path, got, retries, ok, tt.want)
		}
	}
	if got, _, ok := s.routeFor(&chain{http: true, rds: "missing"}, "elsewhere", "/", nil); ok {
		t.Errorf("without a route configuration it goes to %q", got)
	}
}

func TestWeighted_neverTakesWhatHasNoWeight(t *testing.T) {
	w := &route.WeightedCluster{Clusters: []*route.WeightedCluster_ClusterWeight{
		{Name: "none", Weight: wrapperspb.UInt32(0)}, {Name: "all", Weight: wrapperspb.UInt32(100)},
	}}
	for range 100 {
		if got := weighted(w); got != "all" {
			t.Fatalf("it took %q", got)
		}
	}
	if got := weighted(&route.WeightedCluster{}); got != "" {
		t.Errorf("of no clusters it took %q", got)
	}
}

func at4(ip string, health core.HealthStatus) *endpoint.LbEndpoint {
	return &endpoint.LbEndpoint{HealthStatus: health, HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
		Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: 9080},
		}}},
	}}}
}

// pick leaves out what is draining or unhealthy, and what was tried, as long as
// there is something else.
func TestPick(t *testing.T) {
	s := &state{
		clusters: map[string]*cluster.Cluster{
			"reviews": {Name: "reviews", ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}},
			"empty":   {Name: "empty", ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}},
		},
		endpoints: map[string]*endpoint.ClusterLoadAssignment{"reviews": {Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{
			at4("10.0.0.1", core.HealthStatus_HEALTHY), at4("10.0.0.2", core.HealthStatus_UNKNOWN),
			at4("10.0.0.3", core.HealthStatus_DRAINING), at4("10.0.0.4", core.HealthStatus_UNHEALTHY),
		}}}}},
	}
	seen := map[string]bool{}
	for range 200 {
		addr, ok := s.pick("reviews", nil)
		if !ok {
			t.Fatal("there is nothing to pick")
		}
		seen[addr] = true
	}
	if len(seen) != 2 || !seen["10.0.0.1:9080"] || !seen["10.0.0.2:9080"] {
		t.Errorf("it picked of %v", seen)
	}
	for range 50 {
		if addr, _ := s.pick("reviews", map[string]bool{"10.0.0.1:9080": true}); addr != "10.0.0.2:9080" {
			t.Fatalf("it picked %s, which was tried", addr)
		}
	}
	both := map[string]bool{"10.0.0.1:9080": true, "10.0.0.2:9080": true}
	if _, ok := s.pick("reviews", both); !ok {
		t.Error("all were tried: any is taken then")
	}
	for _, name := range []string{"empty", "unknown"} {
		if addr, ok := s.pick(name, nil); ok {
			t.Errorf("of cluster %s it picked %s", name, addr)
		}
	}
}

func TestClusterParts(t *testing.T) {
	for name, want := range map[string][2]string{
		"outbound|9080||reviews.default.svc.cluster.local": {"reviews", "default"},
		"outbound|443||api.example.com":                    {"api", "example"},
		"outbound|80||single":                              {"single", ""},
		"xds-grpc":                                         {"xds-grpc", ""},
	} {
		if name, space := clusterParts(name); [2]string{name, space} != want {
			t.Errorf("it is %s of %s, want %v", name, space, want)
		}
	}
}

// EDS is asked by the service's name where a cluster has one, and for EDS clusters only.
func TestEDSNames(t *testing.T) {
	eds := &cluster.Cluster{
		Name: "b", ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{ServiceName: "a"},
	}
	s := &state{clusters: map[string]*cluster.Cluster{"b": eds, "static": {Name: "static"}}}
	if got := s.edsNames(); len(got) != 1 || got[0] != "a" {
		t.Errorf("it asks EDS for %v", got)
	}
}
