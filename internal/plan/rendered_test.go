package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// renders makes a gateway of a world one that istioctl rendered at a revision.
func renders(rev string, more ...func(*mesh.Workload)) meshtest.Option {
	return meshtest.With(func(w *mesh.Workload) {
		w.TemplateAnnotations = nil
		w.TemplateLabels[mesh.InjectLabel], w.TemplateLabels[mesh.RevLabel] = "false", rev
		w.Proxy = &mesh.TemplateProxy{Image: "docker.io/istio/proxyv2:1.27.0", Role: "router", Alone: true}
		w.Owner = mesh.Owner{Kind: mesh.OwnerIstioctl}
		for _, f := range more {
			f(w)
		}
	})
}

// rendered is a mesh that istioctl installed, with an ingress gateway beside istiod.
func rendered(more ...func(*mesh.Workload)) mesh.Snapshot {
	return meshtest.ByIstioctl(meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").
		Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart").
		Gateway("istio-system", "istio-ingressgateway", meshtest.On("default"), meshtest.Replicas(2), renders("default", more...)).Snapshot())
}

func renderedRequest(change func(*plan.Request)) plan.Request {
	r := plan.Request{To: "1.29.1", IgnoreChecks: []string{"SRN1060"}}
	if change != nil {
		change(&r)
	}
	return r
}

func code(p plan.Plan, code string) (plan.Finding, bool) {
	i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Code == code })
	if i < 0 {
		return plan.Finding{}, false
	}
	return p.Findings[i], true
}

// S-33: a gateway that istioctl rendered is a step of the plan, before anything that
// depends on labels; its old revision goes in the end; and back all is as before.
func TestS33_aRenderedGatewayIsAStep(t *testing.T) {
	s := rendered()
	p := plan.Build(s, renderedRequest(nil))
	render, moves := order(p, plan.RenderGateway, "istio-system/istio-ingressgateway"), order(p, plan.MoveNamespace, "shop")
	if render < 0 || moves < render || order(p, plan.RemoveRevision, "default") < 0 {
		t.Fatalf("%v %+v", kinds(p), p.Findings)
	}
	if f, ok := code(p, "SRN1410"); !ok || f.Severity != plan.Warning {
		t.Errorf("that its file is not known is not said: %+v", p.Findings)
	}
	if _, ok := code(p, "SRN1403"); ok || p.Counts.Gateways != 1 {
		t.Errorf("%d gateways, %+v", p.Counts.Gateways, p.Findings)
	}
	now, states := s, []mesh.Snapshot{s}
	for _, st := range p.Steps {
		if len(plan.Missing(now, st)) == 0 && st.Kind == plan.RenderGateway {
			t.Error("before it nothing of it is missing")
		}
		now = plan.Simulate(now, st)
		states = append(states, now)
		if o := now.Orphans(); len(o) > 0 {
			t.Errorf("after step %d: %v", st.Number, o)
		}
		if m := plan.Missing(now, st); len(m) > 0 && st.Kind == plan.RenderGateway {
			t.Errorf("after step %d: %v", st.Number, m)
		}
	}
	w, _ := now.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "istio-system", Name: "istio-ingressgateway"})
	if w.Proxy.Image != "docker.io/istio/proxyv2:1.29.1" || w.TemplateLabels[mesh.RevLabel] != "1-29-1" {
		t.Errorf("%+v %v", w.Proxy, w.TemplateLabels)
	}
	st := p.Steps[render]
	if d := cmp.Diff(states[render], plan.SimulateUndo(states[render+1], st, s)); d != "" {
		t.Errorf("S-51: %s", d)
	}
	if m := plan.MissingBack(states[render+1], st, s); len(m) == 0 {
		t.Error("what is not taken back is not missed")
	}
}

