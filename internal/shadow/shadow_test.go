package shadow_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/shadow"
)

func sides() shadow.Sides {
	return shadow.Sides{Old: shadow.Side{Revision: "default", Version: "1.27.0"}, New: shadow.Side{Revision: "1-29-1", Version: "1.29.1"}}
}

// read is a document as it was written down.
func read(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// one compares one resource; an empty text is none.
func one(t *testing.T, kind shadow.Kind, name, from, to string) shadow.Report {
	t.Helper()
	config := func(text string) shadow.Config {
		if text == "" {
			return shadow.Config{}
		}
		return shadow.Config{kind: {name: read(t, text)}}
	}
	return shadow.Compare([]shadow.Subject{{Workload: "shop/cart", Old: config(from), New: config(to)}}, sides(), []string{"istiod.istio-system.svc", "istiod-1-29-1.istio-system.svc"})
}

func TestCompare_classes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		kind     shadow.Kind
		resource string
		from, to string
		want     shadow.Class // empty: no difference
		why      string
		path     string
	}{
		{"a cluster gone", shadow.Clusters, "outbound|80||a", `{}`, "", shadow.Dangerous, "a cluster is gone", ""},
		{"a cluster more", shadow.Clusters, "outbound|80||a", "", `{"transportSocketMatches":[]}`, shadow.Unexplained, "", ""},
		{"a listener gone", shadow.Listeners, "l", `{}`, "", shadow.Dangerous, "a listener is gone", ""},
		{"a route table gone", shadow.Routes, "80", `{"virtualHosts":[]}`, "", shadow.Dangerous, "a route table is gone", ""},
		{"a filter's configuration gone", shadow.Extensions, "w", `{}`, "", shadow.Dangerous, "the configuration of a filter is gone", ""},
		{
			"a host gone", shadow.Routes, "80", `{"virtualHosts":[{"name":"a:80"},{"name":"b:80"}]}`, `{"virtualHosts":[{"name":"b:80"}]}`,
			shadow.Dangerous, "a host is gone", "virtualHosts[]",
		},
		{
			"a domain gone", shadow.Routes, "80", `{"virtualHosts":[{"name":"a","domains":["a","a.shop"]}]}`, `{"virtualHosts":[{"name":"a","domains":["a"]}]}`,
			shadow.Dangerous, "a host is gone", "virtualHosts[].domains[]",
		},
		{
			"the hosts in another order", shadow.Routes, "80", `{"virtualHosts":[{"name":"a","domains":["x","y"]},{"name":"b"}]}`,
			`{"virtualHosts":[{"name":"b"},{"name":"a","domains":["y","x"]}]}`, "", "", "",
		},
		{
			"a route gone", shadow.Routes, "80", `{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/x"}},{"match":{"prefix":"/"}}]}]}`,
			`{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"}}]}]}`, shadow.Dangerous, "a route is gone", "virtualHosts[].routes[]",
		},
		{
			"the routes in another order", shadow.Routes, "80", `{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/x"}},{"match":{"prefix":"/"}}]}]}`,
			`{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"}},{"match":{"prefix":"/x"}}]}]}`, shadow.Unexplained, "", "virtualHosts[].routes",
		},
		{
			"a route that leads elsewhere", shadow.Routes, "80", `{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"},"route":{"cluster":"x"}}]}]}`,
			`{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"},"route":{"cluster":"y"}}]}]}`, shadow.Unexplained, "", "virtualHosts[].routes[].route.cluster",
		},
		{
			"a route without its authorization", shadow.Routes, "80",
			`{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"},"typedPerFilterConfig":{"envoy.filters.http.rbac":{}}}]}]}`,
			`{"virtualHosts":[{"name":"a","routes":[{"match":{"prefix":"/"}}]}]}`, shadow.Dangerous, "an authorization rule changes", "virtualHosts[].routes[].typedPerFilterConfig",
		},
		{
			"a filter gone", shadow.Listeners, "l", `{"filterChains":[{"name":"c","filters":[{"name":"hcm","typedConfig":{"httpFilters":[{"name":"lua"},{"name":"router"}]}}]}]}`,
			`{"filterChains":[{"name":"c","filters":[{"name":"hcm","typedConfig":{"httpFilters":[{"name":"router"}]}}]}]}`,
			shadow.Dangerous, "a filter is gone", "filterChains[].filters[hcm].typedConfig.httpFilters[lua]",
		},
		{
			"a filter chain gone", shadow.Listeners, "l", `{"filterChains":[{"name":"c"},{"name":"d"}]}`, `{"filterChains":[{"name":"c"}]}`,
			shadow.Dangerous, "a filter chain is gone", "filterChains[]",
		},
		{
			"an authorization rule", shadow.Listeners, "l",
			`{"filterChains":[{"name":"c","filters":[{"name":"envoy.filters.network.rbac","typedConfig":{"rules":{"action":"DENY"}}}]}]}`,
			`{"filterChains":[{"name":"c","filters":[{"name":"envoy.filters.network.rbac","typedConfig":{"rules":{"action":"ALLOW"}}}]}]}`,
			shadow.Dangerous, "an authorization rule changes", "filterChains[].filters[envoy.filters.network.rbac].typedConfig.rules.action",
		},
		{
			"mTLS off", shadow.Clusters, "outbound|80||a", `{"transportSocketMatches":[{"name":"tlsMode-istio"}]}`, `{}`,
			shadow.Dangerous, "the mTLS mode changes", "transportSocketMatches",
		},
		{
			"plain text let in", shadow.Listeners, "l", `{"filterChains":[{"name":"c","filterChainMatch":{"transportProtocol":"tls"}}]}`,
			`{"filterChains":[{"name":"c","filterChainMatch":{"transportProtocol":"raw_buffer"}}]}`, shadow.Dangerous, "what a filter chain accepts changes", "filterChains[].filterChainMatch.transportProtocol",
		},
		{
			"another certificate", shadow.Clusters, "outbound|443||a", `{"x":{"validationContext":{"trustedCa":"a"}}}`,
			`{"x":{"validationContext":{"trustedCa":"b"}}}`, shadow.Dangerous, "a certificate changes", "x.validationContext.trustedCa",
		},
		{
			"no endpoint left", shadow.Endpoints, "outbound|80||a", `{"endpoints":[{"lbEndpoints":[{"endpoint":{"address":"10.0.0.1"}}]}]}`, `{"endpoints":[]}`,
			shadow.Dangerous, "every endpoint is gone", "endpoints",
		},
		{
			"an endpoint without mTLS", shadow.Endpoints, "outbound|80||a", `{"endpoints":[{"lbEndpoints":[{"endpoint":{"address":"10.0.0.1"},"metadata":{"tlsMode":"istio"}}]}]}`,
			`{"endpoints":[{"lbEndpoints":[{"endpoint":{"address":"10.0.0.1"},"metadata":{}}]}]}`, shadow.Dangerous, "the mTLS mode changes", "endpoints[].metadata.tlsMode",
		},
		{
			"the health and order of endpoints", shadow.Endpoints, "outbound|80||a",
			`{"endpoints":[{"lbEndpoints":[{"endpoint":{"address":"10.0.0.1"},"healthStatus":"HEALTHY"},{"endpoint":{"address":"10.0.0.2"}}]}]}`,
			`{"endpoints":[{"lbEndpoints":[{"endpoint":{"address":"10.0.0.2"},"healthStatus":"UNHEALTHY"},{"endpoint":{"address":"10.0.0.1"}}]}]}`, "", "", "",
		},
		{
			"a name gone", shadow.Names, "names", `{"table":{"a.shop.svc.cluster.local":{"ips":["10.0.0.1"]},"b.shop":{}}}`, `{"table":{"b.shop":{}}}`,
			shadow.Dangerous, "a DNS name is gone", "table[]",
		},
		{"a control plane's own cluster", shadow.Clusters, "outbound|15012||istiod-1-29-1.istio-system.svc.cluster.local", "", `{}`, "", "", ""},
		{"a control plane's own host", shadow.Routes, "15010", `{"virtualHosts":[]}`, `{"virtualHosts":[{"name":"istiod.istio-system.svc.cluster.local:15010"}]}`, "", "", ""},
		{
			"a name that only begins alike", shadow.Clusters, "outbound|80||istiod.istio-system.svcs.example.com", `{}`, "",
			shadow.Dangerous, "a cluster is gone", "",
		},
		{
			"what a release note explains", shadow.Clusters, "outbound|80||a", `{"circuitBreakers":{"thresholds":[{"trackRemaining":true}]}}`,
			`{"circuitBreakers":{"thresholds":[{}]}}`, shadow.Expected, "", "circuitBreakers.thresholds[].trackRemaining",
		},
		{
			"the same field, another value", shadow.Clusters, "outbound|80||a", `{"circuitBreakers":{"thresholds":[{"trackRemaining":false}]}}`,
			`{"circuitBreakers":{"thresholds":[{}]}}`, shadow.Unexplained, "", "circuitBreakers.thresholds[].trackRemaining",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := one(t, tt.kind, tt.resource, tt.from, tt.to)
			if tt.want == "" {
				if len(r.Differences) > 0 {
					t.Fatalf("differences: %+v", r.Differences)
				}
				return
			}
			if len(r.Differences) != 1 {
				t.Fatalf("%d differences, want one: %+v", len(r.Differences), r.Differences)
			}
			d := r.Differences[0]
			if d.Class != tt.want || d.Path != tt.path || tt.want != shadow.Expected && d.Why != tt.why {
				t.Errorf("%s %q at %q, want %s %q at %q", d.Class, d.Why, d.Path, tt.want, tt.why, tt.path)
			}
			if r.Worst() != tt.want {
				t.Errorf("worst %s, want %s", r.Worst(), tt.want)
			}
		})
	}
}

