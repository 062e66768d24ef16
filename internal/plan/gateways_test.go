package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func bound(revision string) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) {
		s.Edge.Gateways = append(s.Edge.Gateways, mesh.GatewayObject{
			Namespace: "istio-ingress", Name: "manual", Class: "istio", Controller: mesh.ControllerGateway, Bound: []string{"istio-ingress"}, Revision: revision,
		})
	}
}

// R§4: what nobody, or two revisions, would program at some step makes the plan refuse.
func TestR4_aGatewayIsProgrammedByOneAtEveryStep(t *testing.T) {
	two := func() *meshtest.World { return meshtest.Bookinfo("1.27.0").ControlPlane("stays", "1.28.0") }
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		want  string // in the finding; empty is none
	}{
		{"it follows the default, which the old istiod claims to its end", meshtest.Bookinfo("1.27.0").Change(bound("")), "1-29-1 and default both program it after step"},
		{"it follows the old revision, which goes", meshtest.Bookinfo("1.27.0").Change(bound("default")), "both program it"},
		{"it follows a revision that stays", two().Change(bound("stays")), ""},
		{"it names nothing, which is no affair of the plan", two().Change(bound("nothing")), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), plan.Request{To: "1.29.1", From: []string{"default"}, IgnoreChecks: []string{"SRN1060"}})
			i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1402" })
			switch {
			case tt.want == "" && (i >= 0 || len(p.Steps) == 0):
				t.Errorf("want steps and no such finding, got %d steps and %+v", len(p.Steps), p.Findings)
			case tt.want != "" && (i < 0 || len(p.Steps) > 0 || !strings.Contains(p.Findings[i].Reason, tt.want)):
				t.Errorf("want no steps and the finding %q, got %d steps and %+v", tt.want, len(p.Steps), p.Findings)
			}
		})
	}
}

func TestGateways_whatARestartDoesNotMove(t *testing.T) {
	for _, tt := range []struct {
		name string
		with func(*mesh.Workload)
		code string
		sev  plan.Severity
	}{
		{"S-33: its image is in its template", func(w *mesh.Workload) {
			w.TemplateAnnotations, w.TemplateLabels[mesh.InjectLabel] = nil, "false"
			w.Proxy = &mesh.TemplateProxy{Image: "istio/proxyv2:1.27.0", Role: "router", Alone: true}
		}, "SRN1403", plan.Overridable},
		{"two replicas without surge", func(w *mesh.Workload) { w.Replicas, w.MaxSurge, w.MaxUnavailable = 2, 0, 1 }, "SRN1404", plan.Overridable},
		{"one replica without surge", func(w *mesh.Workload) { w.MaxSurge, w.MaxUnavailable = 0, 1 }, "SRN1050", plan.Overridable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").Namespace("default", mesh.InjectionLabel, "enabled").Deployment("default", "app").
				Namespace("edge").Gateway("edge", "gw", meshtest.On("default"), meshtest.With(tt.with)).Snapshot()
			p := plan.Build(s, plan.Request{To: "1.29.1", IgnoreChecks: []string{"SRN1060"}})
			i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Code == tt.code })
			if i < 0 || p.Findings[i].Severity != tt.sev || len(p.Steps) > 0 {
				t.Errorf("want %s %s and no steps, got %d steps and %+v", tt.sev, tt.code, len(p.Steps), p.Findings)
			}
		})
	}
}

