package envoy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

const (
	httpFilter = "envoy.filters.network.http_connection_manager"
	tcpFilter  = "envoy.filters.network.tcp_proxy"
	blackHole  = "BlackHoleCluster"
)

// ListenerFilter says which listeners are wanted, and how much of them.
type ListenerFilter struct {
	Address, Type string
	Port          uint32
	Verbose       bool // each filter chain, not each listener
}

func (f ListenerFilter) wants(l *listener.Listener) bool {
	return (f.Address == "" || slices.ContainsFunc(addresses(l), func(a string) bool { return strings.EqualFold(a, f.Address) })) &&
		(f.Port == 0 || portOf(l) == f.Port) &&
		(f.Type == "" || strings.EqualFold(typeOf(l), f.Type))
}

// Listeners are the listeners, as istioctl proxy-config listeners shows them.
func (d Dump) Listeners(f ListenerFilter) (Table, error) {
	t := Table{Heads: []string{"ADDRESSES", "PORT", "TYPE"}}
	if f.Verbose {
		t.Heads = []string{"ADDRESSES", "PORT", "MATCH", "DESTINATION"}
	}
	s, err := d.section("ListenersConfigDump")
	if err != nil {
		return t, err
	}
	type item struct {
		l   *listener.Listener
		doc map[string]any
	}
	var items []item
	var raw []map[string]any
	for _, o := range objects(field(s, "dynamic_listeners")) {
		if o = inside(o, "active_state", "listener"); o != nil { // one that only warms has none
			raw = append(raw, o)
		}
	}
	for _, o := range objects(field(s, "static_listeners")) {
		raw = append(raw, inside(o, "listener"))
	}
	for _, o := range raw {
		l := &listener.Listener{}
		if err := into(o, l); err != nil {
			return t, fmt.Errorf("reading a listener: %w", err)
		}
		if f.wants(l) {
			items = append(items, item{l, document(o, l)})
			t.Elements = append(t.Elements, items[len(items)-1].doc) // in the proxy's order, as istioctl writes them
		}
	}
	for _, i := range sortBy(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(portOf(a.l), portOf(b.l)), strings.Compare(addresses(a.l)[0], addresses(b.l)[0]), strings.Compare(typeOf(a.l), typeOf(b.l)))
	}) {
		at, port := strings.Join(addresses(i.l), ","), strconv.Itoa(int(portOf(i.l)))
		if !f.Verbose {
			t.Rows = append(t.Rows, []string{at, port, typeOf(i.l)})
			continue
		}
		for _, c := range describeChains(i.l) {
			t.Rows = append(t.Rows, []string{at, port, c[0], c[1]})
		}
	}
	return t, nil
}

// describeChains are what each filter chain matches and where it leads, in
// istioctl's order: by where they lead, from the end of the alphabet.
func describeChains(l *listener.Listener) [][2]string {
	var out [][2]string
	for _, c := range chains(l) {
		out = append(out, [2]string{chainMatch(c.GetFilterChainMatch()), destination(c.GetFilters())})
	}
	return sortBy(out, func(a, b [2]string) int { return strings.Compare(b[1], a[1]) })
}

func chains(l *listener.Listener) []*listener.FilterChain {
	all := slices.Clone(l.GetFilterChains())
	if c := l.GetDefaultFilterChain(); c != nil {
		all = append(all, c)
	}
	return all
}

// addresses are never empty: a listener without one has "".
func addresses(l *listener.Listener) []string {
	first := l.GetAddress().GetPipe().GetPath()
	if a := l.GetAddress().GetSocketAddress(); a != nil {
		first = a.GetAddress()
	}
	out := []string{first}
	for _, a := range l.GetAdditionalAddresses() {
		out = append(out, a.GetAddress().GetSocketAddress().GetAddress())
	}
	return out
}

func portOf(l *listener.Listener) uint32 { return l.GetAddress().GetSocketAddress().GetPortValue() }

func typeOf(l *listener.Listener) string {
	isHTTP, isTCP := false, false
	for _, c := range chains(l) {
		for _, f := range c.GetFilters() {
			isHTTP = isHTTP || f.GetName() == httpFilter
			isTCP = isTCP || f.GetName() == tcpFilter && !isBlackHole(f)
		}
	}
	switch {
	case isHTTP && isTCP:
		return "HTTP+TCP"
	case isHTTP:
		return "HTTP"
	case isTCP:
		return "TCP"
	}
	return "UNKNOWN"
}

