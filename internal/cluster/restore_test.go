package cluster_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// A revision that was removed comes back by a run of its own, from what was kept,
// and goes again; done twice, as after a crash, it is the same.
func TestRestoreRevision_thereAndBack(t *testing.T) {
	w, h, writer := beside(t)
	was := observed(t, w)
	plane, _ := was.ControlPlane("1-29-1")
	release, _ := was.Release(plane.Owner)
	release.Values = nil
	carry(t, w, writer, plan.Request{Operation: &plan.Operation{Verb: plan.Uninstall, Revision: "1-29-1"}})
	if v, err := writer.Kept(t.Context(), plane); err != nil || v != "1.29.1" {
		t.Fatalf("kept %q, %v", v, err)
	}
	p, before := carry(t, w, writer, plan.Request{Operation: &plan.Operation{
		Verb: plan.Install, Chart: "istiod", Revision: "1-29-1", FromRun: "r", Kept: &plan.Kept{Plane: plane, Release: &release},
	}})
	if d := cmp.Diff(was, observed(t, w), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(mesh.ControlPlane{}, "Replicas", "Ready")); d != "" { // the fake knows no values
		t.Errorf("not what it was: %s", d)
	}
	back(t, writer, p, before)
	if d := cmp.Diff(before, observed(t, w), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("S-51: not as before: %s", d)
	}
	if !slices.Contains(h.calls, "restore istiod-1-29-1") {
		t.Errorf("calls: %v", h.calls)
	}
	if v, err := writer.Kept(t.Context(), plane); err != nil || v != "1.29.1" {
		t.Errorf("taken back it is kept no more: %q, %v", v, err)
	}
}
