package check_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

func target(to string) check.Question { return check.Question{To: to} }

// well is bookinfo with everything looked at and nothing wrong.
func well() mesh.Snapshot {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	s.Survey = &mesh.Survey{
		Nodes:       &mesh.Nodes{Count: 2, OldestKubelet: "v1.32.0", Free: []mesh.Room{{CPU: 4000, Memory: 8192}, {CPU: 4000, Memory: 8192}}},
		Istiods:     map[string]mesh.Istiod{"default": {Requests: mesh.Room{CPU: 500, Memory: 2048}, Env: map[string]string{}}},
		MeshConfigs: map[string]map[string]any{"default": {}},
		Services:    []string{"istio-system/istiod"},
		Selectors:   &mesh.Selectors{},
		GatewayAPI: []mesh.CRD{
			{Name: "gateways.gateway.networking.k8s.io", ServedVersions: []string{"v1", "v1beta1"}, Bundle: "v1.4.0"},
			{Name: "backendtlspolicies.gateway.networking.k8s.io", ServedVersions: []string{"v1"}, Bundle: "v1.4.0"},
		},
	}
	for i := range s.Workloads {
		s.Workloads[i].Template = mesh.Template{Probed: true, Drains: true}
	}
	return s
}

func filter(f mesh.EnvoyFilter) func(*mesh.Snapshot) {
	f.Namespace, f.Name = "shop", "odd"
	return func(s *mesh.Snapshot) { s.Survey.EnvoyFilters = []mesh.EnvoyFilter{f} }
}

func bundle(crd, version string) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) {
		s.Survey.GatewayAPI = []mesh.CRD{{Name: crd, ServedVersions: []string{"v1", "v1beta1"}, Bundle: version}}
	}
}

