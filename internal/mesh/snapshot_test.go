package mesh_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

func TestClone_sharesNothing(t *testing.T) {
	w := meshtest.Bookinfo("1.28.0").Tag("default", "default").Change(func(s *mesh.Snapshot) {
		s.Workloads[0].Budget = &mesh.Budget{Name: "b", DisruptionsAllowed: 1}
		s.Releases[0].Values["nested"] = map[string]any{"list": []any{map[string]any{"a": "b"}}, "strings": []string{"x"}}
	})
	s, untouched := w.Snapshot(), w.Snapshot()
	c := s.Clone()
	if d := cmp.Diff(s, c); d != "" {
		t.Fatalf("a clone is equal:\n%s", d)
	}
	c.ControlPlanes[0].Ready = 0
	c.Injectors[0].Webhooks[0].Service = "x"
	c.Injectors[0].Webhooks[0].NamespaceSelector.MatchExpressions[0].Values[0] = "x"
	c.Validators[0].Revision = "x"
	c.TagServices[0].Revision = "x"
	c.Namespaces[0].Labels["x"] = "x"
	c.Workloads[0].TemplateLabels["x"] = "x"
	c.Workloads[0].Services[0] = "x"
	c.Workloads[0].Budget.Name = "x"
	c.Pods[0].Labels["x"] = "x"
	nested := c.Releases[0].Values["nested"].(map[string]any)
	nested["list"].([]any)[0].(map[string]any)["a"] = "x"
	nested["strings"].([]string)[0] = "x"
	c.CRDs[0].StoredVersions[0] = "x"
	c.RoutedServices[0] = "x"
	if d := cmp.Diff(untouched, s); d != "" {
		t.Errorf("changing the clone changed the original:\n%s", d)
	}
}

func TestTags(t *testing.T) {
	world := func() *meshtest.World {
		return meshtest.New().Base("1.29.1", "default").ControlPlane("default", "1.27.0").ControlPlane("new", "1.29.1")
	}
	if got := world().Snapshot().Tags(); len(got) != 0 {
		t.Errorf("a validator alone makes no tag, got %v", got)
	}
	s := world().Tag("default", "new").Tag("prod", "default").Snapshot()
	want := []mesh.Tag{
		{Name: "default", Revision: "new", Injector: "istio-revision-tag-default", Service: "new", Validator: "new", Owner: mesh.Owner{Kind: mesh.OwnerNone}},
		{Name: "prod", Revision: "default", Injector: "istio-revision-tag-prod", Owner: mesh.Owner{Kind: mesh.OwnerNone}},
	}
	if d := cmp.Diff(want, s.Tags()); d != "" {
		t.Error(d)
	}
	for name, spoil := range map[string]func(*mesh.Snapshot){
		"service":   func(s *mesh.Snapshot) { s.TagServices[0].Revision = "default" },
		"validator": func(s *mesh.Snapshot) { v(s, mesh.DefaultValidator).Revision = "default" },
		"label and entries of the injector": func(s *mesh.Snapshot) {
			for i := range s.Injectors {
				if s.Injectors[i].Tag == "default" {
					s.Injectors[i].Webhooks[2].Service = "istio-system/istiod"
				}
			}
		},
	} {
		s := world().Tag("default", "new").Snapshot()
		spoil(&s)
		if tag, ok := s.Tag("default"); !ok || !tag.Split {
			t.Errorf("S-2: %s disagrees and the tag does not show it: %+v", name, tag)
		}
	}
	alone := world().Change(func(s *mesh.Snapshot) {
		s.TagServices = []mesh.TagService{{Name: "istiod-revision-tag-x", Tag: "x", Revision: "new"}}
	}).Snapshot()
	if tag, ok := alone.Tag("x"); !ok || tag.Injector != "" || tag.Revision != "new" {
		t.Errorf("a Service without an injector: %+v", tag)
	}
	if _, ok := alone.Tag("nothing"); ok {
		t.Error("found a tag that is not there")
	}
}

func v(s *mesh.Snapshot, name string) *mesh.Validator {
	for i := range s.Validators {
		if s.Validators[i].Name == name {
			return &s.Validators[i]
		}
	}
	return &mesh.Validator{}
}

