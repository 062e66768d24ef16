package cluster_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func newWriter(w *world, h *helmFake) *cluster.Writer {
	return cluster.WriterOf(w.Clients, istioSystem, h, w.reader())
}

func restartOf(kind mesh.WorkloadKind, name, from, to string) plan.Step {
	return plan.Step{Kind: plan.Restart, From: from, To: to, Pace: 5, Workloads: []mesh.Ref{{Kind: kind, Namespace: "shop", Name: name}}}
}

func restarts(w *world) int {
	n := 0
	for _, a := range writes(w) {
		if strings.HasPrefix(a, "patch ") {
			n++
		}
	}
	return n
}

// toNew lets the namespace's pods be injected by a new revision.
func toNew(t *testing.T, w *world) {
	t.Helper()
	if _, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), injector("new", "root"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ns := namespace("shop", mesh.RevLabel, "new")
	if _, err := w.Kube.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.kube.ClearActions()
}

func TestRestartEachKindOnce(t *testing.T) {
	for kind, name := range map[mesh.WorkloadKind]string{mesh.KindDeployment: "cart", mesh.KindStatefulSet: "db", mesh.KindDaemonSet: "log"} {
		t.Run(string(kind), func(t *testing.T) {
			w, _, writer := shop(t)
			toNew(t, w)
			for range 3 {
				if err := writer.Apply(t.Context(), restartOf(kind, name, "default", "new"), plan.Plan{}, mesh.Snapshot{}); err != nil {
					t.Fatal(err)
				}
			}
			if n := restarts(w); n != 1 {
				t.Errorf("it was restarted %d times", n)
			}
		})
	}
}

func TestRestartLeavesAloneWhatIsThereAlready(t *testing.T) {
	w, _, writer := shop(t)
	w.kube.ClearActions()
	st := restartOf(mesh.KindDeployment, "cart", "new", "default")
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	st = restartOf(mesh.KindDeployment, "gone", "default", "new")
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if n := restarts(w); n != 0 {
		t.Errorf("%d restarts", n)
	}
}

func TestRestartRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		kind   mesh.WorkloadKind
		target string
		change func(*testing.T, *world)
		why    string
	}{
		"a bare pod": {kind: mesh.KindPod, target: "cart-1-a", why: "nothing that would make its pods again"},
		"OnDelete": {kind: mesh.KindStatefulSet, target: "db", why: "OnDelete", change: func(t *testing.T, w *world) {
			t.Helper()
			update(t, w, "statefulsets", "db", func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType })
		}},
		"a partition": {kind: mesh.KindStatefulSet, target: "db", why: "partition 1", change: func(t *testing.T, w *world) {
			t.Helper()
			one := int32(1)
			update(t, w, "statefulsets", "db", func(s *appsv1.StatefulSet) {
				s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: &one}
			})
		}},
		"a paused Deployment": {kind: mesh.KindDeployment, target: "cart", why: "paused", change: func(t *testing.T, w *world) {
			t.Helper()
			update(t, w, "deployments", "cart", func(d *appsv1.Deployment) { d.Spec.Paused = true })
		}},
		"a rollout that is stuck": {kind: mesh.KindDeployment, target: "cart", why: "has timed out progressing", change: func(t *testing.T, w *world) {
			t.Helper()
			update(t, w, "deployments", "cart", func(d *appsv1.Deployment) {
				d.Status.UpdatedReplicas = 0
				d.Status.Conditions = []appsv1.DeploymentCondition{{
					Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", Message: `ReplicaSet "cart-2" has timed out progressing.`,
				}}
			})
		}},
		"new pods that come up on the old revision": {kind: mesh.KindDeployment, target: "cart", why: "not on revision new: cart-1-a on default", change: func(t *testing.T, w *world) {
			t.Helper()
			if _, err := w.Kube.CoreV1().Namespaces().Update(t.Context(), namespace("shop", mesh.InjectionLabel, "enabled"), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, writer := shop(t)
			toNew(t, w)
			if tc.change != nil {
				tc.change(t, w)
			}
			err := writer.Apply(t.Context(), restartOf(tc.kind, tc.target, "default", "new"), plan.Plan{}, mesh.Snapshot{})
			if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), tc.why) {
				t.Errorf("got %v, want %q", err, tc.why)
			}
		})
	}
}