// Each case makes one thing wrong with a mesh that is well, of which no check has
// anything to say: the check fires on the one and not on the other.
func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wrong  func(*mesh.Snapshot)
		to     string
		code   string
		sev    check.Severity
		object string
	}{
		{"a user without rights", func(s *mesh.Snapshot) { s.Survey.Denied = []string{"clusterroles.rbac.authorization.k8s.io"} }, "1.29.1", "SRN1301", check.Overridable, "user"},
		{"Gateway API without v1beta1", func(s *mesh.Snapshot) { s.Survey.GatewayAPI[0].ServedVersions = []string{"v1"} }, "1.29.1", "SRN1302", check.Overridable, "crd gateways.gateway.networking.k8s.io"},
		{"Gateway API without v1", func(s *mesh.Snapshot) { s.Survey.GatewayAPI[0].ServedVersions = []string{"v1beta1"} }, "1.29.1", "SRN1302", check.Warning, "crd gateways.gateway.networking.k8s.io"},
		{"a bundle too old, without objects", bundle("backendtlspolicies.gateway.networking.k8s.io", "v1.3.0"), "1.29.1", "SRN1303", check.Warning, "crd backendtlspolicies.gateway.networking.k8s.io"},
		{"a bundle too old, with objects", func(s *mesh.Snapshot) {
			bundle("grpcroutes.gateway.networking.k8s.io", "v1.0.0")(s)
			s.Survey.Kinds = []string{"grpcroutes.gateway.networking.k8s.io"}
		}, "1.29.1", "SRN1303", check.Overridable, "crd grpcroutes.gateway.networking.k8s.io"},
		{"a bundle too new", bundle("tlsroutes.gateway.networking.k8s.io", "v1.5.0"), "1.29.6", "SRN1303", check.Warning, "crd tlsroutes.gateway.networking.k8s.io"},
		{"a bundle of no version", bundle("grpcroutes.gateway.networking.k8s.io", "main"), "1.29.1", "SRN1303", check.Warning, "crd grpcroutes.gateway.networking.k8s.io"},
		{"an alpha annotation on pods", func(s *mesh.Snapshot) {
			s.Workloads[0].TemplateAnnotations = map[string]string{"proxy.istio.io/overrides": "x"}
		}, "1.29.1", "SRN1304", check.Info, "workload default/details-v1"},
		{"alpha annotations on namespaces", func(s *mesh.Snapshot) {
			s.Survey.Annotations = map[string][]string{"ambient.istio.io/dns-capture": {"namespace b", "namespace a"}}
		}, "1.29.1", "SRN1304", check.Info, "namespace a and 1 more"},
		{"an EnvoyFilter of one proxy version", filter(mesh.EnvoyFilter{ProxyVersions: []string{`^1\.27.*`}}), "1.29.1", "SRN1305", check.Overridable, "envoyfilter shop/odd"},
		{"an EnvoyFilter with no expression", filter(mesh.EnvoyFilter{ProxyVersions: []string{`^1\.(`}}), "1.29.1", "SRN1305", check.Warning, "envoyfilter shop/odd"},
		{"an EnvoyFilter with a neighbour", filter(mesh.EnvoyFilter{Relative: []string{"INSERT_BEFORE"}}), "", "SRN1306", check.Warning, "envoyfilter shop/odd"},
		{"an EnvoyFilter of API v2", filter(mesh.EnvoyFilter{Types: []string{"envoy.config.filter.http.lua.v2.Lua"}}), "1.29.1", "SRN1307", check.Overridable, "envoyfilter shop/odd"},
		{"no room", func(s *mesh.Snapshot) {
			s.Survey.Nodes.Free = []mesh.Room{{CPU: 9000, Memory: 4000}, {CPU: -20, Memory: 4000}}
		}, "1.29.1", "SRN1308", check.Overridable, "nodes"},
		{"S-16: one istiod", func(s *mesh.Snapshot) { s.ControlPlanes[0].Replicas, s.ControlPlanes[0].Ready = 1, 1 }, "1.29.1", "SRN1309", check.Warning, "revision default"},
		{"a budget around istiod", func(s *mesh.Snapshot) {
			s.Survey.Istiods["default"] = mesh.Istiod{Budget: &mesh.Budget{Name: "istiod"}}
		}, "", "SRN1309", check.Warning, "revision default"},
		{"S-30: two budgets", func(s *mesh.Snapshot) { s.Survey.TwoBudgets = []mesh.Ref{s.Workloads[0].Ref} }, "", "SRN1310", check.Warning, "workload default/details-v1"},
		{"an injector left behind", func(s *mesh.Snapshot) {
			s.Injectors = append(s.Injectors, mesh.RevisionInjector("1-20-0", "istio-system"))
		}, "", "SRN1311", check.Overridable, "injector istio-sidecar-injector-1-20-0"},
		{"a validator left behind", func(s *mesh.Snapshot) {
			s.Validators = append(s.Validators, mesh.RevisionValidator("1-20-0", "istio-system"))
		}, "", "SRN1311", check.Overridable, "validator istio-validator-1-20-0-istio-system"},
		{"a validator left behind that lets pass", func(s *mesh.Snapshot) {
			v := mesh.RevisionValidator("1-20-0", "istio-system")
			v.FailurePolicy = "Ignore"
			s.Validators = append(s.Validators, v)
		}, "", "SRN1311", check.Warning, "validator istio-validator-1-20-0-istio-system"},
		{"an injector without a certificate", func(s *mesh.Snapshot) { s.Injectors[0].Webhooks[0].CABundle = false }, "", "SRN1312", check.Overridable, "injector istio-sidecar-injector"},
		{"injectors that overlap", func(s *mesh.Snapshot) {
			*s = *overlapping(s.Survey)
		}, "", "SRN1313", check.Warning, "injectors istio-revision-tag-default, istio-sidecar-injector"},
		{"no validator", func(s *mesh.Snapshot) {
			s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Name == mesh.DefaultValidator })
		}, "", "SRN1314", check.Warning, "mesh"},
		{"a definition that is not served", func(s *mesh.Snapshot) { s.CRDs[0].Established = false }, "", "SRN1315", check.Overridable, "crd destinationrules.networking.istio.io"},
		{"definitions of before v1 and no base release", func(s *mesh.Snapshot) {
			s.CRDs[0].ServedVersions = []string{"v1beta1"}
			s.Releases = slices.DeleteFunc(s.Releases, func(r mesh.Release) bool { return r.Chart == "base" })
		}, "1.29.1", "SRN1316", check.Mandatory, "crd destinationrules.networking.istio.io"},
		{"S-45: Argo CD installs it", func(s *mesh.Snapshot) {
			s.Survey.Installers = []mesh.Object{{Kind: "Application", Namespace: "argocd", Name: "istiod", Note: "Argo CD, chart istiod"}}
		}, "", "SRN1317", check.Overridable, "application argocd/istiod"},
		{"S-45: Argo CD installs it, and its mark is on it", func(s *mesh.Snapshot) {
			s.Survey.Installers = []mesh.Object{{Kind: "Application", Namespace: "argocd", Name: "istiod", Note: "Argo CD, chart istiod"}}
			s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"}
		}, "", "SRN1317", check.Info, "application argocd/istiod"},
		{"S-45: one tool's mark, and another that installs", func(s *mesh.Snapshot) {
			s.Survey.Installers = []mesh.Object{{Kind: "HelmRelease", Namespace: "flux", Name: "istiod", Note: "Flux, chart istiod"}}
			s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"}
		}, "", "SRN1317", check.Overridable, "helmrelease flux/istiod"},
		{"proxies newer than the target", version("1.30.0"), "1.29.1", "SRN1318", check.Overridable, "proxies of default at 1.30.0"},
		{"proxies newer than their istiod", version("1.28.0"), "1.29.1", "SRN1318", check.Warning, "proxies of default at 1.28.0"},
		{"proxies three minors behind", version("1.24.0"), "", "SRN1318", check.Warning, "proxies of default at 1.24.0"},
		{"a Gateway that names nothing", gateway("nope"), "", "SRN1319", check.Warning, "gateway web/public"},
		{"S-27: a Gateway frozen for too long", func(s *mesh.Snapshot) {
			s.Edge.Gateways = append(s.Edge.Gateways, mesh.GatewayObject{Namespace: "web", Name: "public", Class: "istio", Frozen: "serin-1", Since: "2026-03-01T07:00:00Z", Overdue: true})
		}, "", "SRN1413", check.Warning, "gateway.gateway.networking.k8s.io web/public"},
		{"S-34: a Telemetry left behind", func(s *mesh.Snapshot) {
			s.Telemetries = []mesh.Telemetry{{Namespace: "web", Name: "serin-logs-a"}, {Namespace: "web", Name: "serin-logs-b", Left: true}}
		}, "", "SRN1424", check.Warning, "telemetry web/serin-logs-b"},
		{"an image of its own", func(s *mesh.Snapshot) {
			s.Workloads[0].TemplateAnnotations = map[string]string{"sidecar.istio.io/proxyImage": "me/proxy:1"}
		}, "", "SRN1320", check.Warning, "workload default/details-v1"},
		{"a known bug and a Gateway", gateway(""), "1.29.1", "SRN1321", check.Warning, "version 1.29.1"},
		{"native sidecars", func(s *mesh.Snapshot) { s.Survey.Nodes.OldestKubelet = "v1.33.1" }, "1.27.0", "SRN2704", check.Warning, "version 1.27.0"},
		{"a variable that is gone", func(s *mesh.Snapshot) {
			s.ControlPlanes[0].Version = "1.25.0"
			s.Survey.Istiods["default"].Env["ENABLE_AUTO_SNI"] = "false"
		}, "1.27.0", "SRN1323", check.Warning, "revision default"},
		{"a variable of proxies that is gone", func(s *mesh.Snapshot) {
			s.ControlPlanes[0].Version = "1.26.0"
			s.Survey.MeshConfigs["default"]["defaultConfig"] = map[string]any{"proxyMetadata": map[string]any{"ENABLE_DEFERRED_STATS_CREATION": "false"}}
		}, "1.28.0", "SRN1323", check.Warning, "revision default"},
		{"a value that is gone", func(s *mesh.Snapshot) {
			s.ControlPlanes[0].Version = "1.23.0"
			i := slices.IndexFunc(s.Releases, func(r mesh.Release) bool { return r.Chart == "istiod" })
			s.Releases[i].Values = map[string]any{"istio_cni": map[string]any{"enabled": true}}
		}, "1.24.0", "SRN1323", check.Warning, "revision default"},
		{"a workload that stops when told to", func(s *mesh.Snapshot) { s.Workloads[0].Template.Drains = false }, "", "SRN1327", check.Info, "namespace default"},
		{"a workload whose only pod goes first", func(s *mesh.Snapshot) { s.Workloads[0].MaxSurge = 0 }, "", "SRN1327", check.Info, "namespace default"},
		{"S-36: a pod that was let go and left", func(s *mesh.Snapshot) { s.Pods[0].Detached = true }, "", "SRN1068", check.Warning, "pod default/details-v1-0"},
		{"a workload without a readiness probe", func(s *mesh.Snapshot) { s.Workloads[0].Template.Probed = false }, "", "SRN1327", check.Info, "namespace default"},
		{"sidecars of before the nodes' upgrade", func(s *mesh.Snapshot) {
			s.Survey.Nodes.OldestKubelet, s.Survey.PlainProxies = "v1.33.1", []string{"shop/cart", "shop/api"}
		}, "1.29.1", "SRN1324", check.Warning, "workload shop/api and 1 more"},
		{"S-19: an injector outside of the cluster", func(s *mesh.Snapshot) {
			s.Injectors[0].Webhooks[0].Service = "https://istiod.example.com/inject"
		}, "", "SRN1040", check.Mandatory, "injector istio-sidecar-injector"},
		{"S-19: an istiod for other clusters", func(s *mesh.Snapshot) {
			s.Survey.Istiods["default"].Env["EXTERNAL_ISTIOD"] = "true"
		}, "1.29.1", "SRN1040", check.Mandatory, "revision default"},
		{"what could not be seen", func(s *mesh.Snapshot) { s.Survey.Unseen = []string{"nodes: not permitted"} }, "", "SRN1322", check.Warning, "nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			find := func(s mesh.Snapshot) (check.Finding, bool) {
				fs := check.Look(s, target(tt.to))
				i := slices.IndexFunc(fs, func(f check.Finding) bool { return f.Code == tt.code && f.Object == tt.object })
				if i < 0 {
					return check.Finding{}, false
				}
				return fs[i], true
			}
			if f, found := find(before(tt.code)); found {
				t.Errorf("it fires on a mesh that is well: %+v", f)
			}
			s := before(tt.code)
			tt.wrong(&s)
			f, found := find(s)
			if !found {
				t.Fatalf("no %s about %s in %+v", tt.code, tt.object, check.Look(s, target(tt.to)))
			}
			if f.Severity != tt.sev || f.Reason == "" || f.Remedy == "" && f.Severity != check.Info {
				t.Errorf("%+v, want it %s, with a reason and a remedy", f, tt.sev)
			}
		})
	}
}

