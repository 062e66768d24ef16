package cluster_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func firstOf(kind mesh.WorkloadKind, name string) plan.Step {
	return plan.Step{Kind: plan.FirstPods, From: "default", To: "new", Pace: 5, Workloads: []mesh.Ref{{Kind: kind, Namespace: "shop", Name: name}}}
}

// surging gives the Deployment cart three replicas and a controller that makes the
// first pod of a new template, and no more while it is paused.
func surging(t *testing.T, w *world) {
	t.Helper()
	surge, none := intstr.FromString("50%"), intstr.FromString("25%")
	update(t, w, "deployments", "cart", func(d *appsv1.Deployment) {
		three := int32(3)
		d.Spec.Replicas, d.Spec.MinReadySeconds = &three, 7
		d.Spec.Strategy = appsv1.DeploymentStrategy{
			Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &none},
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3, AvailableReplicas: 3}
	})
	w.kube.PrependReactor("patch", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchActionImpl)
		var d appsv1.Deployment
		if !ok || p.Name != "cart" {
			return false, nil, nil
		}
		if err := json.Unmarshal(p.Patch, &d); err != nil {
			return true, nil, err
		}
		o, err := w.kube.Tracker().Get(appsv1.SchemeGroupVersion.WithResource("deployments"), "shop", "cart")
		if err != nil {
			return true, nil, err
		}
		now := o.(*appsv1.Deployment).DeepCopy()
		if now.Status.UpdatedReplicas = 3; d.Annotations["serin.dev/first-pod"] != "" || d.Spec.Paused {
			now.Status.UpdatedReplicas = 1
		}
		return false, nil, w.kube.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("deployments"), now, "shop")
	})
}

