package envoy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// RouteFilter says which routes are wanted, and how much of them.
type RouteFilter struct {
	Name    string
	Verbose bool // each route, not each route configuration
}

// Routes are the route configurations, as istioctl proxy-config routes shows them.
func (d Dump) Routes(f RouteFilter) (Table, error) {
	t := Table{Heads: []string{"NAME", "VIRTUAL HOSTS"}}
	if f.Verbose {
		t.Heads = []string{"NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"}
	}
	s, err := d.section("RoutesConfigDump")
	if err != nil {
		return t, err
	}
	type item struct {
		r   *route.RouteConfiguration
		doc map[string]any
	}
	var items []item
	for _, o := range append(objects(field(s, "dynamic_route_configs")), objects(field(s, "static_route_configs"))...) {
		o = inside(o, "route_config")
		r := &route.RouteConfiguration{}
		if err := into(o, r); err != nil {
			return t, fmt.Errorf("reading a route configuration: %w", err)
		}
		if f.Name == "" || f.Name == r.GetName() {
			items = append(items, item{r, document(o, r)})
		}
	}
	for _, i := range sortBy(items, func(a, b item) int { return byPortName(a.r.GetName(), b.r.GetName()) }) {
		t.Elements = append(t.Elements, i.doc)
		if !f.Verbose {
			t.Rows = append(t.Rows, []string{i.r.GetName(), strconv.Itoa(len(i.r.GetVirtualHosts()))})
			continue
		}
		for _, vh := range i.r.GetVirtualHosts() {
			t.Rows = append(t.Rows, routeRows(i.r.GetName(), vh)...)
		}
	}
	return t, nil
}

// byPortName orders route names: those that are a port by number, then the others.
// Istioctl's own order of the others is by chance.
func byPortName(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}

func routeRows(name string, vh *route.VirtualHost) [][]string {
	if len(vh.GetRoutes()) == 0 {
		return [][]string{{name, vh.GetName(), domains(vh.GetDomains()), "/*", "404"}}
	}
	var rows [][]string
	for _, r := range vh.GetRoutes() {
		if r.GetRoute().GetCluster() == "PassthroughCluster" {
			continue
		}
		rows = append(rows, []string{name, vh.GetName(), domains(vh.GetDomains()), match(r.GetMatch()), managed(r.GetMetadata())})
	}
	return rows
}

// domains are at most two of a virtual host's domains, without those that only
// spell out another one, and how many more there are.
func domains(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	var bare []string
	for _, d := range all {
		if !strings.Contains(d, ":") || strings.Count(d, ":") > 2 && strings.HasSuffix(d, "]") {
			bare = append(bare, d)
		}
	}
	short := slices.DeleteFunc(slices.Clone(bare), func(d string) bool {
		for _, suffix := range []string{".svc.cluster.local", ".svc"} {
			if s := strings.TrimSuffix(d, suffix); s != d && slices.Contains(bare, s) {
				return true
			}
		}
		return false
	})
	if more := len(short) - 2; more > 0 {
		return fmt.Sprintf("%s + %d more...", strings.Join(short[:2], ", "), more)
	}
	return strings.Join(short, ", ")
}

func match(m *route.RouteMatch) string {
	var out []string
	if p := m.GetPrefix(); p != "" {
		out = append(out, p+"*")
	}
	if p := m.GetPathSeparatedPrefix(); p != "" {
		out = append(out, "PathPrefix:"+p)
	}
	if p := m.GetPath(); p != "" {
		out = append(out, p)
	}
	if r := m.GetSafeRegex(); r != nil {
		out = append(out, "regex "+r.GetRegex())
	}
	return strings.Join(out, " ")
}