// before is the mesh that is well, at the version the case is about.
func before(code string) mesh.Snapshot {
	s := well()
	if code == "SRN2704" {
		s.ControlPlanes[0].Version = "1.26.0"
		for i := range s.Pods {
			s.Pods[i].Version = "1.26.0"
		}
	}
	return s
}

func version(v string) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) { s.Pods[0].Version = v }
}

func gateway(rev string) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) {
		s.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "web", Name: "public", Revision: rev}}
	}
}

// overlapping has a default tag of another revision beside an unrevisioned injector that is on.
func overlapping(v *mesh.Survey) *mesh.Snapshot {
	s := meshtest.Bookinfo("1.27.0").ControlPlane("canary", "1.28.0").Snapshot()
	s.Injectors = append(s.Injectors, mesh.TagInjector("default", "canary", "istio-system"))
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return strings.Compare(a.Name, b.Name) })
	s.Survey = v
	return &s
}

// Sidecars stay plain where somebody said so, and where the nodes cannot run others.
func TestChecks_sidecarsThatStayPlain(t *testing.T) {
	for name, change := range map[string]func(*mesh.Snapshot){
		"an older node":  func(s *mesh.Snapshot) { s.Survey.Nodes.OldestKubelet = "v1.32.9" },
		"switched off":   func(s *mesh.Snapshot) { s.Survey.Istiods["default"].Env["ENABLE_NATIVE_SIDECARS"] = "false" },
		"the note's own": func(s *mesh.Snapshot) { s.ControlPlanes[0].Version = "1.26.0" },
	} {
		s := well()
		s.Survey.Nodes.OldestKubelet, s.Survey.PlainProxies = "v1.33.1", []string{"shop/cart"}
		change(&s)
		if fs := check.Look(s, target("1.29.1")); slices.ContainsFunc(fs, func(f check.Finding) bool { return f.Code == "SRN1324" }) {
			t.Errorf("%s: %+v", name, fs)
		}
	}
}