// update changes an object of the namespace shop behind the clients' back.
func update[T runtime.Object](t *testing.T, w *world, resource, name string, change func(T)) {
	t.Helper()
	alter(t, w, appsv1.SchemeGroupVersion.WithResource(resource), types.NamespacedName{Namespace: "shop", Name: name}, change)
}

func alter[T runtime.Object](t *testing.T, w *world, gvr schema.GroupVersionResource, is types.NamespacedName, change func(T)) {
	t.Helper()
	o, err := w.kube.Tracker().Get(gvr, is.Namespace, is.Name)
	if err != nil {
		t.Fatal(err)
	}
	typed, ok := o.DeepCopyObject().(T)
	if !ok {
		t.Fatalf("%s is a %T", is, o)
	}
	change(typed)
	if err := w.kube.Tracker().Update(gvr, typed, is.Namespace); err != nil {
		t.Fatal(err)
	}
}

func TestRestartLetsARolloutEndFirst(t *testing.T) {
	w, _, writer := shop(t)
	toNew(t, w)
	update(t, w, "deployments", "cart", func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
	waited, patched := false, false
	w.kube.PrependReactor("patch", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
		patched = true
		return false, nil, nil
	})
	w.kube.PrependWatchReactor("deployments", func(a clienttesting.Action) (bool, watch.Interface, error) {
		c, err := w.kube.Tracker().Watch(a.GetResource(), "shop")
		waited = true
		if patched {
			t.Error("it was restarted while a rollout was under way")
		}
		o, gerr := w.kube.Tracker().Get(a.GetResource(), "shop", "cart")
		if d, ok := o.(*appsv1.Deployment); ok && gerr == nil {
			d = d.DeepCopy()
			d.Status.AvailableReplicas = 1
			return true, c, errors.Join(err, w.kube.Tracker().Update(a.GetResource(), d, "shop"))
		}
		return true, c, errors.Join(err, gerr)
	})
	if err := writer.Apply(t.Context(), restartOf(mesh.KindDeployment, "cart", "default", "new"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if !waited {
		t.Error("it did not wait")
	}
}

func budget(allowed, healthy int32) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cart"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed, CurrentHealthy: healthy, DesiredHealthy: 1},
	}
}

func TestRestartHonoursTheBudget(t *testing.T) {
	none, one := intstr.FromInt32(0), intstr.FromInt32(1)
	down := appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &none, MaxUnavailable: &one}}
	for name, tc := range map[string]struct {
		strategy appsv1.DeploymentStrategy
		budget   *policyv1.PodDisruptionBudget
		waits    bool
	}{
		"one pod that must stay, new pods first: the rollout keeps it by itself": {budget: budget(0, 1)},
		"new pods first, but it is not met now":                                  {budget: budget(0, 0), waits: true},
		"old pods first, and none may go":                                        {strategy: down, budget: budget(0, 1), waits: true},
		"old pods first, and one may go":                                         {strategy: down, budget: budget(1, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, writer := shop(t)
			toNew(t, w)
			update(t, w, "deployments", "cart", func(d *appsv1.Deployment) { d.Spec.Strategy = tc.strategy })
			if _, err := w.Kube.PolicyV1().PodDisruptionBudgets("shop").Create(t.Context(), tc.budget, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			w.kube.PrependWatchReactor("poddisruptionbudgets", func(clienttesting.Action) (bool, watch.Interface, error) {
				if tc.waits {
					cancel()
				}
				return false, nil, nil
			})
			err := writer.Apply(ctx, restartOf(mesh.KindDeployment, "cart", "default", "new"), plan.Plan{}, mesh.Snapshot{})
			cancel()
			if waited := errors.Is(err, context.Canceled); waited != tc.waits || !tc.waits && err != nil {
				t.Errorf("got %v", err)
			}
			if tc.waits && slices.Contains(writes(w), "patch deployments/cart") {
				t.Error("it was restarted")
			}
		})
	}
}