func TestResolve_aTagHidesTheRevisionOfItsName(t *testing.T) {
	w := meshtest.New().ControlPlane("default", "1.27.0").ControlPlane("new", "1.29.1")
	s := w.Snapshot()
	if got := s.Resolve("default"); got != "default" {
		t.Errorf("without a tag: %q", got)
	}
	s = w.Tag("default", "new").Snapshot()
	if got := s.Resolve("default"); got != "new" {
		t.Errorf("with a tag: %q", got)
	}
	if got := s.Resolve("nothing"); got != "" {
		t.Errorf("a name of nothing: %q", got)
	}
}

func TestOrphans(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*mesh.Snapshot)
		want  string
	}{
		{"a mesh that is well", func(*mesh.Snapshot) {}, ""},
		{"its control plane is not ready", func(s *mesh.Snapshot) { s.ControlPlanes[0].Ready = 0 }, "namespace default: injected by revision default, which is not ready"},
		{"its control plane is gone", func(s *mesh.Snapshot) { s.ControlPlanes = nil }, "pod default/details-v1-0: runs on revision default"},
		{"its injector is gone", func(s *mesh.Snapshot) { s.Injectors = nil }, "namespace default: its labels ask for injection and nothing answers"},
		{"its label names nothing", func(s *mesh.Snapshot) { ns(s, "default").Labels = map[string]string{mesh.RevLabel: "nope"} }, "namespace default: its labels ask"},
		{"a tag leads to nothing", func(s *mesh.Snapshot) {
			s.Injectors = append(s.Injectors, mesh.TagInjector("p", "gone", "istio-system"))
		}, "injector istio-revision-tag-p: calls revision gone"},
		{"a tag's Service leads to nothing", func(s *mesh.Snapshot) { s.TagServices = []mesh.TagService{{Name: "t", Tag: "p", Revision: "gone"}} }, "service t: selects revision gone"},
		{"a validator leads to nothing", func(s *mesh.Snapshot) { v(s, mesh.DefaultValidator).Revision = "gone" }, "validator istiod-default-validator: calls revision gone"},
		{"a template names nothing", func(s *mesh.Snapshot) { gateway(s).TemplateLabels = map[string]string{mesh.RevLabel: "nope"} }, `workload istio-ingress/istio-ingress: its label istio.io/rev names "nope"`},
		{"two revisions inject", func(s *mesh.Snapshot) {
			s.ControlPlanes = append(s.ControlPlanes, mesh.ControlPlane{Revision: "new", Ready: 1})
			s.Injectors = append(s.Injectors, mesh.TagInjector("default", "new", "istio-system"))
		}, "workload istio-ingress/istio-ingress: its pods are injected by different revisions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := meshtest.Bookinfo("1.27.0").Snapshot()
			tt.spoil(&s)
			got := strings.Join(s.Orphans(), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got:\n%s\nwant: %s", got, tt.want)
			}
		})
	}
}

func ns(s *mesh.Snapshot, name string) *mesh.Namespace {
	for i := range s.Namespaces {
		if s.Namespaces[i].Name == name {
			return &s.Namespaces[i]
		}
	}
	return &mesh.Namespace{}
}

func gateway(s *mesh.Snapshot) *mesh.Workload {
	for i := range s.Workloads {
		if s.Workloads[i].Gateway() {
			return &s.Workloads[i]
		}
	}
	return &mesh.Workload{}
}

func kinds(objects []mesh.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.Kind+" "+o.Name)
	}
	return out
}

