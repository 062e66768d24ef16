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
 {"name":"default"},{"name":"kubernetes://shop","secret":{"tls_certificate":{"certificate_chain":{"inline_bytes":"QUJD"}}}}]}]}`

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
	if len(s.Facts) != len(facts)+1 {
		t.Errorf("want one certificate, the pod's own is none: %q", s.Facts)
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
