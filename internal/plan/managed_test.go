package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// managed adds a Gateway that istiod deploys, with its Deployment on a revision.
func managed(w *meshtest.World, ns, name, label, on string) *meshtest.World {
	return w.Deployment(ns, name+"-istio", meshtest.On(on), meshtest.Service(name+"-istio"), meshtest.With(func(w *mesh.Workload) {
		w.TemplateLabels = map[string]string{mesh.ManagedLabel: "istio.io-gateway-controller", mesh.GatewayNameLabel: name, mesh.InjectLabel: "false"}
		w.Proxy = &mesh.TemplateProxy{Image: "proxyv2", Role: "router", Alone: true}
	})).Change(func(s *mesh.Snapshot) {
		s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: ns, Name: name, Revision: label})
		s.Edge.Gateways = append(s.Edge.Gateways, mesh.GatewayObject{
			Namespace: ns, Name: name, Class: "istio", Controller: mesh.ControllerGateway, Managed: true, Revision: label, Stamp: "5",
		})
	})
}

// three Gateways: two behind one tag, by their own label and by the namespace's,
// and one behind the default.
func three() *meshtest.World {
	w := meshtest.Bookinfo("1.27.0").Tag("prod", "default").Namespace("edge", mesh.RevLabel, "prod")
	w = managed(w, "default", "by-label", "prod", "default")
	w = managed(w, "edge", "by-space", "", "default")
	return managed(w, "default", "by-default", "", "default")
}

func order(p plan.Plan, kind plan.Kind, target string) int {
	return slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == kind && (target == "" || st.Target == target) })
}

func TestS21_managedGatewaysMoveBeforeWhatTheyFollow(t *testing.T) {
	s := three().Snapshot()
	p := plan.Build(s, probed())
	if len(p.Steps) == 0 {
		t.Fatalf("no plan: %+v", p.Findings)
	}
	c := promise{p, s}
	states, broken := c.forward(p.Steps)
	for _, b := range append(broken, c.back(states)...) {
		t.Error(b)
	}
	last, first := 0, len(p.Steps)
	for i, st := range p.Steps {
		switch st.Kind { //nolint:exhaustive // what moves Gateways, and what they follow
		case plan.MoveGateway:
			last = max(last, i)
		case plan.MoveNamespace, plan.MoveTag:
			first = min(first, i)
		}
	}
	if last > first || last == 0 {
		t.Errorf("S-21: a tag or label moves at step %d, a Gateway at %d", first+1, last+1)
	}
	for i, st := range p.Steps { // one revision programs each, after every step and on the way back from it
		for when, at := range map[string]mesh.Snapshot{"after": states[i+1], "back from": plan.SimulateUndo(states[i+1], st, s)} {
			for _, g := range at.Edge.Gateways {
				if by := at.Programmers(g); g.Managed && len(by) != 1 {
					t.Errorf("S-23: %s step %d (%s %s): %s is programmed by %v", when, i+1, st.Kind, st.Target, g, by)
				}
			}
		}
	}
	end := states[len(states)-1]
	for i, g := range end.Edge.Gateways {
		if was := s.Edge.Gateways[i]; g.Revision != was.Revision || g.Frozen != "" || g.Stamp != was.Stamp {
			t.Errorf("S-20: it ends as %+v, began as %+v", g, was)
		}
	}
	if len(end.Claims) > 0 {
		t.Errorf("claims are left: %+v", end.Claims)
	}
}