func TestS54_References(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").ControlPlane("new", "1.29.1").Tag("prod", "default").Namespace("shop", mesh.RevLabel, "prod").Change(func(s *mesh.Snapshot) {
		s.PinnedObjects = []mesh.Object{{Kind: "VirtualService", Namespace: "shop", Name: "v", Revision: "default"}}
		s.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "shop", Name: "g"}}
		s.TagServices = []mesh.TagService{{Name: "istiod-revision-tag-prod", Tag: "prod", Revision: "default"}}
		s.Unsupported = []mesh.Object{{Kind: "WorkloadGroup", Namespace: "shop", Name: "vm", Revision: "default"}}
		s.Releases = append(
			s.Releases,
			mesh.Release{Namespace: "shop", Name: "egress", Chart: "gateway", Values: map[string]any{"revision": "default"}},
			mesh.Release{Namespace: "shop", Name: "ztunnel", Chart: "ztunnel", Values: map[string]any{"env": []any{map[string]any{"xds": "istiod.istio-system.svc:15012"}}}},
		)
	}).Snapshot()
	want := []string{
		"Deployment istio-ingress", "Gateway g", "HelmRelease istio-base", "HelmRelease egress", "HelmRelease ztunnel", "Namespace default", "Namespace shop",
		"Pod details-v1-0", "Pod productpage-v1-0", "Pod ratings-v1-0", "Pod reviews-v1-0", "Pod reviews-v2-0", "Pod reviews-v3-0", "Pod istio-ingress-0",
		"Service istiod-revision-tag-prod", "Tag prod", "ValidatingWebhookConfiguration istiod-default-validator", "VirtualService v", "WorkloadGroup vm",
	}
	if d := cmp.Diff(want, kinds(s.References("default"))); d != "" {
		t.Error(d)
	}
	if got := kinds(s.References("new")); len(got) != 0 {
		t.Errorf("a revision that nothing follows, nor its own objects: %v", got)
	}
}

func TestS54_aLabelThatNamesATagIsNoReference(t *testing.T) {
	s := meshtest.New().Base("1.29.1", "new").ControlPlane("default", "1.27.0").ControlPlane("new", "1.29.1").Tag("default", "new").
		Namespace("shop", mesh.RevLabel, "default").Deployment("shop", "cart").
		Namespace("edge").Gateway("edge", "gw", meshtest.Labels(mesh.RevLabel, "default")).Snapshot()
	if got := kinds(s.References("default")); len(got) != 0 {
		t.Errorf("everything follows the tag, which is on new; got %v", got)
	}
}

func TestS03_aBaseReleaseWithoutTheValueNamesTheDefault(t *testing.T) {
	s := mesh.Snapshot{Releases: []mesh.Release{{Namespace: "istio-system", Name: "base", Chart: "base"}}}
	if got := kinds(s.References("default")); len(got) != 1 {
		t.Errorf("the chart's own default counts: %v", got)
	}
}

func TestGatewayRevision(t *testing.T) {
	s := meshtest.New().ControlPlane("default", "1.27.0").ControlPlane("new", "1.29.1").Tag("prod", "new").Namespace("a", mesh.RevLabel, "prod").Namespace("b").Snapshot()
	for _, tt := range []struct {
		g    mesh.Object
		want string
	}{
		{mesh.Object{Namespace: "a"}, "new"},
		{mesh.Object{Namespace: "b"}, "default"},
		{mesh.Object{Namespace: "a", Revision: "default"}, "default"},
	} {
		if got := s.GatewayRevision(tt.g); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.g, got, tt.want)
		}
	}
}

func TestS51_Differences(t *testing.T) {
	a := meshtest.Bookinfo("1.27.0").Snapshot()
	b := a.Clone()
	b.ControlPlanes[0].Ready = 1
	b.Injectors[0].Webhooks[0].CABundle = false
	b.Validators[0].FailurePolicy = "Ignore"
	b.Workloads[0].Ready, b.Workloads[0].Settled = 0, false
	b.Workloads[0].Budget = nil
	b.Pods[0].Name = "details-v1-other"
	b.CRDs = nil
	b.Releases[0].Version = "1.29.1" // of base: it carries the CRDs
	if d := a.Differences(b); len(d) != 0 {
		t.Errorf("these may differ: %v", d)
	}
	b.Pods[0].Revision = "new"
	b.Namespaces[0].Labels["x"] = "y"
	b.Releases[1].Version = "1.29.1"
	b.Singletons = []mesh.Singleton{{Name: "ztunnel"}}
	b.Validators = b.Validators[1:]
	if d := a.Differences(b); len(d) != 6 {
		t.Errorf("want six differences, got %d:\n%s", len(d), strings.Join(d, "\n"))
	}
}

func TestRef_String(t *testing.T) {
	for want, r := range map[string]mesh.Ref{
		"a/b": {Kind: mesh.KindDeployment, Namespace: "a", Name: "b"}, "statefulset a/b": {Kind: mesh.KindStatefulSet, Namespace: "a", Name: "b"},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