// A rule says which releases it is about: between others the same change is unexplained.
func TestCompare_aRuleEndsAtItsReleases(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     shadow.Class
	}{
		{"1.27.0", "1.29.1", shadow.Expected},
		{"1.28.4", "1.29.0", shadow.Expected},
		{"1.27.0", "1.28.4", shadow.Unexplained},
		{"1.29.0", "1.29.1", shadow.Unexplained},
		{"unknown", "1.29.1", shadow.Unexplained},
		{"1.27.0", "", shadow.Unexplained},
	} {
		config := func(text string) shadow.Config {
			return shadow.Config{shadow.Clusters: {"outbound|80||a": read(t, text)}}
		}
		r := shadow.Compare([]shadow.Subject{{
			Workload: "shop/cart", Old: config(`{"circuitBreakers":{"thresholds":[{"trackRemaining":true}]}}`), New: config(`{"circuitBreakers":{"thresholds":[{}]}}`),
		}}, shadow.Sides{Old: shadow.Side{Version: tt.from}, New: shadow.Side{Version: tt.to}}, nil)
		if got := r.Worst(); got != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestRules_nameEverything(t *testing.T) {
	if len(shadow.Rules()) == 0 {
		t.Fatal("there are no rules: the file was not read")
	}
	seen := map[string]bool{}
	for _, r := range shadow.Rules() {
		if r.Code == "" || seen[r.Code] || r.Kind == "" || r.Path == "" || r.Op == "" || !r.Swap && (r.Until == "" || r.Since == "") || r.What == "" || r.Source == "" || r.Link == "" {
			t.Errorf("%s: a field is missing, or the code is another rule's: %+v", r.Code, r)
		}
		if !r.Swap && !r.Absolute && !r.Merged && !r.Joined && r.From == nil && r.To == nil {
			t.Errorf("%s: it names no value", r.Code)
		}
		seen[r.Code] = true
	}
}

// A proxy that becomes a native sidecar is the same container in another place:
// what else changes of it is seen.
func TestCompare_aNativeSidecarIsTheSameProxy(t *testing.T) {
	old := read(t, `{"metadata":{"annotations":{"sidecar.istio.io/status":"a"}},"spec":{"containers":[{"name":"app"},{"name":"istio-proxy","image":"p","cpu":"1"}]}}`)
	next := read(t, `{"metadata":{"annotations":{"sidecar.istio.io/status":"b"}},"spec":{"initContainers":[{"name":"istio-proxy","image":"p","cpu":"2","restartPolicy":"Always"}],"containers":[{"name":"app"}]}}`)
	s := shadow.Subject{Workload: "shop/a", Old: shadow.Config{shadow.Pods: {"pod": old}}, New: shadow.Config{shadow.Pods: {"pod": next}}}
	between := shadow.Sides{Old: shadow.Side{Revision: "default", Version: "1.26.0"}, New: shadow.Side{Revision: "1-27-0", Version: "1.27.0"}}
	got := map[string]shadow.Class{}
	for _, d := range shadow.Compare([]shadow.Subject{s}, between, nil).Differences {
		got[d.Pattern()] = d.Class
	}
	want := map[string]shadow.Class{
		"Pod spec.containers[istio-proxy].cpu changed":         shadow.Unexplained,
		"Pod spec.containers[istio-proxy].restartPolicy added": shadow.Expected,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A host's absolute name is explained; any other new domain is not.
func TestCompare_absoluteNames(t *testing.T) {
	table := func(domains string) any {
		return read(t, `{"virtualHosts":[{"name":"a.b:80","domains":[`+domains+`]}]}`)
	}
	s := shadow.Subject{
		Workload: "shop/a", Old: shadow.Config{shadow.Routes: {"80": table(`"a.b"`)}},
		New: shadow.Config{shadow.Routes: {"80": table(`"a.b","a.b.","a.b.:80","c.d."`)}},
	}
	for version, want := range map[string]map[string]int{"1.27.0": {"expected": 2, "unexplained": 1}, "1.26.1": {"unexplained": 3}} {
		got := map[string]int{}
		for _, d := range shadow.Compare([]shadow.Subject{s}, shadow.Sides{Old: shadow.Side{Version: "1.26.0"}, New: shadow.Side{Version: version}}, nil).Differences {
			got[string(d.Class)]++
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", version, d)
		}
	}
}

func TestCompare_groupsByPatternAndCounts(t *testing.T) {
	cluster := func(timeout string) any { return read(t, `{"connectTimeout":"`+timeout+`"}`) }
	subject := func(name, to string) shadow.Subject {
		return shadow.Subject{
			Workload: name,
			Old:      shadow.Config{shadow.Clusters: {"a": cluster("10s"), "b": cluster("10s"), "c": cluster("10s")}},
			New:      shadow.Config{shadow.Clusters: {"a": cluster(to), "b": cluster(to), "c": cluster("10s")}},
		}
	}
	r := shadow.Compare([]shadow.Subject{subject("shop/b", "5s"), subject("shop/a", "5s"), {Workload: "shop/c", Failed: "no pod"}}, sides(), nil)
	want := []shadow.Difference{{
		Class: shadow.Unexplained, Kind: shadow.Clusters, Path: "connectTimeout", Op: shadow.Changed, From: "10s", To: "5s",
		Resources: shadow.Count{N: 4, Of: 6}, Workloads: shadow.Count{N: 2, Of: 2},
		Example: shadow.Example{Workload: "shop/a", Resource: "a", Where: "connectTimeout"},
	}}
	if diff := cmp.Diff(want, r.Differences); diff != "" {
		t.Error(diff)
	}
	if len(r.Unasked) != 1 || r.Unasked[0].Workload != "shop/c" || r.Workloads != 2 || r.Resources != 6 {
		t.Errorf("report: %+v", r)
	}

	var subjects []shadow.Subject
	for _, to := range []string{"1s", "2s", "3s", "4s"} {
		subjects = append(subjects, subject("shop/"+to, to))
	}
	r = shadow.Compare(subjects, sides(), nil)
	if len(r.Differences) != 1 || !r.Differences[0].Various || r.Differences[0].Resources.N != 8 {
		t.Errorf("many values are one pattern: %+v", r.Differences)
	}
}

// A workload that could not be asked is no proof of anything.
func TestWorst_unaskedIsNotExpected(t *testing.T) {
	r := shadow.Compare([]shadow.Subject{{Workload: "shop/cart", Failed: "no ready pod"}}, sides(), nil)
	if r.Worst() != shadow.Unexplained {
		t.Errorf("worst %s", r.Worst())
	}
}

func TestCompare_theOrderOfSubjectsChangesNothing(t *testing.T) {
	a := shadow.Subject{Workload: "a", Old: shadow.Config{shadow.Clusters: {"x": read(t, `{"a":1}`)}}, New: shadow.Config{shadow.Clusters: {"x": read(t, `{"a":2}`)}}}
	b := shadow.Subject{Workload: "b", Old: shadow.Config{shadow.Clusters: {"x": read(t, `{"a":1}`)}}, New: shadow.Config{shadow.Clusters: {"x": read(t, `{"a":3}`)}}}
	one, other := shadow.Compare([]shadow.Subject{a, b}, sides(), nil), shadow.Compare([]shadow.Subject{b, a}, sides(), nil)
	if diff := cmp.Diff(one, other); diff != "" {
		t.Error(diff)
	}
}

func TestProve(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pods    []shadow.Subject
		configs []shadow.Subject
		objects []shadow.Object
		want    shadow.Class
	}{
		{"all well", nil, nil, []shadow.Object{{Kind: "VirtualService", Name: "a"}}, shadow.Expected},
		{"a warning stops nothing", nil, nil, []shadow.Object{{Name: "a", Warnings: []string{"deprecated"}}}, shadow.Expected},
		{"only the new revision refuses an object", nil, nil, []shadow.Object{{Name: "a", Denied: "no"}}, shadow.Dangerous},
		{"both refuse it", nil, nil, []shadow.Object{{Name: "a", Denied: "no", Before: "no"}}, shadow.Unexplained},
		{"nobody could be asked", nil, nil, []shadow.Object{{Name: "a", Failed: "timeout"}}, shadow.Unexplained},
		{"a pod that a policy rejects", []shadow.Subject{{Workload: "a", Refused: "quota"}}, nil, nil, shadow.Dangerous},
		{"a proxy that could not be asked", nil, []shadow.Subject{{Workload: "a", Failed: "away"}}, nil, shadow.Unexplained},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := shadow.Prove(shadow.Question{Sides: sides()}, shadow.Checked{
				Pods: shadow.Compare(tt.pods, sides(), nil), Configs: shadow.Compare(tt.configs, sides(), nil), Objects: tt.objects,
			})
			if p.Verdict != tt.want {
				t.Errorf("%s, want %s: %+v", p.Verdict, tt.want, p)
			}
		})
	}
}