func cart(t *testing.T, w *world) *appsv1.Deployment {
	t.Helper()
	d, err := w.Kube.AppsV1().Deployments("shop").Get(t.Context(), "cart", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The first pod of a Deployment goes ahead while it is paused, surging by one; the
// rest follows, or it goes back: either way its own strategy is as it was, and on
// the way back its template too, so that the old pods never went.
func TestFirstPodOfADeployment(t *testing.T) {
	for name, on := range map[string]bool{"onwards": true, "back": false} {
		t.Run(name, func(t *testing.T) {
			w, _, writer := shop(t)
			surging(t, w)
			was := cart(t, w)
			toNew(t, w)
			for range 3 {
				if err := writer.Apply(t.Context(), firstOf(mesh.KindDeployment, "cart"), plan.Plan{}, mesh.Snapshot{}); err != nil {
					t.Fatal(err)
				}
			}
			d := cart(t, w)
			if d.Spec.MinReadySeconds != 300 {
				t.Errorf("it may go on to the second pod before it is paused: minReadySeconds %d", d.Spec.MinReadySeconds)
			}
			if !d.Spec.Paused || d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue() != 1 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
				t.Errorf("got %+v", d.Spec)
			}
			if d.Spec.Template.Annotations["serin.dev/restarted"] == "" {
				t.Error("nothing would make a new pod")
			}
			if !on { // labels go back first, or new pods would come up on the new revision again
				back := namespace("shop", mesh.InjectionLabel, "enabled")
				if _, err := w.Kube.CoreV1().Namespaces().Update(t.Context(), back, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				var err error
				if on {
					err = writer.Apply(t.Context(), restartOf(mesh.KindDeployment, "cart", "default", "new"), plan.Plan{}, mesh.Snapshot{})
				} else {
					err = writer.Revert(t.Context(), firstOf(mesh.KindDeployment, "cart"), plan.Plan{}, mesh.Snapshot{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			d = cart(t, w)
			if d.Spec.MinReadySeconds != 7 {
				t.Errorf("minReadySeconds was 7, is %d", d.Spec.MinReadySeconds)
			}
			if d.Spec.Paused || d.Annotations["serin.dev/first-pod"] != "" || d.Spec.Strategy.RollingUpdate.MaxSurge.String() != "50%" || d.Spec.Strategy.RollingUpdate.MaxUnavailable.String() != "25%" {
				t.Errorf("got %+v", d.Spec)
			}
			_, restarted := d.Spec.Template.Annotations["serin.dev/restarted"]
			if _, had := was.Spec.Template.Annotations["serin.dev/restarted"]; restarted != (had || on) {
				t.Errorf("the template's annotations are %v", d.Spec.Template.Annotations)
			}
		})
	}
}

// A Deployment that may not surge, for a host port say, would wait for ever for a
// pod beside the others.
func TestFirstPodOfADeploymentThatDoesNotSurge(t *testing.T) {
	w, _, writer := shop(t)
	surging(t, w)
	none, one := intstr.FromInt32(0), intstr.FromInt32(1)
	update(t, w, "deployments", "cart", func(d *appsv1.Deployment) {
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &none, MaxUnavailable: &one}
	})
	toNew(t, w)
	if err := writer.Apply(t.Context(), firstOf(mesh.KindDeployment, "cart"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if u := cart(t, w).Spec.Strategy.RollingUpdate; u.MaxSurge.IntValue() != 0 || u.MaxUnavailable.IntValue() != 1 {
		t.Errorf("got %+v", u)
	}
}

func TestFirstPodOfAStatefulSet(t *testing.T) {
	w, _, writer := shop(t)
	toNew(t, w)
	st := firstOf(mesh.KindStatefulSet, "db")
	revisions := func() []string {
		var out []string
		for _, p := range observed(t, w).PodsOf(st.Workloads[0]) {
			out = append(out, p.Name+" "+p.Revision)
		}
		slices.Sort(out)
		return out
	}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if got := revisions(); !slices.Equal(got, []string{"db-0 default", "db-1 new"}) {
		t.Errorf("got %v", got)
	}
	for range 2 {
		if err := writer.Apply(t.Context(), restartOf(mesh.KindStatefulSet, "db", "default", "new"), plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := revisions(); !slices.Equal(got, []string{"db-0 new", "db-1 new"}) {
		t.Errorf("got %v", got)
	}
	s, err := w.Kube.AppsV1().StatefulSets("shop").Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil || *s.Spec.UpdateStrategy.RollingUpdate.Partition != 0 || s.Annotations["serin.dev/first-pod"] != "" {
		t.Errorf("got %+v, %v", s, err)
	}
}

// S-8: one workload's refusal ends the step for all. A Deployment whose first pod was
// begun by then is paused, not left to roll on; taken up again, it makes that pod.
func TestFirstPods_areNotLeftRollingWhenAnotherIsRefused(t *testing.T) {
	w, _, writer := shop(t)
	gvr := appsv1.SchemeGroupVersion.WithResource("deployments")
	till := deployment("shop", "till", 2, "app", "till:1")
	till.Status.UpdatedReplicas = 1 // a rollout of somebody's, which will get stuck
	if err := w.kube.Tracker().Add(till); err != nil {
		t.Fatal(err)
	}
	update(t, w, "deployments", "cart", func(d *appsv1.Deployment) {
		three := int32(3)
		d.Spec.Replicas = &three
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3, AvailableReplicas: 3}
	})
	var paused []bool
	w.kube.PrependReactor("patch", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchActionImpl)
		if !ok || p.Name != "cart" {
			return false, nil, nil
		}
		var change struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct{ Paused *bool }
		}
		if err := json.Unmarshal(p.Patch, &change); err != nil {
			return true, nil, err
		}
		made := int32(0)
		if change.Spec.Paused == nil { // the first pod is begun, and not made before the other is refused
			till.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Message: "no image"}}
			if err := w.kube.Tracker().Update(gvr, till.DeepCopy(), "shop"); err != nil {
				return true, nil, err
			}
		} else {
			paused = append(paused, *change.Spec.Paused)
			if len(paused) > 1 {
				made = 1
			}
		}
		o, err := w.kube.Tracker().Get(gvr, "shop", "cart")
		if err != nil {
			return true, nil, err
		}
		d := o.(*appsv1.Deployment).DeepCopy()
		d.Status.UpdatedReplicas = made
		return false, nil, w.kube.Tracker().Update(gvr, d, "shop")
	})
	toNew(t, w)
	st := firstOf(mesh.KindDeployment, "cart")
	both := st
	both.Workloads = append(slices.Clone(st.Workloads), mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "till"})
	err := writer.Apply(t.Context(), both, plan.Plan{}, mesh.Snapshot{})
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "shop/till") || !strings.Contains(err.Error(), "no image") {
		t.Fatalf("got %v", err)
	}
	if d := cart(t, w); !d.Spec.Paused || d.Annotations["serin.dev/first-pod"] == "" || d.Status.UpdatedReplicas != 0 {
		t.Errorf("it rolls on: paused %v, %d updated", d.Spec.Paused, d.Status.UpdatedReplicas)
	}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if d := cart(t, w); !d.Spec.Paused || d.Status.UpdatedReplicas != 1 || !slices.Equal(paused, []bool{true, false, true}) {
		t.Errorf("taken up again: paused %v, %d updated, asked for %v", d.Spec.Paused, d.Status.UpdatedReplicas, paused)
	}
}
