package plan_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func stepOf(p plan.Plan, k plan.Kind) plan.Step {
	for _, st := range p.Steps {
		if st.Kind == k {
			return st
		}
	}
	return plan.Step{}
}

func TestIstioctl_isAStart(t *testing.T) {
	s := meshtest.ByIstioctl(meshtest.Bookinfo("1.27.0").Snapshot())
	p := plan.Build(s, ask(func(*plan.Request) {}))
	if len(p.Steps) == 0 {
		t.Fatal(outline(p))
	}
	for _, k := range []plan.Kind{plan.UpgradeBase, plan.InstallRevision} {
		if st := stepOf(p, k); st.Owner != mesh.OwnerIstioctl {
			t.Errorf("step %s is of %q, want istioctl", k, st.Owner)
		}
	}
	if st := stepOf(p, plan.RemoveRevision); st.Undo.Irreversible != "" || st.Kind == "" {
		t.Errorf("S-16: the removal of what istioctl made comes back from what is kept: %+v", st.Undo)
	}
	// There and back, by simulation: nothing is orphaned, all is as before.
	now := s
	for _, st := range p.Steps {
		now = plan.Simulate(now, st)
		if o := now.Orphans(); len(o) > 0 {
			t.Errorf("after step %d: %v", st.Number, o)
		}
	}
	if c, ok := now.ControlPlane("1-29-1"); !ok || c.Owner.Kind != mesh.OwnerIstioctl || len(now.Releases) != len(s.Releases) {
		t.Errorf("the new one is %+v, releases %d", c, len(now.Releases))
	}
	var applied []int
	for i := range p.Steps {
		applied = append(applied, i)
	}
	for _, i := range plan.UndoOrder(p, applied) {
		now = plan.SimulateUndo(now, p.Steps[i], s)
	}
	if _, ok := now.ControlPlane("1-29-1"); ok || !now.Serves("default") {
		t.Errorf("taken back: %v", now.Revisions())
	}
}

func TestIstioctl_aFileDecides(t *testing.T) {
	file := map[string]any{"kind": "IstioOperator", "spec": map[string]any{"values": map[string]any{"global": map[string]any{"istioNamespace": "elsewhere"}, "revisionTags": []any{"prod"}}}}
	op := plan.Operation{Verb: plan.Install, Chart: "istiod", Revision: "canary", From: "default"}
	out := outline(plan.Build(meshtest.ByIstioctl(meshtest.Bookinfo("1.27.0").Snapshot()), plan.Request{To: "1.29.1", Operation: &op, Operator: file}))
	for _, want := range []string{"SRN1206 request", "SRN1212 request", "SRN1024 request"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	op.From = ""
	p := plan.Build(meshtest.ByIstioctl(meshtest.Bookinfo("1.27.0").Snapshot()), plan.Request{To: "1.29.1", Operation: &op, Operator: map[string]any{"kind": "IstioOperator"}})
	if st := stepOf(p, plan.InstallRevision); st.Owner != mesh.OwnerIstioctl {
		t.Errorf("%s", outline(p))
	}
}