func TestChecks_areQuietOnAMeshThatIsWell(t *testing.T) {
	for _, to := range []string{"", "1.27.1", "1.29.1", "1.99.0", "nonsense"} {
		for _, f := range check.Look(well(), target(to)) {
			if f.Code < "SRN2" && f.Severity != check.Info {
				t.Errorf("to %q: %+v", to, f)
			}
		}
	}
}

// Law 2: nothing is said of what nobody looked at, and an upgrade note then cannot be told.
func TestChecks_withoutASurvey(t *testing.T) {
	s := well()
	s.Survey = nil
	for _, f := range check.Look(s, target("1.29.1")) {
		if f.Blocking() {
			t.Errorf("%+v", f)
		}
	}
	if n := check.Notes(s, target("1.29.1")); len(n) == 0 {
		t.Error("the notes are listed all the same")
	}
}

// Every code in the code has its meaning, and the manual lists them all.
func TestCatalog_isWhole(t *testing.T) {
	docs := map[string]check.Doc{}
	for _, d := range check.Catalog() {
		if docs[d.Code].Code != "" || d.What == "" || d.Link == "" {
			t.Errorf("a code stands once, with a meaning and a link: %+v", d)
		}
		docs[d.Code] = d
	}
	files, err := filepath.Glob("../plan/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range append(files, "codes.go") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile(`= "(SRN\d{4})"`).FindAllStringSubmatch(string(text), -1) {
			if _, ok := docs[code[1]]; !ok {
				t.Errorf("%s of %s is not in the catalog", code[1], file)
			}
		}
	}
	file := filepath.Join("..", "..", "docs", "findings.md")
	want := page(check.Catalog())
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("docs/findings.md is not what the catalog says (%v): UPDATE_DOCS=1 go test ./internal/check writes it", err)
	}
	if d := check.Lookup("SRN9999"); d.Link == "" {
		t.Error("an unknown code has its page")
	}
}