func isBlackHole(f *listener.Filter) bool {
	return strings.Contains(string(f.GetTypedConfig().GetValue()), blackHole)
}

// protocols are lists of application protocols that Istio always writes together.
func protocols(list []string) string {
	switch strings.Join(list, ",") {
	case "http/1.0,http/1.1,h2c,istio-http/1.0,istio-http/1.1,istio-h2":
		return "HTTP TLS"
	case "istio,istio-http/1.0,istio-http/1.1,istio-h2":
		return "Istio HTTP Plain"
	case "istio-peer-exchange,istio":
		return "TCP TLS"
	case "http/1.0,http/1.1,h2c":
		return "HTTP"
	}
	return strings.Join(list, ",")
}

func chainMatch(m *listener.FilterChainMatch) string {
	var out []string
	if n := m.GetServerNames(); len(n) > 0 {
		out = append(out, "SNI: "+strings.Join(n, ","))
	}
	if p := m.GetTransportProtocol(); p != "" {
		out = append(out, "Trans: "+p)
	}
	if p := m.GetApplicationProtocols(); len(p) > 0 {
		out = append(out, "App: "+protocols(p))
	}
	port := ""
	if m.GetDestinationPort() != nil {
		port = fmt.Sprintf(":%d", m.GetDestinationPort().GetValue())
	}
	var ranges []string
	for _, r := range m.GetPrefixRanges() {
		ranges = append(ranges, fmt.Sprintf("%s/%d", r.GetAddressPrefix(), r.GetPrefixLen().GetValue()))
	}
	switch {
	case len(ranges) > 0:
		out = append(out, "Addr: "+strings.Join(ranges, ",")+port)
	case port != "":
		out = append(out, "Addr: *"+port)
	}
	if len(out) == 0 {
		return "ALL"
	}
	return strings.Join(out, "; ")
}

// destination is where a filter chain's traffic goes.
func destination(filters []*listener.Filter) string {
	for _, f := range filters {
		switch {
		case f.GetName() == httpFilter:
			h := &hcm.HttpConnectionManager{}
			if err := f.GetTypedConfig().UnmarshalTo(h); err != nil {
				return err.Error()
			}
			switch {
			case h.GetRouteConfig() != nil:
				return inline(h.GetRouteConfig())
			case h.GetRds().GetRouteConfigName() != "":
				return "Route: " + h.GetRds().GetRouteConfigName()
			}
			return "HTTP"
		case f.GetName() == tcpFilter && !isBlackHole(f):
			t := &tcp.TcpProxy{}
			if err := f.GetTypedConfig().UnmarshalTo(t); err != nil {
				return err.Error()
			}
			return clusterName(t.GetCluster())
		}
	}
	return "Non-HTTP/Non-TCP"
}

func clusterName(name string) string {
	if strings.Contains(name, "Cluster") { // PassthroughCluster and its like say it themselves
		return name
	}
	return "Cluster: " + name
}

// inline describes routes that stand in the listener itself.
func inline(r *route.RouteConfiguration) string {
	if c := onlyCluster(r); c != "" {
		return clusterName(c)
	}
	var hosts []string
	for _, vh := range r.GetVirtualHosts() {
		var matches []string
		for _, rt := range vh.GetRoutes() {
			matches = append(matches, match(rt.GetMatch()))
		}
		text := strings.Join(matches, ", ")
		if d := vh.GetDomains(); len(d) != 1 || d[0] != "*" {
			if all := strings.Join(d, "/"); all != "" {
				text = all + " " + text
			}
		}
		hosts = append(hosts, text)
	}
	return "Inline Route: " + strings.Join(hosts, "; ")
}

// onlyCluster is where a single route that matches everything leads.
func onlyCluster(r *route.RouteConfiguration) string {
	if len(r.GetVirtualHosts()) != 1 {
		return ""
	}
	vh := r.GetVirtualHosts()[0]
	if !slices.Equal(vh.GetDomains(), []string{"*"}) || len(vh.GetRoutes()) != 1 || vh.GetRoutes()[0].GetMatch().GetPrefix() != "/" {
		return ""
	}
	return vh.GetRoutes()[0].GetRoute().GetCluster()
}