func TestS24_whatTheDefaultOwnsWaitsForItsEnd(t *testing.T) {
	p := plan.Build(three().Snapshot(), probed())
	removed := order(p, plan.RemoveRevision, "default")
	for target, after := range map[string]bool{"default/by-label": false, "edge/by-space": false, "default/by-default": true} {
		if got := order(p, plan.ReturnGateway, target); got < 0 || (got > removed) != after {
			t.Errorf("%s is returned at step %d, revision default removed at %d", target, got+1, removed+1)
		}
	}
	req := probed()
	req.Keep = true
	kept := plan.Build(three().Snapshot(), req)
	if !slices.ContainsFunc(kept.Findings, func(f plan.Finding) bool {
		return f.Code == "SRN1041" && f.Object == "gateway default/by-default" && strings.Contains(f.Reason, "as long as it lives, and the request keeps that one")
	}) || len(kept.Steps) > 0 {
		t.Errorf("the old revision stays, and by-default is moved: %+v", kept.Findings)
	}
}

// A label that names the revision itself ends on the new one, and its pods are
// made with it at once: nothing rolls again at the end (S-7, S-22).
func TestS22_aLabelOfARevisionEndsOnTheNewOne(t *testing.T) {
	w := meshtest.New().Base("1.27.0", "").ControlPlane("1-27-0", "1.27.0").Namespace("shop", mesh.RevLabel, "1-27-0").Deployment("shop", "cart")
	s := managed(w, "shop", "public", "1-27-0", "1-27-0").Snapshot()
	p := plan.Build(s, probed())
	i := order(p, plan.ReturnGateway, "shop/public")
	if i < 0 {
		t.Fatalf("it is not returned: %+v", p.Findings)
	}
	move := p.Steps[order(p, plan.MoveGateway, "shop/public")]
	if got := *p.Steps[i].After[mesh.RevLabel]; got != "1-29-1" || *move.Last != got {
		t.Errorf("it ends on %s, its pods are made for %s", got, *move.Last)
	}
	if order(p, plan.RemoveRevision, "1-27-0") < i {
		t.Error("what does not follow the default waits for the removal")
	}
}

func TestManaged_whatCannotMoveStandsInTheWay(t *testing.T) {
	object := func(f func(*mesh.GatewayObject)) *meshtest.World {
		return three().Change(func(s *mesh.Snapshot) { f(&s.Edge.Gateways[slices.IndexFunc(s.Edge.Gateways, named)]) })
	}
	deployment := func(f func(*mesh.Workload)) *meshtest.World {
		return three().Change(func(s *mesh.Snapshot) {
			f(&s.Workloads[slices.IndexFunc(s.Workloads, func(w mesh.Workload) bool { return w.Name == "by-label-istio" })])
		})
	}
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		why   string
	}{
		{"S-27: frozen already", object(func(g *mesh.GatewayObject) { g.Frozen = "mine" }), "it is frozen"},
		{"a waypoint", object(func(g *mesh.GatewayObject) { g.Controller = mesh.ControllerWaypoint }), "it is a waypoint"},
		{"its Deployment is shaped by parameters", object(func(g *mesh.GatewayObject) { g.Parameters = "sizes" }), "parametersRef"},
		{"S-45: it stands in Git", object(func(g *mesh.GatewayObject) { g.Owner = mesh.Owner{Kind: mesh.OwnerFlux} }), "stands in Git"},
		{"S-22: no surge", deployment(func(w *mesh.Workload) { w.MaxSurge = 0 }), "it may not surge"},
		{"S-22: Recreate", deployment(func(w *mesh.Workload) { w.Strategy = "Recreate" }), "Recreate"},
		{"paused", deployment(func(w *mesh.Workload) { w.Paused = true }), "is paused"},
		{"a rollout under way", deployment(func(w *mesh.Workload) { w.Settled = false }), "under way"},
		{"not deployed", deployment(func(w *mesh.Workload) { w.TemplateLabels = nil }), "nothing is deployed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), probed())
			if !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool {
				return f.Code == "SRN1041" && f.Severity == plan.Mandatory && f.Object == "gateway default/by-label" && strings.Contains(f.Reason, tt.why)
			}) || len(p.Steps) > 0 {
				t.Errorf("want %q, got %d steps and %+v", tt.why, len(p.Steps), p.Findings)
			}
		})
	}
}