func page(docs []check.Doc) string {
	var b strings.Builder
	b.WriteString("# Findings\n\nWhat each code of `serin precheck` and `serin plan` means. A code keeps its meaning for ever.\n" +
		"*mandatory* and *overridable* findings stop a plan; `--ignore-check CODE` makes a warning of an overridable one. A *refusal* ends the\n" +
		"command, or the step, that says it. Where a code has several severities the finding says which; its own remedy names the objects.\n" +
		"Beside a code stand those of istioctl that say the same. Codes from SRN2201 on are entries of Istio's own upgrade notes\n" +
		"and changed defaults: the first two digits name the minor release, SRN2704 is of 1.27.\n\n| code | severity | means | remedy | istioctl |\n|---|---|---|---|---|\n")
	for _, d := range docs {
		code := fmt.Sprintf("<a id=%q></a>%s", strings.ToLower(d.Code), d.Code)
		if !strings.Contains(d.Link, "/docs/findings.md#") {
			code = fmt.Sprintf("[%s](%s)", d.Code, d.Link)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code, strings.Join(d.Severity, ", "), d.What, strings.ReplaceAll(d.Remedy, "|", `\|`), d.Istio)
	}
	return b.String()
}

// The method that would save them is named: detaching, where every fence allows it.
func TestRollouts_sayWhatWouldSaveThem(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*mesh.Snapshot)
		want   string
	}{
		"all": {func(*mesh.Snapshot) {}, "restart them by detaching: --restarts auto; or a preStop hook that sleeps for some seconds"},
		"one retires": {
			func(s *mesh.Snapshot) {
				s.Workloads[0].Kind, s.Workloads[0].Replicas, s.Workloads[0].MaxSurge = mesh.KindStatefulSet, 3, 0
			},
			"--restarts auto detaches productpage-v1 (one pod), and retires details-v1, out of their endpoints before they go; or a preStop hook that sleeps for some seconds",
		},
		"some": {
			func(s *mesh.Snapshot) { s.Workloads[0].Template.Scaler = "cart" },
			"--restarts auto detaches productpage-v1 (one pod); the others need a preStop hook that sleeps for some seconds",
		},
		"none": {
			func(s *mesh.Snapshot) { s.Survey.Selectors.Unseen = []string{"networkpolicies: not permitted"} },
			"a preStop hook that sleeps for some seconds; their pods cannot be detached: what selects its pods could not be seen: networkpolicies: not permitted",
		},
	} {
		s := well()
		s.Workloads[0].Template.Drains, s.Workloads[1].Template.Drains = false, false
		tt.change(&s)
		var got []string
		for _, f := range check.Look(s, check.Question{}) {
			if f.Code == "SRN1327" {
				got = append(got, f.Remedy)
			}
		}
		if !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Each cause is named, with the workloads that have it and what would save them: no
// probe, no preStop, one pod, one pod that goes before the next one comes.
func TestRollouts_nameEachCause(t *testing.T) {
	s := well()
	bare, sudden, alone := &s.Workloads[0], &s.Workloads[1], &s.Workloads[2]
	bare.Template.Probed, bare.Template.Drains = false, false
	sudden.Template.Drains, sudden.Replicas = false, 2
	alone.Strategy = "Recreate"
	got := map[string]string{}
	for _, f := range check.Look(s, check.Question{}) {
		if f.Code == "SRN1327" {
			who, what, _ := strings.Cut(f.Reason, ": ")
			got[who] = what[:20] + "… " + f.Remedy[:20]
		}
	}
	want := map[string]string{
		bare.Name + " (one pod)":                 "no readiness probe s… give them a readines",
		bare.Name + " (one pod), " + sudden.Name: "nothing waits before… restart them by deta",
		alone.Name + " (one pod)":                "their only pod goes … run two, or let it s",
	}
	if !maps.Equal(want, got) {
		t.Errorf("got %v, want %v", got, want)
	}
}
