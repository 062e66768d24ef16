package envoy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Serving is what a gateway's clients meet: two gateways of which it is equal
// serve the same, whatever else their releases configure differently.
type Serving struct {
	Facts []string // listeners, routes and certificates, a line each, sorted
	Asks  []Ask    // a request for each host, port and path that it routes
	Mute  []string // what no plain request can be sent to, and why, sorted
}

// Ask is one request that a gateway routes.
type Ask struct {
	Port int
	SNI  string // of a TLS listener, empty for a plain one
	Host string
	Path string
}

// String is the request as people write it.
func (a Ask) String() string {
	scheme := "http"
	if a.SNI != "" {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s:%d%s", scheme, a.Host, a.Port, a.Path)
}

// door is a listener's way to a route configuration.
type door struct {
	port int
	sni  string
}

// Serving reads a dump's dynamic listeners, routes and certificates.
func (d Dump) Serving() (Serving, error) {
	listeners, err := d.section("ListenersConfigDump")
	if err != nil {
		return Serving{}, err
	}
	var s Serving
	doors := map[string][]door{}
	for _, o := range objects(field(listeners, "dynamic_listeners")) {
		s.listener(inside(o, "active_state", "listener"), doors)
	}
	for _, o := range objects(field(d.sections["RoutesConfigDump"], "dynamic_route_configs")) {
		s.routes(inside(o, "route_config"), doors)
	}
	for _, o := range objects(field(d.sections["SecretsConfigDump"], "dynamic_active_secrets")) {
		name, _ := o["name"].(string)
		if name == "default" || name == "ROOTCA" { // the pod's own identity
			continue
		}
		chain := text(field(inside(o, "secret", "tls_certificate", "certificate_chain"), "inline_bytes"))
		chain += text(field(inside(o, "secret", "validation_context", "trusted_ca"), "inline_bytes")) // of clients: a secret has one or the other
		s.Facts = append(s.Facts, fmt.Sprintf("certificate %s %.6x", name, sha256.Sum256([]byte(chain))))
	}
	slices.Sort(s.Facts)
	s.Facts = slices.Compact(s.Facts)
	slices.Sort(s.Mute)
	s.Mute = slices.Compact(s.Mute)
	slices.SortFunc(s.Asks, func(a, b Ask) int { return strings.Compare(a.String()+a.SNI, b.String()+b.SNI) })
	s.Asks = slices.Compact(s.Asks)
	return s, nil
}

func (s *Serving) listener(l map[string]any, doors map[string][]door) {
	port := number(field(inside(l, "address", "socket_address"), "port_value"))
	for _, c := range objects(field(l, "filter_chains")) {
		names := words(field(inside(c, "filter_chain_match"), "server_names"))
		var secrets []string
		for _, x := range objects(field(inside(c, "transport_socket", "typed_config", "common_tls_context"), "tls_certificate_sds_secret_configs")) {
			secrets = append(secrets, text(x["name"]))
		}
		demands, _ := field(inside(c, "transport_socket", "typed_config"), "require_client_certificate").(bool)
		fact := []string{fmt.Sprintf("listener :%d", port)}
		if len(names) > 0 {
			fact = append(fact, "for "+strings.Join(names, ","))
		}
		name := strings.Join(fact, " ")
		if len(secrets) > 0 {
			fact = append(fact, "with certificate "+strings.Join(secrets, ","))
		}
		if demands {
			fact = append(fact, "from clients with one")
		}
		routed := false
		for _, f := range objects(field(c, "filters")) {
			config := inside(f, "typed_config")
			if to := text(field(config, "cluster")); to != "" {
				fact = append(fact, "to "+to)
			}
			routes := text(field(inside(config, "rds"), "route_config_name"))
			if routes == "" {
				continue
			}
			routed = true
			fact = append(fact, "by routes "+routes)
			if !demands {
				doors[routes] = append(doors[routes], opened(port, names, len(secrets) > 0)...)
			}
		}
		s.Facts = append(s.Facts, strings.Join(fact, " "))
		switch {
		case demands:
			s.Mute = append(s.Mute, name+" demands a client's certificate")
		case !routed:
			s.Mute = append(s.Mute, name+" passes on what is no HTTP, or is not for it to read")
		}
	}
}

// opened are a filter chain's doors: one for each name that TLS clients call it by.
func opened(port int, names []string, tls bool) []door { //nolint:revive // whether it ends TLS
	if !tls {
		return []door{{port: port}}
	}
	var out []door
	for _, n := range names {
		out = append(out, door{port, concrete(n)})
	}
	if len(out) == 0 {
		out = append(out, door{port, concrete("*")})
	}
	return out
}

func (s *Serving) routes(r map[string]any, doors map[string][]door) {
	name := text(r["name"])
	for _, vh := range objects(field(r, "virtual_hosts")) {
		var hosts []string
		for _, h := range words(field(vh, "domains")) {
			if !strings.Contains(h, ":") { // the others spell out a port
				hosts = append(hosts, h)
			}
		}
		for _, rt := range objects(field(vh, "routes")) {
			match := inside(rt, "match")
			for _, h := range hosts {
				s.Facts = append(s.Facts, fmt.Sprintf("route %s %s %s -> %s", name, h, matching(match), action(rt)))
			}
			if len(objects(field(match, "headers")))+len(objects(field(match, "query_parameters"))) > 0 {
				if len(doors[name]) > 0 { // a plain request would not take it
					s.Mute = append(s.Mute, fmt.Sprintf("route %s %s is for some headers or query parameters", name, strings.Join(hosts, ",")))
				}
				continue
			}
			s.ask(doors[name], hosts, pathOf(match))
		}
		if len(objects(field(vh, "routes"))) == 0 {
			s.ask(doors[name], hosts, "/")
		}
	}
}

func (s *Serving) ask(doors []door, hosts []string, path string) {
	for _, d := range doors {
		for _, h := range hosts {
			s.Asks = append(s.Asks, Ask{Port: d.port, SNI: d.sni, Host: concrete(h), Path: path})
		}
	}
}

// concrete is a name that a pattern takes.
func concrete(host string) string {
	switch {
	case host == "*":
		return "serin.test"
	case strings.HasPrefix(host, "*."):
		return "serin-test" + host[1:]
	}
	return host
}

func pathOf(match map[string]any) string {
	for _, f := range []string{"path", "prefix", "path_separated_prefix"} {
		if p := text(field(match, f)); p != "" {
			return p
		}
	}
	return "/"
}

// matching is a route's condition: as it stands in the dump, keys sorted.
func matching(match map[string]any) string {
	out := []string{"regex " + text(field(inside(match, "safe_regex"), "regex"))}
	for _, f := range []string{"path", "prefix", "path_separated_prefix"} {
		if p := text(field(match, f)); p != "" {
			out = []string{f + " " + p}
		}
	}
	for _, f := range []string{"headers", "query_parameters"} {
		if v := field(match, f); v != nil {
			b, err := json.Marshal(v)
			if err == nil {
				out = append(out, f+" "+string(b))
			}
		}
	}
	return strings.Join(out, " ")
}

// action is where a route leads.
func action(rt map[string]any) string {
	to := inside(rt, "route")
	if c := text(field(to, "cluster")); c != "" {
		return c
	}
	var out []string
	for _, c := range objects(field(inside(to, "weighted_clusters"), "clusters")) {
		out = append(out, fmt.Sprintf("%s %d", text(c["name"]), number(c["weight"])))
	}
	for _, f := range []string{"redirect", "direct_response"} {
		if v := inside(rt, f); v != nil {
			b, err := json.Marshal(v)
			if err == nil {
				out = append(out, f+" "+string(b))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func words(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		out = append(out, text(e))
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int {
	switch v := v.(type) {
	case json.Number:
		n, _ := strconv.Atoi(v.String())
		return n
	case float64:
		return int(v)
	}
	return 0
}
