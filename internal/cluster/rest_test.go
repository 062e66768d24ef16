package cluster_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// gatewayOf is a gateway of istioctl's, which belongs to no control plane.
func gatewayOf(name string) *unstructured.Unstructured {
	labels := theirs("default")
	labels["operator.istio.io/component"] = "IngressGateways"
	o := object("Deployment", "apps/v1", name, labels)
	return &o
}

// applying notes the names of what is applied: the fake knows no apply of its own.
func applying(t *testing.T, w *world) *[]string {
	t.Helper()
	fake, ok := w.Dynamic.(*dynamicfake.FakeDynamicClient)
	if !ok {
		t.Fatalf("the client is a %T", w.Dynamic)
	}
	var names []string
	fake.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if p, ok := a.(clienttesting.PatchAction); ok {
			names = append(names, p.GetName())
		}
		return true, &unstructured.Unstructured{}, nil
	})
	return &names
}

// What went with a mesh comes back with that mesh: what an earlier run kept, of a
// mesh that others brought back, does not come along. S-50.
func TestPurge_whatIsKeptBelongsToItsRun(t *testing.T) {
	w := newWorld(t)
	deployments := w.Dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(istioSystem)
	wr, applied := newWriter(w, newHelm(t, w)), applying(t, w)
	st := plan.Step{Kind: plan.RemoveRest}
	made := func(name string) mesh.Snapshot {
		t.Helper()
		if _, err := deployments.Create(t.Context(), gatewayOf(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return mesh.Snapshot{IstioNamespace: istioSystem, Pods: []mesh.Pod{{Namespace: istioSystem, Name: name + "-0"}}}
	}
	goes := func(before mesh.Snapshot) {
		t.Helper()
		for range 2 { // as after a crash
			if err := wr.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
				t.Fatal(err)
			}
		}
		if left := names(t, deployments); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	comes := func(before mesh.Snapshot, want ...string) {
		t.Helper()
		*applied = nil
		for range 2 {
			if err := wr.Revert(t.Context(), st, plan.Plan{}, before); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Sort(*applied); !slices.Equal(*applied, want) {
			t.Errorf("made again: %v, want %v", *applied, want)
		}
	}

	first := made("first")
	goes(first)
	second := made("second")
	goes(second)
	comes(first)
	comes(second, "second")
	if _, err := w.kube.CoreV1().Secrets(istioSystem).Get(t.Context(), "serin-kept-rest", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is back is kept still: %v", err)
	}
	third := made("third") // a removal that was cut off between two objects
	goes(third)
	made("fourth")
	goes(third)
	comes(third, "fourth", "third")
}

func names(t *testing.T, of dynamic.ResourceInterface) []string {
	t.Helper()
	list, err := of.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.GetName())
	}
	return out
}

// A revision that has a name again is kept as it is now. S-16, S-50.
func TestOperator_whatIsKeptIsNotAnEarlierOnes(t *testing.T) {
	w := newWorld(t)
	wr := newWriter(w, newHelm(t, w))
	st := plan.Step{Kind: plan.RemoveRevision, From: "old"}
	before := mesh.Snapshot{
		IstioNamespace: istioSystem,
		ControlPlanes:  []mesh.ControlPlane{{Revision: "old", Name: "istiod-old", Namespace: istioSystem, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}},
	}
	deployments := w.Dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(istioSystem)
	kept := map[string]bool{}
	for _, uid := range []types.UID{"first", "second"} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "istiod-old", Labels: theirs("old"), UID: uid}}
		if err := w.kube.Tracker().Add(d); err != nil {
			t.Fatal(err)
		}
		labels := theirs("old")
		labels["seen"] = string(uid)
		o := object("Deployment", "apps/v1", "istiod-old", labels)
		if _, err := deployments.Create(t.Context(), &o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := wr.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
			t.Fatal(err)
		}
		s, err := w.kube.CoreV1().Secrets(istioSystem).Get(t.Context(), "serin-kept-plane-old", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		kept[string(s.Data["objects"])] = true
		if err := w.kube.AppsV1().Deployments(istioSystem).Delete(t.Context(), "istiod-old", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if err := deployments.Delete(t.Context(), "istiod-old", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	if len(kept) != 2 {
		t.Error("what is kept is the earlier one's")
	}
}
