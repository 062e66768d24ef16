package drive_test

import (
	"context"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// frozenLong is a mesh with a Gateway that istiod deploys, seen as frozen for too long.
func frozenLong(managed bool) mesh.Snapshot { //nolint:revive // the two meshes of the test
	w := meshtest.Bookinfo("1.27.0").Tag("prod", "default").Namespace("edge")
	if !managed {
		return w.Snapshot()
	}
	return w.Deployment("edge", "public-istio", meshtest.On("default"), meshtest.Service("public-istio"), meshtest.With(func(w *mesh.Workload) {
		w.TemplateLabels = map[string]string{mesh.ManagedLabel: "istio.io-gateway-controller", mesh.GatewayNameLabel: "public", mesh.InjectLabel: "false"}
		w.Proxy = &mesh.TemplateProxy{Image: "proxyv2", Role: "router", Alone: true}
	})).Change(func(s *mesh.Snapshot) {
		s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: "edge", Name: "public", Revision: "prod"})
		s.Edge.Gateways = append(s.Edge.Gateways, mesh.GatewayObject{
			Namespace: "edge", Name: "public", Class: "istio", Controller: mesh.ControllerGateway, Managed: true, Revision: "prod", Stamp: "5",
		})
	}).Snapshot()
}

// S-27: while a run is open, waiting for a person for hours, say, whoever drives it
// looks every ten minutes for Gateways that are frozen for too long; not more often,
// and not where the plan freezes none.
func TestS27_anOpenRunLooksForOverdueFreezes(t *testing.T) {
	for _, managed := range []bool{true, false} {
		w := newWorldOf(t, frozenLong(managed), plan.Hold)
		r := w.kept()
		r.Approved = map[int]string{}
		w.keep(r)
		ctx, stop := context.WithCancel(t.Context())
		began := time.Time{}
		w.waited = func(context.Context) {
			if r := w.kept(); r.Phase == run.Waiting && plan.RemoveRevision == r.Plan.Steps[r.At].Kind {
				if began.IsZero() {
					began, w.warnings = w.now, nil
				}
				if w.now.Sub(began) > time.Hour {
					stop()
				}
			}
		}
		if _, err := w.life(ctx); err == nil {
			t.Fatal("nobody interrupted it")
		}
		stop()
		want := map[bool]int{true: 6, false: 0}[managed]
		if n := len(w.warnings); n != want {
			t.Errorf("managed %v: %d looks in an hour, want %d", managed, n, want)
		}
		for i, at := range w.warnings {
			if i > 0 && at.Sub(w.warnings[i-1]) < 10*time.Minute {
				t.Errorf("looked at %s and at %s", w.warnings[i-1], at)
			}
		}
	}
}
