package envoy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/envoy"
)

// A gateway's dump in Envoy's own spelling: a plain and a TLS listener, routes by
// prefix, path, header and weight, a wildcard host, and certificates.
const gatewayDump = `{"configs":[
{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[
 {"name":"0.0.0.0_80","active_state":{"listener":{"address":{"socket_address":{"address":"0.0.0.0","port_value":80}},
  "filter_chains":[{"filters":[{"typed_config":{"rds":{"route_config_name":"http.80"}}}]}]}}},
 {"name":"0.0.0.0_443","active_state":{"listener":{"address":{"socket_address":{"address":"0.0.0.0","port_value":443}},
  "filter_chains":[{"filter_chain_match":{"server_names":["*.shop.example"]},"filters":[{"typed_config":{"rds":{"route_config_name":"https.443"}}}],
   "transport_socket":{"typed_config":{"common_tls_context":{"tls_certificate_sds_secret_configs":[{"name":"kubernetes://shop"}]}}}}]}}},
 {"name":"0.0.0.0_3306","active_state":{"listener":{"address":{"socket_address":{"address":"0.0.0.0","port_value":3306}},
  "filter_chains":[{"filters":[{"typed_config":{"cluster":"outbound|3306||db.data.svc.cluster.local"}}]}]}}}]},
{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[
 {"route_config":{"name":"http.80","virtual_hosts":[{"name":"a:80","domains":["a.example","a.example:80"],"routes":[
  {"match":{"prefix":"/x"},"route":{"cluster":"c1"}},
  {"match":{"path":"/y","headers":[{"name":"end-user"}]},"route":{"weighted_clusters":{"clusters":[{"name":"c2","weight":10},{"name":"c1","weight":90}]}}}]}]}},
 {"route_config":{"name":"https.443","virtual_hosts":[{"domains":["*.shop.example"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"c3"}}]}]}}]},
{"@type":"type.googleapis.com/envoy.admin.v3.SecretsConfigDump","dynamic_active_secrets":[
 {"name":"default"},{"name":"kubernetes://shop-cacert","secret":{"validation_context":{"trusted_ca":{"inline_bytes":"Q0E="}}}},{"name":"kubernetes://shop","secret":{"tls_certificate":{"certificate_chain":{"inline_bytes":"QUJD"}}}}]}]}`

func serving(t *testing.T, text string) envoy.Serving {
	t.Helper()
	d, err := envoy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Serving()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServing(t *testing.T) {
	s := serving(t, gatewayDump)
	want := []string{
		"listener :3306 to outbound|3306||db.data.svc.cluster.local",
		"listener :443 for *.shop.example with certificate kubernetes://shop by routes https.443",
		"listener :80 by routes http.80",
		"route http.80 a.example path /y headers [{\"name\":\"end-user\"}] -> c1 90, c2 10",
		"route http.80 a.example prefix /x -> c1",
		"route https.443 *.shop.example prefix / -> c3",
	}
	facts := slices.DeleteFunc(slices.Clone(s.Facts), func(f string) bool { return strings.HasPrefix(f, "certificate ") })
	if d := cmp.Diff(want, facts); d != "" {
		t.Errorf("-want +got %s", d)
	}
	if len(s.Facts) != len(facts)+2 {
		t.Errorf("want a certificate and an authority, the pod's own is none: %q", s.Facts)
	}
	asks := []envoy.Ask{{Port: 80, Host: "a.example", Path: "/x"}, {Port: 443, SNI: "serin-test.shop.example", Host: "serin-test.shop.example", Path: "/"}}
	if d := cmp.Diff(asks, s.Asks); d != "" {
		t.Errorf("-want +got %s", d)
	}
}

// S-29: what is planted in a new gateway shows as a fact that it lacks.
func TestServing_whatIsPlanted(t *testing.T) {
	old := serving(t, gatewayDump)
	for name, change := range map[string][2]string{
		"a route that is not there":      {`{"match":{"prefix":"/x"},"route":{"cluster":"c1"}},`, ``},
		"a route that leads elsewhere":   {`{"cluster":"c3"}`, `{"cluster":"c4"}`},
		"another weight":                 {`"weight":90`, `"weight":80`},
		"another certificate":            {`QUJD`, `QUJE`},
		"another authority of clients":   {`"inline_bytes":"Q0E="`, `"inline_bytes":"Q0I="`},
		"a certificate of another name":  {`[{"name":"kubernetes://shop"}]`, `[{"name":"kubernetes://other"}]`},
		"a listener on another port":     {`"port_value":3306`, `"port_value":3307`},
		"a host that it does not answer": {`"domains":["a.example","a.example:80"]`, `"domains":["b.example"]`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(gatewayDump, change[0], change[1], 1)
			if text == gatewayDump {
				t.Fatal("nothing was planted")
			}
			if is := serving(t, text); slices.Equal(old.Facts, is.Facts) {
				t.Errorf("it is not seen: %q", is.Facts)
			}
		})
	}
}