func named(g mesh.GatewayObject) bool { return g.Name == "by-label" && g.OfGatewayAPI() }

// Somebody who thaws or labels a Gateway that is under way, or takes its claim,
// stops the run (S-14): its istiod would roll it at once.
func TestDrift_ofAGatewayUnderWay(t *testing.T) {
	s := three().Snapshot()
	p := plan.Build(s, probed())
	want := s
	for _, st := range p.Steps[:order(p, plan.MoveGateway, "default/by-label")+1] {
		want = plan.Simulate(want, st)
	}
	if d := plan.Drift(want, want, p); len(d) > 0 {
		t.Fatalf("it drifts from itself: %v", d)
	}
	for name, change := range map[string]func(*mesh.Snapshot){
		"was frozen by": func(s *mesh.Snapshot) { s.Edge.Gateways[slices.IndexFunc(s.Edge.Gateways, named)].Frozen = "" },
		"label istio.io/rev was": func(s *mesh.Snapshot) {
			s.Edge.Gateways[slices.IndexFunc(s.Edge.Gateways, named)].Revision = "prod"
		},
		"claims it no more":      func(s *mesh.Snapshot) { s.Claims = nil },
		"default/by-label: gone": func(s *mesh.Snapshot) { s.Edge.Gateways = slices.DeleteFunc(s.Edge.Gateways, named) },
	} {
		got := want.Clone()
		change(&got)
		if d := strings.Join(plan.Drift(want, got, p), "; "); !strings.Contains(d, name) {
			t.Errorf("want %q, got %q", name, d)
		}
	}
}

func TestGatewayKinds_sayWhatIsMissing(t *testing.T) {
	s := three().Snapshot()
	p := plan.Build(s, probed())
	for i, st := range p.Steps {
		after := plan.Simulate(s, st)
		if slices.Contains(plan.GatewayKinds(), st.Kind) {
			if len(plan.Missing(s, st)) == 0 || len(plan.Missing(after, st)) > 0 {
				t.Errorf("step %d, %s: before %v, after %v", i+1, st.Kind, plan.Missing(s, st), plan.Missing(after, st))
			}
			if back := plan.SimulateUndo(after, st, s); len(plan.MissingBack(after, st, s)) == 0 || len(plan.MissingBack(back, st, s)) > 0 {
				t.Errorf("step %d, %s: back %v", i+1, st.Kind, plan.MissingBack(back, st, s))
			}
		}
		s = after
	}
}

// S-27: a Gateway that was frozen for hours is found by whoever plans, also where the
// plan would not touch it.
func TestS27_aPlanFindsAnOverdueFreeze(t *testing.T) {
	for _, overdue := range []bool{true, false} {
		s := three().ControlPlane("old", "1.27.0").Tag("stays", "old").Snapshot()
		for i := range s.Edge.Gateways {
			if s.Edge.Gateways[i].Name == "by-label" {
				s.Edge.Gateways[i].Revision, s.Edge.Gateways[i].Frozen = "stays", mesh.PrivateTag("default", "by-label")
				s.Edge.Gateways[i].Since, s.Edge.Gateways[i].Overdue = "2026-03-01T07:00:00Z", overdue
			}
		}
		for i := range s.ManagedGateways {
			if s.ManagedGateways[i].Name == "by-label" {
				s.ManagedGateways[i].Revision = "stays"
			}
		}
		p := plan.Build(s, plan.Request{To: "1.29.1", From: []string{"default"}})
		found := slices.ContainsFunc(p.Findings, func(f plan.Finding) bool {
			return f.Code == "SRN1413" && f.Severity == plan.Warning && strings.Contains(f.Object, "default/by-label") && strings.Contains(f.Reason, "2026-03-01T07:00:00Z")
		})
		if found != overdue {
			t.Errorf("overdue %v: found %v: %+v", overdue, found, p.Findings)
		}
	}
}
