package mesh_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

// gatewayAPI adds a Gateway of the Gateway API.
func gatewayAPI(g mesh.GatewayObject) func(*mesh.Snapshot) {
	if g.Class == "" {
		g.Class, g.Controller = "istio", mesh.ControllerGateway
	}
	g.Listeners = []mesh.Listener{{Name: "http", Port: 80, Protocol: "HTTP"}}
	return func(s *mesh.Snapshot) { s.Edge.Gateways = append(s.Edge.Gateways, g) }
}

func release(chart string) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) {
		s.Releases = append(s.Releases, mesh.Release{Namespace: "edge", Name: "gw", Chart: chart, Version: "1.27.0", Status: "deployed"})
	}
}

func owned(w *mesh.Workload) { w.Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: "edge/gw"} }

func legacy(w *mesh.Workload) {
	w.TemplateAnnotations, w.TemplateLabels[mesh.InjectLabel] = nil, "false"
	w.Proxy = &mesh.TemplateProxy{Image: "docker.io/istio/proxyv2:1.27.0", Role: "router", Alone: true}
}

func madeByIstiod(w *mesh.Workload) {
	w.TemplateAnnotations = nil
	w.TemplateLabels = map[string]string{mesh.ManagedLabel: "istio.io-gateway-controller", mesh.GatewayNameLabel: "public", mesh.InjectLabel: "false"}
	w.Proxy = &mesh.TemplateProxy{Image: "istio/proxyv2:1.27.0", Role: "router", Alone: true}
}

// Each shape is told by what is there: the name is the same in all cases.
func TestGateways_shapes(t *testing.T) {
	base := func() *meshtest.World {
		return meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").Namespace("edge")
	}
	for _, tt := range []struct {
		name    string
		world   *meshtest.World
		shape   mesh.Shape
		role    mesh.Role
		follows string
		next    string
	}{
		{"a release of the gateway chart", base().Gateway("edge", "gw", meshtest.With(owned)).Change(release("gateway")), mesh.ShapeHelm, mesh.RoleIngress, "pod label sidecar.istio.io/inject=true", "default"},
		{"of another chart", base().Gateway("edge", "gw", meshtest.With(owned)), mesh.ShapeInPlace, mesh.RoleIngress, "pod label sidecar.istio.io/inject=true", "default"},
		{"plain objects", base().Gateway("edge", "gw"), mesh.ShapeInPlace, mesh.RoleIngress, "pod label sidecar.istio.io/inject=true", "default"},
		{"plain objects that follow a tag", base().Tag("prod", "default").Gateway("edge", "gw", meshtest.Labels(mesh.RevLabel, "prod")), mesh.ShapeInPlace, mesh.RoleIngress, "pod label istio.io/rev=prod, tag prod", "default"},
		{"several templates", base().Gateway("edge", "gw", meshtest.With(func(w *mesh.Workload) { w.TemplateAnnotations[mesh.TemplatesAnnotation] = "gateway,tuned" })), mesh.ShapeInPlace, mesh.RoleIngress, "pod label sidecar.istio.io/inject=true", "default"},
		{"rendered by istioctl", base().Gateway("edge", "gw", meshtest.On("default"), meshtest.With(legacy)), mesh.ShapeRendered, mesh.RoleIngress, "its template's image", "default"},
		{"egress: the mesh's traffic is led to it", base().Gateway("edge", "gw").Change(func(s *mesh.Snapshot) { s.Edge.FromMesh = []string{"edge/gw"} }), mesh.ShapeInPlace, mesh.RoleEgress, "pod label sidecar.istio.io/inject=true", "default"},
		{"rendered egress", base().Gateway("edge", "gw", meshtest.On("default"), meshtest.With(legacy)).Change(func(s *mesh.Snapshot) { s.Edge.FromMesh = []string{"edge/gw"} }), mesh.ShapeRendered, mesh.RoleEgress, "its template's image", "default"},
		{"east-west", base().Gateway("edge", "gw").Change(func(s *mesh.Snapshot) { s.Edge.Gateways[0].Listeners[0].TLS = "AUTO_PASSTHROUGH" }), mesh.ShapeInPlace, mesh.RoleEastWest, "pod label sidecar.istio.io/inject=true", "default"},
		{
			"managed by istiod", base().Gateway("edge", "gw", meshtest.On("default"), meshtest.With(madeByIstiod)).Change(gatewayAPI(mesh.GatewayObject{Namespace: "edge", Name: "public", Managed: true})),
			mesh.ShapeManaged, mesh.RoleIngress, "the default", "default",
		},
		{
			"managed, by a label", base().Tag("prod", "default").Gateway("edge", "gw", meshtest.On("default"), meshtest.With(madeByIstiod)).
				Change(gatewayAPI(mesh.GatewayObject{Namespace: "edge", Name: "public", Managed: true, Revision: "prod"})),
			mesh.ShapeManaged, mesh.RoleIngress, "label istio.io/rev=prod", "default",
		},
		{"an application that a Gateway selects", base().Namespace("shop", "istio-injection", "enabled").Deployment("shop", "gw", meshtest.Service("gw")).Change(func(s *mesh.Snapshot) {
			s.Edge.Gateways = []mesh.GatewayObject{{Namespace: "shop", Name: "odd", Selector: map[string]string{"app": "gw"}}}
		}), mesh.ShapeUnknown, mesh.RoleIngress, "namespace label istio-injection=enabled", "default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := tt.world.Snapshot().Gateways()
			if len(all) != 1 {
				t.Fatalf("found %d gateways, want one: %+v", len(all), all)
			}
			g := all[0]
			if g.Shape != tt.shape || g.Role != tt.role || g.Follows != tt.follows || g.Next != tt.next {
				t.Errorf("shape %s role %s follows %q next %q, want %s, %s, %q, %q", g.Shape, g.Role, g.Follows, g.Next, tt.shape, tt.role, tt.follows, tt.next)
			}
			if len(g.Serves) != 1 {
				t.Errorf("serves %v, want its one Gateway", g.Serves)
			}
		})
	}
}