// A gateway that demands clients' certificates, one that passes TLS through and one that
// passes TCP on: what cannot be asked is said, and is no request.
func TestServing_whatCannotBeAsked(t *testing.T) {
	const tls = `"transport_socket":{"typed_config":{%s"common_tls_context":{"tls_certificate_sds_secret_configs":[{"name":"kubernetes://shop"}]}}}`
	chain := func(match, demands, filter string) string {
		out := `{"filter_chain_match":{` + match + `},"filters":[{"typed_config":` + filter + `}]`
		if demands != "passthrough" {
			out += "," + strings.Replace(tls, "%s", demands, 1)
		}
		return out + "}"
	}
	const mutual, simple, routed = `"require_client_certificate":true,`, `"require_client_certificate":false,`, `{"rds":{"route_config_name":"https.443"}}`
	dump := func(chains ...string) string {
		return `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[
{"name":"0.0.0.0_443","active_state":{"listener":{"address":{"socket_address":{"address":"0.0.0.0","port_value":443}},"filter_chains":[` + strings.Join(chains, ",") + `]}}}]},
{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[
{"route_config":{"name":"https.443","virtual_hosts":[{"domains":["a.example"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}}]}]}`
	}
	const a, b = `"server_names":["a.example"]`, `"server_names":["b.example"]`
	ask := []envoy.Ask{{Port: 443, SNI: "a.example", Host: "a.example", Path: "/"}}
	for _, tt := range []struct {
		name string
		dump string
		asks []envoy.Ask
		mute []string
	}{
		{"simple", dump(chain(a, simple, routed)), ask, nil},
		{"mutual", dump(chain(a, mutual, routed)), nil, []string{"listener :443 for a.example demands a client's certificate"}},
		{"one of two is mutual", dump(chain(a, simple, routed), chain(b, mutual, `{"rds":{"route_config_name":"https.other"}}`)), ask, []string{"listener :443 for b.example demands a client's certificate"}},
		{"passthrough", dump(chain(a, "passthrough", `{"cluster":"outbound|443||a.shop.svc.cluster.local"}`)), nil, []string{"listener :443 for a.example passes on what is no HTTP, or is not for it to read"}},
		{"tcp", dump(chain("", "passthrough", `{"cluster":"outbound|3306||db.shop.svc.cluster.local"}`)), nil, []string{"listener :443 passes on what is no HTTP, or is not for it to read"}},
		{"only with a header", strings.Replace(dump(chain(a, simple, routed)), `{"prefix":"/"}`, `{"prefix":"/","headers":[{"name":"end-user"}]}`, 1), nil, []string{"route https.443 a.example is for some headers or query parameters"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serving(t, tt.dump)
			if d := cmp.Diff(tt.asks, s.Asks); d != "" && len(s.Asks)+len(tt.asks) > 0 {
				t.Errorf("asks: %s", d)
			}
			if d := cmp.Diff(tt.mute, s.Mute); d != "" {
				t.Errorf("mute: %s", d)
			}
			if len(s.Facts) == 0 {
				t.Error("it has no facts")
			}
		})
	}
	if strict, lax := serving(t, dump(chain(a, mutual, routed))), serving(t, dump(chain(a, simple, routed))); slices.Equal(strict.Facts, lax.Facts) {
		t.Errorf("that one demands certificates and the other does not is not seen: %q", lax.Facts)
	}
}