// twoGateways are a release of the gateway chart, and one that serin added, open,
// behind the same Service.
func twoGateways() *meshtest.World {
	theirs := func(name string) mesh.Owner { return mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-ingress/" + name} }
	return meshtest.Bookinfo("1.27.0").ControlPlane("1-29-1", "1.29.1").
		Gateway("istio-ingress", "second", meshtest.Labels(mesh.RevLabel, "1-29-1"), meshtest.With(func(w *mesh.Workload) {
			w.Owner, w.Gated, w.Services, w.TemplateLabels["app"] = theirs("second"), true, []string{"istio-ingress/istio-ingress"}, "istio-ingress"
		})).
		Change(func(s *mesh.Snapshot) {
			s.Edge.Services, s.Edge.Gateways = s.Edge.Services[:1], s.Edge.Gateways[:1]
			s.Edge.Services[0].Owner = theirs("istio-ingress")
			for i := range s.Workloads {
				if s.Workloads[i].Name == "istio-ingress" {
					s.Workloads[i].Owner, s.Workloads[i].Proxy.Account = theirs("istio-ingress"), "istio-ingress"
				}
			}
			for _, name := range []string{"istio-ingress", "second"} {
				s.Releases = append(s.Releases, mesh.Release{Namespace: "istio-ingress", Name: name, Chart: "gateway", Version: "1.27.0", Status: "deployed"})
			}
		})
}

func gatewayPlan(w *meshtest.World, o plan.Operation) plan.Plan {
	o.Namespace = "istio-ingress"
	return plan.Build(w.Snapshot(), plan.Request{Operation: &o})
}

// S-30, S-31: a second release has no Service, account, role, scaler or budget of its own.
func TestS31_aSecondGatewayTakesOnlyWhatItMay(t *testing.T) {
	p := gatewayPlan(twoGateways(), plan.Operation{Verb: plan.GatewayAdd, Name: "istio-ingress", Revision: "1-29-1", To: "third"})
	if len(p.Steps) != 1 || p.Steps[0].Like != "istio-ingress" || p.Steps[0].Version != "1.29.1" {
		t.Fatalf("%+v %+v", p.Steps, p.Findings)
	}
	v := p.Steps[0].Release.Values
	for path, want := range map[string]any{
		"service.type": "None", "serviceAccount.create": false, "serviceAccount.name": "istio-ingress", "rbac.enabled": false,
		"autoscaling.enabled": false, "labels.app": "istio-ingress", "revision": "1-29-1", "name": "third", "podDisruptionBudget": nil,
	} {
		outer, inner, nested := strings.Cut(path, ".")
		got, there := v[outer]
		if nested {
			got, there = v[outer].(map[string]any)[inner], true
		}
		if !there || got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

func TestGateways_whatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		o     plan.Operation
		code  string
	}{
		{"S-28: the namespace's label would give it another revision", twoGateways().Change(func(s *mesh.Snapshot) {
			for i := range s.Namespaces {
				if s.Namespaces[i].Name == "istio-ingress" {
					s.Namespaces[i].Labels[mesh.RevLabel] = "default"
				}
			}
		}), plan.Operation{Verb: plan.GatewayAdd, Name: "istio-ingress", Revision: "1-29-1", To: "third"}, "SRN1031"},
		{"a Service that would not select it", twoGateways().Change(func(s *mesh.Snapshot) {
			s.Edge.Services[0].Selector = map[string]string{"app": "istio-ingress", mesh.RevLabel: "default"}
		}), plan.Operation{Verb: plan.GatewayAdd, Name: "istio-ingress", Revision: "1-29-1", To: "third"}, "SRN1405"},
		{"its name is taken", twoGateways(), plan.Operation{Verb: plan.GatewayAdd, Name: "istio-ingress", Revision: "default", To: "second"}, "SRN1206"},
		{"draining the only one that is ready", twoGateways().Change(func(s *mesh.Snapshot) {
			for i := range s.Workloads {
				if s.Workloads[i].Gated {
					s.Workloads[i].Ready = 0
				}
			}
		}), plan.Operation{Verb: plan.GatewayDrain, Name: "istio-ingress"}, "SRN1404"},
		{"shifting one that is not held", twoGateways(), plan.Operation{Verb: plan.GatewayShift, Name: "istio-ingress", Pods: "1"}, "SRN1405"},
		{"S-32: restoring one whose tag has moved", twoGateways(), plan.Operation{Verb: plan.GatewayRestore, Name: "istio-ingress", Revision: "1-29-1"}, "SRN1031"},
		{"S-31: removing the one that holds the Service", twoGateways().Change(func(s *mesh.Snapshot) {
			for i := range s.Workloads {
				s.Workloads[i].Gated = s.Workloads[i].Gated || s.Workloads[i].Name == "istio-ingress"
			}
		}), plan.Operation{Verb: plan.GatewayRemove, Name: "istio-ingress"}, "SRN1405"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := gatewayPlan(tt.world, tt.o)
			if len(p.Steps) > 0 || !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == tt.code && f.Severity == plan.Mandatory }) {
				t.Errorf("want %s and no steps, got %d steps and %+v", tt.code, len(p.Steps), p.Findings)
			}
		})
	}
}

