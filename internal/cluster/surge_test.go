package cluster_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// scaling lets the Deployment cart follow its number at once, with a pod of the
// new revision for the one that is more.
func scaling(t *testing.T, w *world) {
	t.Helper()
	deployments := appsv1.SchemeGroupVersion.WithResource("deployments")
	w.kube.PrependReactor("patch", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchActionImpl)
		if !ok || p.Subresource != "scale" {
			return false, nil, nil
		}
		var to struct{ Spec struct{ Replicas int32 } }
		if err := json.Unmarshal(p.Patch, &to); err != nil {
			return true, nil, err
		}
		o, err := w.kube.Tracker().Get(deployments, "shop", "cart")
		if err != nil {
			return true, nil, err
		}
		d := o.(*appsv1.Deployment).DeepCopy()
		n := to.Spec.Replicas
		d.Spec.Replicas = &n
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
		return true, d, w.kube.Tracker().Update(deployments, d, "shop")
	})
}

// One pod more and back, each twice, as after a crash: the number, the template and
// the HPA's bounds are what they were, and the template has never changed.
func TestSurge_thereAndBack(t *testing.T) {
	for name, owned := range map[string]bool{"nobody owns the number": false, "an HPA owns it": true} {
		t.Run(name, func(t *testing.T) {
			w, _, writer := shop(t)
			scaling(t, w)
			one := int32(1)
			if owned {
				h := &autoscalingv2.HorizontalPodAutoscaler{
					ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-hpa"},
					Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &one, MaxReplicas: 1, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "cart"}},
				}
				if _, err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Create(t.Context(), h, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			was := cart(t, w)
			n := *was.Spec.Replicas
			st := plan.Step{Kind: plan.Surge, From: "default", To: "new", Pace: 1, Workloads: []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}}}
			for range 2 {
				if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
					t.Fatal(err)
				}
			}
			now := cart(t, w)
			if *now.Spec.Replicas != n+1 || now.Annotations["serin.dev/surge"] == "" {
				t.Errorf("%d replicas, want one more than %d; %v", *now.Spec.Replicas, n, now.Annotations)
			}
			if d := cmp.Diff(was.Spec.Template, now.Spec.Template); d != "" {
				t.Errorf("the template has changed: %s", d)
			}
			if owned {
				if lo, hi := bounds(t, w); lo != n+1 || hi != n+1 {
					t.Errorf("the HPA would take the pod away: %d to %d", lo, hi)
				}
			}
			for range 2 {
				if err := writer.Revert(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
					t.Fatal(err)
				}
			}
			now = cart(t, w)
			if *now.Spec.Replicas != n || now.Annotations["serin.dev/surge"] != "" {
				t.Errorf("back there are %d replicas, %v", *now.Spec.Replicas, now.Annotations)
			}
			if owned {
				if lo, hi := bounds(t, w); lo != 1 || hi != 1 {
					t.Errorf("the HPA is not as before: %d to %d", lo, hi)
				}
			}
		})
	}
}

func bounds(t *testing.T, w *world) (int32, int32) {
	t.Helper()
	h, err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Get(t.Context(), "cart-hpa", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *h.Spec.MinReplicas, h.Spec.MaxReplicas
}

// What another controller would write back is refused before anything is done.
func TestSurge_ofAnHPAThatAnotherOwnsIsRefused(t *testing.T) {
	w, _, writer := shop(t)
	h := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keda-hpa-cart", OwnerReferences: controller("ScaledObject", "keda.sh/v1alpha1", "cart")},
		Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "cart"}},
	}
	if _, err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Create(t.Context(), h, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	was := cart(t, w)
	st := plan.Step{Kind: plan.Surge, From: "default", To: "new", Workloads: []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}}}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err == nil {
		t.Error("it was not refused")
	}
	if d := cmp.Diff(was, cart(t, w)); d != "" {
		t.Errorf("something was written: %s", d)
	}
}
