package proxy

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// state is what istiod sent, made ready for forwarding. It is never changed
// once it serves: an update is a new one.
type state struct {
	complete  bool
	clusters  map[string]*cluster.Cluster
	endpoints map[string]*endpoint.ClusterLoadAssignment
	listeners map[string]*listener.Listener
	routes    map[string]*route.RouteConfiguration
	secrets   map[string]*tls.Secret
	got       map[string]bool // type URLs received

	byAddr  map[string]*chain // "ip:port" of outbound listeners
	byPort  map[int]*chain    // listeners on 0.0.0.0
	inbound map[int]bool      // application port -> is it HTTP; nil until there is a virtualInbound
}

// chain is how one listener forwards: by HTTP routes or to a TCP cluster.
type chain struct {
	http   bool
	rds    string
	inline *route.RouteConfiguration
	tcp    string   // cluster
	access bool     // it has an access log
	names  []string // that TLS clients call it by; none is any
	secret string   // whose certificate ends TLS; empty where nothing does
	secure []*chain // the chains of a listener that ends TLS: by the name that a client calls
}

// clone returns a copy whose maps may be replaced.
func (s *state) clone() *state {
	c := *s
	c.got = maps.Clone(s.got)
	return &c
}

// index derives the forwarding tables from the listeners.
func (s *state) index() {
	s.byAddr, s.byPort = map[string]*chain{}, map[int]*chain{}
	s.inbound = nil
	for name, l := range s.listeners {
		if name == "virtualInbound" {
			s.inbound = inboundPorts(l)
			continue
		}
		if name == "virtualOutbound" {
			continue
		}
		c := chainOf(l)
		a := l.GetAddress().GetSocketAddress()
		if c == nil || a == nil {
			continue
		}
		if a.GetAddress() == "0.0.0.0" || a.GetAddress() == "::" {
			s.byPort[int(a.GetPortValue())] = c
			continue
		}
		s.byAddr[net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue())))] = c
	}
}

// inboundPorts reads which application ports virtualInbound treats as HTTP.
func inboundPorts(l *listener.Listener) map[int]bool {
	ports := map[int]bool{}
	for _, fc := range l.GetFilterChains() {
		port := int(fc.GetFilterChainMatch().GetDestinationPort().GetValue())
		if port == 0 {
			continue
		}
		for _, f := range fc.GetFilters() {
			if f.GetTypedConfig().MessageIs((*hcm.HttpConnectionManager)(nil)) {
				ports[port] = true
			}
		}
		if !ports[port] {
			ports[port] = false // known, even where it is TCP
		}
	}
	return ports
}

// chainOf picks the chain plain traffic takes: the first with an HTTP connection
// manager, else the first TCP proxy. Those that end TLS are taken by name.
func chainOf(l *listener.Listener) *chain {
	chains := slices.Clone(l.GetFilterChains())
	if d := l.GetDefaultFilterChain(); d != nil {
		chains = append(chains, d)
	}
	var plain *chain
	var secure []*chain
	for _, fc := range chains {
		c := filtered(fc)
		switch {
		case c == nil:
		case c.secret != "":
			secure = append(secure, c)
		case plain == nil || c.http && !plain.http:
			plain = c
		}
	}
	if len(secure) == 0 {
		return plain
	}
	return &chain{secure: secure}
}

// filtered is one filter chain of a listener; nil for one that does not forward.
func filtered(fc *listener.FilterChain) *chain {
	var c *chain
	for _, f := range fc.GetFilters() {
		h := &hcm.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(h) == nil {
			c = &chain{http: true, rds: h.GetRds().GetRouteConfigName(), inline: h.GetRouteConfig(), access: len(h.GetAccessLog()) > 0}
			break
		}
		t := &tcpproxy.TcpProxy{}
		if c == nil && f.GetTypedConfig().UnmarshalTo(t) == nil {
			c = &chain{tcp: t.GetCluster()}
		}
	}
	if c != nil {
		c.names, c.secret = fc.GetFilterChainMatch().GetServerNames(), secretOf(fc)
	}
	return c
}

// secretOf names the certificate of a user's that ends a filter chain's TLS: the
// pods' own, of mutual TLS within the mesh, the lab does without.
func secretOf(fc *listener.FilterChain) string {
	t := &tls.DownstreamTlsContext{}
	if fc.GetTransportSocket().GetTypedConfig().UnmarshalTo(t) != nil {
		return ""
	}
	for _, s := range t.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs() {
		if strings.HasPrefix(s.GetName(), "kubernetes://") {
			return s.GetName()
		}
	}
	return ""
}