// R§4, R§9.3: pods behind a Gateway of the Gateway API that another revision programs
// serve nothing of it, and there is a step of every plan at which it would be so.
func TestR4_podsOfWhatIsBoundAreProgrammedAtEveryStep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		want  bool
	}{
		{"its tag moves after its pods", meshtest.Bookinfo("1.27.0").Tag("prod", "default").Change(bound("prod")), true},
		{"it follows a revision that stays, and its pods too", meshtest.Bookinfo("1.27.0").ControlPlane("stays", "1.28.0").Change(bound("stays")).Change(func(s *mesh.Snapshot) {
			for i, w := range s.Workloads {
				if w.Name == "istio-ingress" {
					s.Workloads[i].TemplateLabels[mesh.RevLabel] = "stays"
				}
			}
		}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), plan.Request{To: "1.29.1", From: []string{"default"}, IgnoreChecks: []string{"SRN1060"}})
			f, ok := code(p, "SRN1415")
			if ok != tt.want || tt.want && (f.Severity != plan.Mandatory || len(p.Steps) > 0) {
				t.Errorf("%v, %d steps: %+v", ok, len(p.Steps), p.Findings)
			}
		})
	}
}

// S-26: a default of the class that would change at the removal is said before.
func TestS26_classesThatDiffer(t *testing.T) {
	classes := map[string]any{"istio": map[string]any{"deployment": map[string]any{"spec": map[string]any{"minReadySeconds": 5}}}}
	for _, tt := range []struct {
		name string
		ask  func(*plan.Request)
		want bool
	}{
		{"as they are", func(*plan.Request) {}, false},
		{"others", func(r *plan.Request) { r.Values = map[string]any{"gatewayClasses": classes} }, true},
		{"others, and the old revision stays", func(r *plan.Request) { r.Values, r.Keep = map[string]any{"gatewayClasses": classes}, true }, false},
		{"of a file, beside values that nobody knows", func(r *plan.Request) {
			r.Operator = map[string]any{"spec": map[string]any{"values": map[string]any{"gatewayClasses": classes}}}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(three().Snapshot(), renderedRequest(tt.ask))
			if f, ok := code(p, "SRN1414"); ok != tt.want || ok && f.Severity != plan.Overridable {
				t.Errorf("%v: %+v", ok, p.Findings)
			}
		})
	}
}

// S-19: a waypoint is refused, and the reason says what it is.
func TestS19_aWaypointSaysWhy(t *testing.T) {
	s := three().Change(func(s *mesh.Snapshot) {
		for i, g := range s.Edge.Gateways {
			if g.Managed {
				s.Edge.Gateways[i].Class, s.Edge.Gateways[i].Controller = "istio-waypoint", mesh.ControllerWaypoint
			}
		}
	}).Snapshot()
	p := plan.Build(s, renderedRequest(nil))
	if f, ok := code(p, "SRN1041"); !ok || f.Severity != plan.Mandatory || !strings.Contains(f.Reason, "waypoint") || !strings.Contains(f.Reason, "ztunnel") || len(p.Steps) > 0 {
		t.Errorf("%+v", p.Findings)
	}
}
