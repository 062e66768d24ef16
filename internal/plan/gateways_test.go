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
