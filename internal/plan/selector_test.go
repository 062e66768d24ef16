package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// istios are Istio's own Gateways, which select pods by labels.
func istios(s mesh.Snapshot) []mesh.GatewayObject {
	return slices.DeleteFunc(slices.Clone(s.Edge.Gateways), mesh.GatewayObject.OfGatewayAPI)
}

// S-34: no step of any plan, on the way there or back, adds a label to the selector
// of a live Gateway, or changes one at all: pinned to the new pods, the old ones shut
// their listener while the Service still sends them clients (444 of 11,536 lost). On
// random meshes, whose gateways move in every way, and by each single operation.
func TestS34_noStepPinsALiveGateway(t *testing.T) {
	walked := map[plan.Kind]int{}
	walk := func(s mesh.Snapshot, p plan.Plan) {
		t.Helper()
		want, now := istios(s), s
		look := func(st plan.Step, how string) {
			t.Helper()
			if d := cmp.Diff(want, istios(now)); d != "" {
				t.Fatalf("%s %s %s:\n%s", how, st.Kind, st.Target, d)
			}
			if g, ok := now.GatewayObject(st.Namespace, st.Gateway); st.Gateway != "" && ok && !g.OfGatewayAPI() {
				t.Fatalf("%s %s moves %s, which is Istio's own", how, st.Kind, st.Target)
			}
		}
		for _, st := range p.Steps {
			now = plan.Simulate(now, st)
			look(st, "after")
			if len(want) > 0 {
				walked[st.Kind]++
			}
		}
		for _, st := range slices.Backward(p.Steps) {
			now = plan.SimulateUndo(now, st, s)
			look(st, "after taking back")
		}
	}
	for seed := range uint64(150) {
		s, req := random(seed)
		req.Gateways = []plan.GatewayMove{{Workload: "*", Method: plan.Canary, End: []plan.End{plan.EndOriginal, plan.EndCanary}[seed%2]}}
		req.IgnoreChecks = append(slices.Clone(req.IgnoreChecks), "SRN1405")
		walk(s, plan.Build(s, req))
	}
	s := three().Snapshot()
	walk(s, plan.Build(s, renderedRequest(nil)))
	for _, o := range []plan.Operation{
		{Verb: plan.GatewayAdd, Name: "istio-ingress", Revision: "1-29-1", To: "third"},
		{Verb: plan.GatewayShift, Name: "second", Pods: "0"},
		{Verb: plan.GatewayShift, Name: "second", Pods: "100%"},
		{Verb: plan.GatewayDrain, Name: "istio-ingress"},
		{Verb: plan.GatewayRestore, Name: "istio-ingress"},
		{Verb: plan.GatewayRemove, Name: "second"},
	} {
		walk(twoGateways().Snapshot(), gatewayPlan(twoGateways(), o))
	}
	for _, k := range []plan.Kind{plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.Restart, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway} {
		if walked[k] == 0 {
			t.Errorf("no plan with an Istio Gateway had a step %s: %v", k, walked)
		}
	}
	t.Log(walked)
}