// What may stay stays, and what cannot move says why before anything is touched.
func TestS33_whatARenderedGatewayNeeds(t *testing.T) {
	method := func(m plan.GatewayMethod) func(*plan.Request) {
		return func(r *plan.Request) {
			r.Gateways = []plan.GatewayMove{{Workload: "istio-system/istio-ingressgateway", Method: m}}
		}
	}
	for _, tt := range []struct {
		name string
		s    mesh.Snapshot
		ask  func(*plan.Request)
		code string
		sev  plan.Severity
		step bool
	}{
		{"it is asked to stay: its revision stays with it", rendered(), method(plan.Stay), "SRN1059", plan.Warning, false},
		{"a second release of it has no values to be made of", rendered(), method(plan.Canary), "SRN1405", plan.Mandatory, false},
		{"its strategy takes it away", rendered(func(w *mesh.Workload) { w.Strategy = "Recreate" }), nil, "SRN1404", plan.Mandatory, false},
		{"it is paused", rendered(func(w *mesh.Workload) { w.Paused = true }), nil, "SRN1052", plan.Mandatory, false},
		{"a rollout is under way", rendered(func(w *mesh.Workload) { w.Settled = false }), nil, "SRN1052", plan.Overridable, false},
		{"without surge it is given one for the while", rendered(func(w *mesh.Workload) { w.MaxSurge, w.MaxUnavailable = 0, 1 }), nil, "SRN1410", plan.Warning, true},
		{"of nobody's making", rendered(func(w *mesh.Workload) { w.Owner = mesh.Owner{Kind: mesh.OwnerNone} }), nil, "SRN1403", plan.Overridable, false},
		{"S-30: two scalers", func() mesh.Snapshot {
			s := rendered()
			at := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "istio-system", Name: "istio-ingressgateway"}
			s.Edge.Scalers = []mesh.Scaler{{Name: "a", Target: at}, {Name: "b", Target: at}}
			return s
		}(), nil, "SRN1405", plan.Mandatory, false},
		{"beside no istiod", func() mesh.Snapshot {
			return meshtest.ByIstioctl(meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart").
				Namespace("edge").Gateway("edge", "gw", meshtest.On("default"), renders("default")).Snapshot())
		}(), nil, "SRN1412", plan.Overridable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.s, renderedRequest(tt.ask))
			f, ok := code(p, tt.code)
			if !ok || f.Severity != tt.sev {
				t.Errorf("want %s %s, got %+v", tt.code, tt.sev, p.Findings)
			}
			if got := slices.ContainsFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.RenderGateway }); got != tt.step {
				t.Errorf("a step: %v, want %v", got, tt.step)
			}
		})
	}
	injected := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(injected, renderedRequest(func(r *plan.Request) {
		r.Gateways = []plan.GatewayMove{{Workload: "istio-ingress/istio-ingress", Method: plan.Stay}}
	}))
	if f, ok := code(p, "SRN1405"); !ok || f.Severity != plan.Mandatory {
		t.Errorf("an injected one cannot stay: %+v", p.Findings)
	}
}

// By itself, without a run: put back to a revision that is there.
func TestS33_aRenderedGatewayIsPutBack(t *testing.T) {
	s := meshtest.WithControlPlane(rendered(), "1-29-1", "1.29.1")
	to := func(rev string) plan.Plan {
		return plan.Build(s, op(plan.Operation{Verb: plan.GatewayRestore, Namespace: "istio-system", Name: "istio-ingressgateway", Revision: rev}))
	}
	p := to("1-29-1")
	if len(p.Steps) != 1 || p.Steps[0].Kind != plan.PutBackGateway || p.Steps[0].From != "default" || p.Steps[0].Version != "1.29.1" {
		t.Fatalf("%+v %+v", p.Steps, p.Findings)
	}
	if d := cmp.Diff(s, plan.SimulateUndo(plan.Simulate(s, p.Steps[0]), p.Steps[0], s)); d != "" {
		t.Errorf("S-51: %s", d)
	}
	if p := to("default"); len(p.Steps) > 0 {
		t.Errorf("it is there already: %+v", p.Steps)
	}
	for _, rev := range []string{"", "nowhere"} {
		if p := to(rev); len(p.Steps) > 0 || len(p.Findings) == 0 {
			t.Errorf("to %q: %+v", rev, p.Steps)
		}
	}
}