// What is named after the revision or the version has another name on the other
// side; anything else about it that changes is no swap.
func TestCompare_aSwapIsOfNamesOnly(t *testing.T) {
	pod := func(image string) string {
		return `{"spec":{"containers":[{"name":"istio-proxy","image":"` + image + `"}]}}`
	}
	for _, tt := range []struct {
		from, to string
		want     shadow.Class
	}{
		{"docker.io/istio/proxyv2:1.27.0", "docker.io/istio/proxyv2:1.29.1", shadow.Expected},
		{"docker.io/istio/proxyv2:1.27.0-distroless", "docker.io/istio/proxyv2:1.29.1-distroless", shadow.Expected},
		{"docker.io/istio/proxyv2:1.27.0", "evil.example.com/proxyv2:1.29.1", shadow.Unexplained},
		{"docker.io/istio/proxyv2:1.27.0", "docker.io/istio/proxyv2:1.29.0", shadow.Dangerous},
		{"docker.io/istio/proxyv2:1.27.0-distroless", "docker.io/istio/proxyv2:1.29.1", shadow.Unexplained},
	} {
		if got := one(t, shadow.Pods, "pod", pod(tt.from), pod(tt.to)).Worst(); got != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

// What Envoy would not accept is dangerous, but where proxies are given it today.
func TestCompare_whatEnvoyWouldReject(t *testing.T) {
	same, other := read(t, `{"maxRequestHeadersKb": 99999}`), read(t, `{"maxRequestHeadersKb": 60}`)
	rejects := map[shadow.Kind]map[string]string{shadow.Listeners: {"l": "value must be inside range (0, 8192]"}}
	for name, tt := range map[string]struct {
		old  shadow.Config
		want bool
	}{
		"it is new":          {shadow.Config{}, true},
		"it has changed":     {shadow.Config{shadow.Listeners: {"l": other}}, true},
		"it is there as now": {shadow.Config{shadow.Listeners: {"l": same}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := shadow.Compare([]shadow.Subject{{Workload: "shop/cart", Old: tt.old, New: shadow.Config{shadow.Listeners: {"l": same}}, Rejects: rejects}}, sides(), nil)
			got := slices.ContainsFunc(r.Differences, func(d shadow.Difference) bool {
				return d.Op == shadow.Rejected && d.Class == shadow.Dangerous && d.Why == "Envoy would reject it"
			})
			if got != tt.want {
				t.Errorf("%+v", r.Differences)
			}
		})
	}
}

// An injector that gives another proxy than its revision's; and plaintext that is let in.
func TestCompare_otherProxiesAndPlaintext(t *testing.T) {
	proxy := func(image string) string {
		return `{"spec":{"containers":[{"name":"istio-proxy","image":"` + image + `"}]}}`
	}
	chain := func(more string) string {
		return `{"filterChains":[{"filterChainMatch":{"transportProtocol":"tls"},"transportSocket":{}}` + more + `]}`
	}
	const plain, tls = `,{"filterChainMatch":{"transportProtocol":"raw_buffer"}}`, `,{"filterChainMatch":{"destinationPort":1},"transportSocket":{}}`
	for _, tt := range []struct {
		name               string
		kind               shadow.Kind
		resource, from, to string
		want               shadow.Class
	}{
		{"the revision's", shadow.Pods, "pod", proxy("docker.io/istio/proxyv2:1.27.0"), proxy("docker.io/istio/proxyv2:1.29.1"), shadow.Expected},
		{"a version that is not the revision's", shadow.Pods, "pod", proxy("docker.io/istio/proxyv2:1.27.0"), proxy("docker.io/istio/proxyv2:1.28.3"), shadow.Dangerous},
		{"another registry", shadow.Pods, "pod", proxy("docker.io/istio/proxyv2:1.27.0"), proxy("example.com/proxyv2:1.29.1-distroless"), shadow.Unexplained},
		{"an image by its digest", shadow.Pods, "pod", proxy("docker.io/istio/proxyv2:1.27.0"), proxy("example.com/proxyv2@sha256:00"), shadow.Unexplained},
		{"plaintext comes in", shadow.Listeners, "virtualInbound", chain(""), chain(plain), shadow.Dangerous},
		{"plaintext comes in no more", shadow.Listeners, "virtualInbound", chain(plain), chain(""), shadow.Dangerous},
		{"one more encrypted chain", shadow.Listeners, "virtualInbound", chain(""), chain(tls), shadow.Unexplained},
		{"a listener for what goes out", shadow.Listeners, "0.0.0.0_80", chain(""), chain(plain), shadow.Unexplained},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := one(t, tt.kind, tt.resource, tt.from, tt.to)
			if len(r.Differences) != 1 || r.Differences[0].Class != tt.want {
				t.Errorf("%+v", r.Differences)
			}
		})
	}
}

