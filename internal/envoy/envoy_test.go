package envoy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/envoy"
)

func dump(t *testing.T) envoy.Dump {
	t.Helper()
	b, err := os.ReadFile("testdata/config_dump.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := envoy.Parse(bytes.Replace(b, []byte("CERT"), root(t), 1))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// root is a CA that is valid in March 2026, with a serial number that begins with zeros.
func root(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// rows are a table's, a cell after the other, and how many elements go with them.
func check(t *testing.T, table envoy.Table, err error, elements int, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range table.Rows {
		if len(r) != len(table.Heads) {
			t.Errorf("%d cells under %d headings: %q", len(r), len(table.Heads), r)
		}
		got = append(got, strings.Join(r, " / "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(table.Elements) != elements {
		t.Errorf("%d elements, want %d", len(table.Elements), elements)
	}
}

func TestClusters(t *testing.T) {
	all := []string{
		" / 9080 / - / inbound / ORIGINAL_DST / <unknown>",
		"BlackHoleCluster / - / - / - / STATIC / ",
		"reviews.default.svc.cluster.local / 9080 / - / outbound / EDS / ",
		"reviews.default.svc.cluster.local / 9080 / v2 / outbound / EDS / reviews.default",
		"xds-grpc / - / - / - / STATIC / ",
	}
	for name, tt := range map[string]struct {
		filter envoy.ClusterFilter
		want   []string
	}{
		"all":       {envoy.ClusterFilter{}, all},
		"fqdn":      {envoy.ClusterFilter{FQDN: "reviews"}, all[2:4]},
		"subset":    {envoy.ClusterFilter{Subset: "v2"}, all[3:4]},
		"direction": {envoy.ClusterFilter{Direction: "inbound"}, all[:1]},
		"port":      {envoy.ClusterFilter{Port: 9080, Direction: "outbound"}, all[2:4]},
		"none":      {envoy.ClusterFilter{Port: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := dump(t).Clusters(tt.filter)
			check(t, table, err, len(tt.want), tt.want...)
		})
	}
}

func TestDocuments_haveTheNamesOfProtobuf(t *testing.T) {
	table, err := dump(t).Clusters(envoy.ClusterFilter{Subset: "v2"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "outbound|9080|v2|reviews.default.svc.cluster.local", "type": "EDS",
		"metadata": map[string]any{"filterMetadata": map[string]any{"istio": map[string]any{
			"config": "/apis/networking.istio.io/v1alpha3/namespaces/default/destination-rule/reviews",
		}}},
		"transportSocketMatches": []any{map[string]any{"name": "tls", "transportSocket": map[string]any{
			"name": "x", "typedConfig": table.Elements[0]["transportSocketMatches"].([]any)[0].(map[string]any)["transportSocket"].(map[string]any)["typedConfig"],
		}}},
	}
	if diff := cmp.Diff(want, table.Elements[0]); diff != "" {
		t.Error(diff)
	}
	inner := want["transportSocketMatches"].([]any)[0].(map[string]any)["transportSocket"].(map[string]any)["typedConfig"].(map[string]any)
	if inner["some_field"] == nil {
		t.Errorf("what is not linked in is kept as it is, got %v", inner)
	}
	b, err := dump(t).Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	node := b.Document["bootstrap"].(map[string]any)["node"].(map[string]any)
	if node["metadata"].(map[string]any)["under_score"] != "kept" || node["userAgentBuildVersion"] == nil {
		t.Errorf("the keys of metadata stay, those of messages change: %v", node)
	}
}

func TestListeners(t *testing.T) {
	chains := []string{
		"0.0.0.0 / 80 / Trans: raw_buffer; App: http/1.1,h2c / Route: 80",
		"0.0.0.0 / 80 / ALL / PassthroughCluster",
		"0.0.0.0,:: / 15006 / Addr: *:15006 / Non-HTTP/Non-TCP",
		"0.0.0.0,:: / 15006 / ALL / Cluster: inbound|9080||",
		"0.0.0.0,:: / 15006 / SNI: a.b; App: TCP TLS; Addr: 10.0.0.0/8:9000 / Cluster: inbound|9000||",
		"0.0.0.0 / 15090 / ALL / Inline Route: /stats/prometheus*",
	}
	for name, tt := range map[string]struct {
		filter   envoy.ListenerFilter
		elements int
		want     []string
	}{
		"chains":  {envoy.ListenerFilter{Verbose: true}, 3, chains},
		"short":   {envoy.ListenerFilter{}, 3, []string{"0.0.0.0 / 80 / HTTP+TCP", "0.0.0.0,:: / 15006 / HTTP+TCP", "0.0.0.0 / 15090 / HTTP"}},
		"port":    {envoy.ListenerFilter{Verbose: true, Port: 80}, 1, chains[:2]},
		"type":    {envoy.ListenerFilter{Type: "http"}, 1, []string{"0.0.0.0 / 15090 / HTTP"}},
		"address": {envoy.ListenerFilter{Address: "::"}, 1, []string{"0.0.0.0,:: / 15006 / HTTP+TCP"}},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := dump(t).Listeners(tt.filter)
			check(t, table, err, tt.elements, tt.want...)
		})
	}
}

func TestRoutes(t *testing.T) {
	table, err := dump(t).Routes(envoy.RouteFilter{Verbose: true})
	check(t, table, err, 3,
		"9080 / reviews:9080 / reviews, reviews.default + 1 more... / /exact / reviews.default",
		"9080 / reviews:9080 / reviews, reviews.default + 1 more... / PathPrefix:/sub / ",
		"9080 / empty / * / /* / 404",
		" / backend / * / regex /a.* / ",
	)
	table, err = dump(t).Routes(envoy.RouteFilter{})
	check(t, table, err, 3, "80 / 0", "9080 / 3", " / 1")
	table, err = dump(t).Routes(envoy.RouteFilter{Name: "80"})
	check(t, table, err, 1, "80 / 0")
}

func TestEndpoints(t *testing.T) {
	b, err := os.ReadFile("testdata/clusters.json")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{
		"10.0.0.1:9080 / HEALTHY / FAILED / outbound|9080||reviews.default.svc.cluster.local",
		"10.0.0.2:9080 / UNHEALTHY / OK / outbound|9080||reviews.default.svc.cluster.local",
		"envoy://connect_originate/10.0.0.3:80 / DRAINING / OK / waypoint",
		"unix://./etc/istio/proxy/XDS / HEALTHY / OK / xds-grpc",
	}
	for name, tt := range map[string]struct {
		filter   envoy.EndpointFilter
		elements int
		want     []string
	}{
		"all":     {envoy.EndpointFilter{}, 3, all},
		"cluster": {envoy.EndpointFilter{Cluster: "XDS-grpc"}, 1, all[3:]},
		"address": {envoy.EndpointFilter{Address: "10.0.0.1"}, 1, all[:1]},
		"port":    {envoy.EndpointFilter{Port: 9080}, 1, all[:2]},
		"status":  {envoy.EndpointFilter{Status: "draining"}, 1, all[2:3]},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := envoy.Endpoints(b, tt.filter)
			check(t, table, err, tt.elements, tt.want...)
		})
	}
}

func TestSecrets(t *testing.T) {
	march, later := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	table, err := dump(t).Secrets(march)
	check(t, table, err, 1,
		"kubernetes://broken /  / WARMING / false /  /  / ",
		"ROOTCA / CA / ACTIVE / true / 00000000000000000000000000000abc / 2036-01-01T00:00:00Z / 2026-01-01T00:00:00Z",
	)
	table, err = dump(t).Secrets(later)
	if err != nil || table.Rows[1][3] != "false" {
		t.Errorf("a certificate that has expired is valid: %v %v", table.Rows, err)
	}
}

func TestBootstrap(t *testing.T) {
	b, err := dump(t).Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	b.Document = nil
	want := envoy.Bootstrap{
		IstioVersion: "1.29.1", ProxyVersion: "abc123", EnvoyVersion: "1.37.0-dev/Clean/RELEASE/BoringSSL",
		DiscoveryAddress: "istiod-1-29-1.istio-system.svc:15012",
	}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
}

func TestParse_namesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "EOF",
		"upstream connect error": "invalid character",
		`{"error": "x"}`:         "no configs",
		`[]`:                     "cannot unmarshal array",
	} {
		if _, err := envoy.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	d, err := envoy.Parse([]byte(`{"configs": []}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Clusters(envoy.ClusterFilter{}); err == nil || !strings.Contains(err.Error(), "ClustersConfigDump") {
		t.Errorf("a dump without clusters: %v", err)
	}
}

// No input makes it panic.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/config_dump.json", "testdata/clusters.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = envoy.Endpoints(b, envoy.EndpointFilter{})
		d, err := envoy.Parse(b)
		if err != nil {
			return
		}
		_, _ = d.Clusters(envoy.ClusterFilter{})
		_, _ = d.Listeners(envoy.ListenerFilter{Verbose: true})
		_, _ = d.Routes(envoy.RouteFilter{Verbose: true})
		_, _ = d.Secrets(time.Time{})
		_, _ = d.Bootstrap()
	})
}