// A sidecar that kube-inject has written into a template, or an application whose
// Gateway selects nothing of it, is no gateway.
func TestGateways_noneOfThem(t *testing.T) {
	s := meshtest.New().ControlPlane("default", "1.27.0").Namespace("shop", "istio-injection", "enabled").
		Deployment("shop", "cart", meshtest.With(func(w *mesh.Workload) {
			w.Proxy = &mesh.TemplateProxy{Image: "istio/proxyv2:1.27.0", Role: "sidecar"}
		})).
		Change(func(s *mesh.Snapshot) {
			s.Edge.Gateways = []mesh.GatewayObject{{Namespace: "shop", Name: "all"}} // an empty selector takes every proxy
		}).Snapshot()
	if all := s.Gateways(); len(all) != 0 {
		t.Errorf("found %+v", all)
	}
}

func TestGateways_questions(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		want  string
	}{
		{"nobody injects it", meshtest.New().ControlPlane("canary", "1.27.0").Namespace("edge").Gateway("edge", "gw", meshtest.NoPods()), "nobody injects"},
		{"no Service", meshtest.New().ControlPlane("default", "1.27.0").Namespace("edge").Gateway("edge", "gw", meshtest.With(func(w *mesh.Workload) { w.Services = nil })), "no Service selects"},
		{"an umbrella chart", meshtest.New().ControlPlane("default", "1.27.0").Namespace("edge").Gateway("edge", "gw", meshtest.With(owned)), "not of Istio's gateway chart"},
		{"serves nothing", meshtest.New().ControlPlane("default", "1.27.0").Namespace("edge").Gateway("edge", "gw").Change(func(s *mesh.Snapshot) { s.Edge.Gateways = nil }), "what does it serve?"},
		{"a managed one without a Deployment", meshtest.New().ControlPlane("canary", "1.27.0").Namespace("edge").Change(gatewayAPI(mesh.GatewayObject{Namespace: "edge", Name: "public", Managed: true})), "nothing is deployed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := tt.world.Snapshot().Gateways()
			if len(all) != 1 || !slices.ContainsFunc(all[0].Questions, func(q string) bool { return strings.Contains(q, tt.want) }) {
				t.Errorf("want one gateway with the question %q, got %+v", tt.want, all)
			}
		})
	}
}

// R§4: who programs a Gateway of the Gateway API.
func TestProgrammers(t *testing.T) {
	two := func() *meshtest.World {
		return meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").ControlPlane("1-29-1", "1.29.1").Namespace("edge").Namespace("named", mesh.RevLabel, "prod")
	}
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		g     mesh.GatewayObject
		want  []string
	}{
		{"unlabelled", two(), mesh.GatewayObject{Namespace: "edge"}, []string{"default"}},
		{"unlabelled, the default tag moved: both until the old is gone", two().Tag("default", "1-29-1"), mesh.GatewayObject{Namespace: "edge"}, []string{"1-29-1", "default"}},
		{"unlabelled, the validator moved and no tag: both", two().Change(func(s *mesh.Snapshot) { s.Validators[0].Revision = "1-29-1" }), mesh.GatewayObject{Namespace: "edge"}, []string{"1-29-1", "default"}},
		{"its own label", two(), mesh.GatewayObject{Namespace: "edge", Revision: "1-29-1"}, []string{"1-29-1"}},
		{"its namespace's tag", two().Tag("prod", "1-29-1"), mesh.GatewayObject{Namespace: "named"}, []string{"1-29-1"}},
		{"a tag whose injector and Service disagree: both (R§2.1)", two().Tag("prod", "default").Change(func(s *mesh.Snapshot) {
			s.TagServices = append(s.TagServices, mesh.TagService{Name: "x", Tag: "prod", Revision: "1-29-1"})
		}), mesh.GatewayObject{Namespace: "named"}, []string{"1-29-1", "default"}},
		{"a label that names nothing", two(), mesh.GatewayObject{Namespace: "edge", Revision: "gone"}, nil},
		{"its istiods are not ready", two().Change(func(s *mesh.Snapshot) { s.ControlPlanes[1].Ready = 0 }), mesh.GatewayObject{Namespace: "edge", Revision: "default"}, []string{"default"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.world.Snapshot().Programmers(tt.g); !slices.Equal(got, tt.want) {
				t.Errorf("programmed by %v, want %v", got, tt.want)
			}
		})
	}
}