// A rule about generated names holds where the host is the one that the route is in.
func TestRules_mergedNamesAreOfTheSameHost(t *testing.T) {
	s := shadow.Sides{Old: shadow.Side{Revision: "default", Version: "1.26.0"}, New: shadow.Side{Revision: "1-27-0", Version: "1.27.0"}}
	table := func(config string) shadow.Config {
		return shadow.Config{shadow.Routes: {"80": read(t, `{"virtualHosts":[{"name":"a.shop.svc:80","routes":[{"match":{},"metadata":{"filterMetadata":{"istio":{"config":"/apis/x/namespaces/shop/virtual-service/`+config+`"}}}}]}]}`)}}
	}
	for name, want := range map[string]shadow.Class{"shop~a.shop.svc": shadow.Expected, "shop~b.shop.svc": shadow.Unexplained, "mine": shadow.Unexplained} {
		r := shadow.Compare([]shadow.Subject{{Workload: "shop/cart", Old: table("r-0-istio-autogenerated-k8s-gateway"), New: table(name)}}, s, nil)
		if r.Worst() != want {
			t.Errorf("%s: %+v", name, r.Differences)
		}
	}
}

// A Gateway's route table is the same under the name that later releases make of its
// listener: what is in it is compared, and the name itself a rule explains. One that
// is gone is gone.
func TestRules_joinedNamesAreOfTheSameGateway(t *testing.T) {
	s := shadow.Sides{Old: shadow.Side{Revision: "default", Version: "1.27.0"}, New: shadow.Side{Revision: "1-29-1", Version: "1.29.1"}}
	const was, is = "https.443.shop.edge-istio-autogenerated-k8s-gateway-https.shop", "https.443.shop.edge~istio-autogenerated-k8s-gateway~https.shop"
	tables := func(name, host string) shadow.Config {
		return shadow.Config{
			shadow.Routes:    {name: read(t, `{"name":"`+name+`","virtualHosts":[{"name":"`+host+`","routes":[]}]}`)},
			shadow.Listeners: {"0.0.0.0_443": read(t, `{"filterChains":[{"name":"a","filters":[{"name":"envoy.filters.network.http_connection_manager","typedConfig":{"rds":{"routeConfigName":"`+name+`"}}}]}]}`)},
		}
	}
	none := shadow.Config{shadow.Listeners: tables(is, "a")[shadow.Listeners]}
	for _, tt := range []struct {
		name     string
		new      shadow.Config
		versions [2]string
		want     shadow.Class
	}{
		{"the name is joined", tables(is, "a"), [2]string{"1.27.0", "1.29.1"}, shadow.Expected},
		{"a host is gone under the new name", tables(is, "b"), [2]string{"1.27.0", "1.29.1"}, shadow.Dangerous},
		{"the table is gone", none, [2]string{"1.27.0", "1.29.1"}, shadow.Dangerous},
		{"another Gateway's", tables(strings.Replace(is, "edge~", "edgy~", 1), "a"), [2]string{"1.27.0", "1.29.1"}, shadow.Dangerous},
		{"between releases of which no rule says so", tables(is, "a"), [2]string{"1.26.0", "1.27.0"}, shadow.Unexplained},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Old.Version, s.New.Version = tt.versions[0], tt.versions[1]
			r := shadow.Compare([]shadow.Subject{{Workload: "shop/edge-istio", Old: tables(was, "a"), New: tt.new}}, s, nil)
			if r.Worst() != tt.want || len(r.Differences) == 0 {
				t.Errorf("%s, want %s: %+v", r.Worst(), tt.want, r.Differences)
			}
		})
	}
}