// sdsNames lists the certificates that the listeners refer to.
func (s *state) sdsNames() []string {
	names := map[string]bool{}
	for _, l := range s.listeners {
		for _, fc := range l.GetFilterChains() {
			if n := secretOf(fc); n != "" {
				names[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// edsNames lists the clusters whose endpoints are to be asked for.
func (s *state) edsNames() []string {
	var names []string
	for name, c := range s.clusters {
		if c.GetType() == cluster.Cluster_EDS {
			if n := c.GetEdsClusterConfig().GetServiceName(); n != "" {
				name = n
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rdsNames lists the route configurations the listeners refer to.
func (s *state) rdsNames() []string {
	names := map[string]bool{}
	for _, f := range s.networkFilters() {
		h := &hcm.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(h) == nil && h.GetRds().GetRouteConfigName() != "" {
			names[h.GetRds().GetRouteConfigName()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// ecdsNames lists the filters whose configuration comes by itself.
func (s *state) ecdsNames() []string {
	names := map[string]bool{}
	for _, f := range s.networkFilters() {
		if f.GetConfigDiscovery() != nil {
			names[f.GetName()] = true
		}
		h := &hcm.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(h) != nil {
			continue
		}
		for _, f := range h.GetHttpFilters() {
			if f.GetConfigDiscovery() != nil {
				names[f.GetName()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (s *state) networkFilters() []*listener.Filter {
	var out []*listener.Filter
	for _, l := range s.listeners {
		for _, fc := range append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain()) {
			out = append(out, fc.GetFilters()...)
		}
	}
	return out
}

// assigned are the endpoints of a cluster: its own, or those that EDS has for it.
func (s *state) assigned(c *cluster.Cluster) *endpoint.ClusterLoadAssignment {
	if c.GetType() != cluster.Cluster_EDS {
		return c.GetLoadAssignment()
	}
	return s.endpoints[cmp.Or(c.GetEdsClusterConfig().GetServiceName(), c.GetName())]
}

// pick chooses an endpoint of a cluster that is not in tried; ok is false when there is none.
func (s *state) pick(name string, tried map[string]bool) (string, bool) {
	c := s.clusters[name]
	if c == nil {
		return "", false
	}
	la := s.assigned(c)
	var all, fresh []string
	for _, loc := range la.GetEndpoints() {
		for _, e := range loc.GetLbEndpoints() {
			if h := e.GetHealthStatus(); h != core.HealthStatus_UNKNOWN && h != core.HealthStatus_HEALTHY {
				continue
			}
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			if a == nil {
				continue
			}
			addr := net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue())))
			all = append(all, addr)
			if !tried[addr] {
				fresh = append(fresh, addr)
			}
		}
	}
	if len(fresh) > 0 {
		return fresh[rand.IntN(len(fresh))], true //nolint:gosec // load balancing is no secret
	}
	if len(all) > 0 { // previous_hosts gives up after a few attempts, then any host is taken
		return all[rand.IntN(len(all))], true //nolint:gosec // load balancing is no secret
	}
	return "", false
}

// routeFor finds the cluster a request goes to, and how often it may be retried.
func (s *state) routeFor(c *chain, host, path string, headers http.Header) (string, int, bool) {
	rc := c.inline
	if c.rds != "" {
		rc = s.routes[c.rds]
	}
	vh := virtualHost(rc, host)
	for _, r := range vh.GetRoutes() {
		if !pathMatches(r.GetMatch(), path) || !headersMatch(r.GetMatch().GetHeaders(), headers) {
			continue
		}
		a := r.GetRoute()
		if a == nil {
			return "", 0, false
		}
		retries := 0
		if rp := a.GetRetryPolicy(); rp != nil && strings.Contains(rp.GetRetryOn(), "connect-failure") {
			retries = int(max(rp.GetNumRetries().GetValue(), 1))
		}
		if name := a.GetCluster(); name != "" {
			return name, retries, true
		}
		return weighted(a.GetWeightedClusters()), retries, true
	}
	return "", 0, false
}

func weighted(w *route.WeightedCluster) string {
	total := uint32(0)
	for _, c := range w.GetClusters() {
		total += c.GetWeight().GetValue()
	}
	if total == 0 {
		return ""
	}
	n := rand.Uint32N(total) //nolint:gosec // load balancing is no secret
	for _, c := range w.GetClusters() {
		if n < c.GetWeight().GetValue() {
			return c.GetName()
		}
		n -= c.GetWeight().GetValue()
	}
	return ""
}

// virtualHost finds the virtual host by domain: exact, then suffix, then prefix wildcards, then "*".
func virtualHost(rc *route.RouteConfiguration, host string) *route.VirtualHost {
	var best *route.VirtualHost
	rank := 0
	for _, vh := range rc.GetVirtualHosts() {
		for _, d := range vh.GetDomains() {
			if r := domainRank(d, host); r > rank {
				best, rank = vh, r
			}
		}
	}
	return best
}

func domainRank(domain, host string) int {
	bare, _, err := net.SplitHostPort(host)
	if err != nil {
		bare = host
	}
	switch {
	case domain == host || domain == bare:
		return 1 << 20
	case domain == "*":
		return 1
	case strings.HasPrefix(domain, "*") && strings.HasSuffix(bare, domain[1:]):
		return 1<<10 + len(domain)
	case strings.HasSuffix(domain, "*") && strings.HasPrefix(host, domain[:len(domain)-1]):
		return 2 + len(domain)
	}
	return 0
}
