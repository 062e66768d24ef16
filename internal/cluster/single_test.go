package cluster_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

func TestWorkload_alsoOneThatNobodyInjects(t *testing.T) {
	w := newWorld(t, namespace("shop"), deployment("shop", "cart", 1, "app", "cart:1"), pod("bare-1", "", "", nil))
	r := w.reader()
	s, err := r.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}
	if _, ok := s.Workload(ref); ok {
		t.Fatal("it is injected: the test proves nothing")
	}
	for _, ref := range []mesh.Ref{ref, {Kind: mesh.KindPod, Namespace: "shop", Name: "bare-1"}} {
		got, ok, err := r.Workload(t.Context(), ref)
		if err != nil || !ok || got.Ref != ref {
			t.Errorf("%s: got %+v, %v, %v", ref, got, ok, err)
		}
	}
	for _, kind := range []mesh.WorkloadKind{mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet, mesh.KindPod, mesh.KindJob, mesh.KindOther} {
		if _, ok, err := r.Workload(t.Context(), mesh.Ref{Kind: kind, Namespace: "shop", Name: "nothing"}); ok || err != nil {
			t.Errorf("%s: got %v, %v", kind, ok, err)
		}
	}
}
