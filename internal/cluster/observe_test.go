package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

func serverVersion(v string) *version.Info { return &version.Info{GitVersion: v} }

// bookinfo is a default revision by Helm with one of everything.
func bookinfo(t *testing.T) []runtime.Object {
	t.Helper()
	native := pod("cart-1-a", "default", "1.27.0-distroless", controller("ReplicaSet", "apps/v1", "cart-1"))
	native.Spec.InitContainers, native.Spec.Containers = native.Spec.Containers[1:], native.Spec.Containers[:1]
	native.Labels["app"] = "cart"
	ended := pod("cart-1-old", "default", "1.27.0", controller("ReplicaSet", "apps/v1", "cart-1"))
	ended.Status.Phase = corev1.PodFailed
	return []runtime.Object{
		namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), namespace("legacy"),
		istiod("default", "1.27.0", 1), injector("default", "root"), ownValidator("default"), defaultValidator("default"), istiodService("default"),
		deployment("shop", "cart", 1, "app", "cart:1"), replicaSet("shop", "cart-1", "cart"), native, ended,
		deployment("shop", "idle", 0, "app", "idle:1"),
		deployment("legacy", "plain", 1, "app", "plain:1"), replicaSet("legacy", "plain-1", "plain"),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "legacy", Name: "plain-1-a", OwnerReferences: controller("ReplicaSet", "apps/v1", "plain-1")}},
		pod("batch-x", "default", "1.27.0", controller("Job", "batch/v1", "batch")),
		pod("bare", "default", "1.27.0", nil),
		pod("canary-1-a", "default", "1.27.0", controller("ReplicaSet", "apps/v1", "canary-1")),
		&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "canary-1", OwnerReferences: controller("Rollout", "argoproj.io/v1alpha1", "canary")}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}}},
		&policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
			Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cart"}}},
			Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1},
		},
		helmSecret(t, mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.26.0", Status: "superseded"}, 1),
		helmSecret(t, mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.27.0", Status: "deployed", Values: map[string]any{"defaultRevision": "default"}}, 2),
		helmSecret(t, mesh.Release{Namespace: istioSystem, Name: "istiod", Chart: "istiod", Version: "1.27.0", Status: "deployed", Values: map[string]any{"global": map[string]any{"caToken": "s3cret"}}}, 1),
		helmSecret(t, mesh.Release{Namespace: istioSystem, Name: "kiali", Chart: "kiali-server", Version: "2.0.0", Status: "deployed"}, 1),
		helmSecret(t, mesh.Release{Namespace: "legacy", Name: "mysql", Chart: "mysql", Version: "9.0.0", Status: "deployed"}, 1),
		helmCRD("virtualservices", "networking.istio.io", "VirtualService"),
		helmCRD("workloadgroups", "networking.istio.io", "WorkloadGroup"),
		crd("gateways", "gateway.networking.k8s.io", "Gateway"),
		custom("networking.istio.io/v1", "VirtualService", "in", nil, map[string]any{
			"gateways": []any{"gw"}, "http": []any{map[string]any{"route": []any{
				map[string]any{"destination": map[string]any{"host": "cart"}}, map[string]any{"destination": map[string]any{"host": "db.data.svc.cluster.local"}},
			}}},
		}),
		custom("networking.istio.io/v1", "VirtualService", "inside", map[string]string{mesh.RevLabel: "default"}, map[string]any{
			"http": []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "secret"}}}}},
		}),
		custom("networking.istio.io/v1", "WorkloadGroup", "vm", nil, map[string]any{}),
		custom("gateway.networking.k8s.io/v1", "Gateway", "public", map[string]string{mesh.RevLabel: "prod"}, map[string]any{"gatewayClassName": "istio"}),
		custom("gateway.networking.k8s.io/v1", "Gateway", "manual", nil, map[string]any{
			"gatewayClassName": "istio", "addresses": []any{map[string]any{"type": "Hostname", "value": "x"}},
		}),
		custom("gateway.networking.k8s.io/v1", "Gateway", "other", nil, map[string]any{"gatewayClassName": "nginx"}),
		&appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "istio-cni-node"},
			Spec:       appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "istio/install-cni:1.27.0"}}}}},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "east", Labels: map[string]string{"istio/multiCluster": "true"}}},
	}
}

func TestObserve(t *testing.T) {
	s, err := newWorld(t, bookinfo(t)...).reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	helm := func(name string) mesh.Owner { return mesh.Owner{Kind: mesh.OwnerHelm, Name: istioSystem + "/" + name} }
	none := mesh.Owner{Kind: mesh.OwnerNone}
	in := mesh.RevisionInjector("default", istioSystem)
	in.Owner = helm("istiod")
	own := mesh.RevisionValidator("default", istioSystem)
	own.Owner = helm("istiod")
	cart := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}
	labels := func(app string) map[string]string { return map[string]string{"app": app} }
	want := mesh.Snapshot{
		KubernetesVersion: "v1.36.3", IstioNamespace: istioSystem,
		ControlPlanes: []mesh.ControlPlane{{Revision: "default", Version: "1.27.0", Namespace: istioSystem, Name: "istiod", Replicas: 1, Ready: 1, Owner: helm("istiod")}},
		Injectors:     []mesh.Injector{in},
		Validators: []mesh.Validator{own, {
			Name: mesh.DefaultValidator, Revision: "default", Service: istioSystem + "/istiod", FailurePolicy: "Fail", Owner: helm("istio-base"),
		}},
		Namespaces: []mesh.Namespace{
			{Name: istioSystem, Owner: none}, {Name: "legacy", Owner: none}, {Name: "shop", Labels: map[string]string{mesh.InjectionLabel: "enabled"}, Owner: none},
		},
		Workloads: []mesh.Workload{
			{
				Ref: cart, Replicas: 1, Ready: 1, Strategy: "RollingUpdate", MaxSurge: 1, Settled: true, TemplateLabels: labels("cart"),
				Budget: &mesh.Budget{Name: "cart", DisruptionsAllowed: 1}, Services: []string{"shop/cart"}, Owner: none,
			},
			{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "idle"}, Strategy: "RollingUpdate", MaxUnavailable: 1, Settled: true, TemplateLabels: labels("idle"), Owner: none},
			{Ref: mesh.Ref{Kind: mesh.KindJob, Namespace: "shop", Name: "batch"}, Replicas: 1, Ready: 1, Settled: true, TemplateLabels: labels("batch-x"), Owner: none},
			{Ref: mesh.Ref{Kind: mesh.KindOther, Namespace: "shop", Name: "canary"}, Replicas: 1, Ready: 1, Settled: true, TemplateLabels: labels("canary-1-a"), MadeBy: "Rollout of argoproj.io", Owner: none},
			{Ref: mesh.Ref{Kind: mesh.KindPod, Namespace: "shop", Name: "bare"}, Replicas: 1, Ready: 1, Settled: true, TemplateLabels: labels("bare"), Owner: none},
		},
		Pods: []mesh.Pod{
			{Namespace: "shop", Name: "bare", Workload: mesh.Ref{Kind: mesh.KindPod, Namespace: "shop", Name: "bare"}, Labels: labels("bare"), Revision: "default", Version: "1.27.0", Ready: true},
			{Namespace: "shop", Name: "batch-x", Workload: mesh.Ref{Kind: mesh.KindJob, Namespace: "shop", Name: "batch"}, Labels: labels("batch-x"), Revision: "default", Version: "1.27.0", Ready: true},
			{Namespace: "shop", Name: "canary-1-a", Workload: mesh.Ref{Kind: mesh.KindOther, Namespace: "shop", Name: "canary"}, Labels: labels("canary-1-a"), Revision: "default", Version: "1.27.0", Ready: true},
			{Namespace: "shop", Name: "cart-1-a", Workload: cart, Labels: labels("cart"), Revision: "default", Version: "1.27.0", Ready: true},
		},
		Releases: []mesh.Release{
			{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.27.0", Status: "deployed", Values: map[string]any{"defaultRevision": "default"}},
			{Namespace: istioSystem, Name: "istiod", Chart: "istiod", Version: "1.27.0", Status: "deployed", Values: map[string]any{"global": map[string]any{"caToken": "(hidden)"}}},
		},
		PinnedObjects:   []mesh.Object{{Kind: "VirtualService", Namespace: "shop", Name: "inside", Revision: "default"}},
		ManagedGateways: []mesh.Object{{Kind: "Gateway", Namespace: "shop", Name: "public", Revision: "prod", Note: "class istio"}},
		Singletons:      []mesh.Singleton{{Name: "istio-cni-node", Version: "1.27.0"}},
		Unsupported:     []mesh.Object{{Kind: "Secret", Namespace: istioSystem, Name: "east"}, {Kind: "WorkloadGroup", Namespace: "shop", Name: "vm"}},
		CRDs: []mesh.CRD{
			{Name: "virtualservices.networking.istio.io", Established: true, StoredVersions: []string{"v1"}, ServedVersions: []string{"v1"}, Owner: helm("istio-base")},
			{Name: "workloadgroups.networking.istio.io", Established: true, StoredVersions: []string{"v1"}, ServedVersions: []string{"v1"}, Owner: helm("istio-base")},
		},
		RoutedServices: []string{"data/db", "shop/cart"},
		Edge: mesh.Edge{Gateways: []mesh.GatewayObject{
			{Namespace: "shop", Name: "manual", Class: "istio", Controller: mesh.ControllerGateway, Bound: []string{"x"}},
			{Namespace: "shop", Name: "public", Class: "istio", Controller: mesh.ControllerGateway, Managed: true, Revision: "prod"},
		}},
	}
	for i := range s.Unsupported {
		if s.Unsupported[i].Note == "" {
			t.Errorf("%s has no note", s.Unsupported[i].Name)
		}
		s.Unsupported[i].Note = ""
	}
	if d := cmp.Diff(want, s, cmpopts.EquateEmpty()); d != "" {
		t.Error("-want +got", d)
	}
}

func TestObserveIsTheSameEachTime(t *testing.T) {
	r := newWorld(t, bookinfo(t)...).reader()
	first, err := r.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		next, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(first, next); d != "" {
			t.Fatal(d)
		}
	}
}

func TestObserveReadsEachPage(t *testing.T) {
	w := newWorld(t, namespace("shop", mesh.InjectionLabel, "enabled"), injector("default", "root"))
	var asked []string
	w.kube.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		list, ok := a.(clienttesting.ListActionImpl)
		if !ok {
			return false, nil, nil
		}
		from := list.ListOptions.Continue
		asked = append(asked, fmt.Sprintf("%q of %d", from, list.ListOptions.Limit))
		switch from {
		case "":
			return true, &corev1.PodList{ListMeta: metav1.ListMeta{Continue: "two"}, Items: []corev1.Pod{*pod("a", "default", "1.27.0", nil)}}, nil
		case "two":
			// The list has outlived the server's history: it offers to go on with what is there now.
			err := apierrors.NewResourceExpired("too old")
			err.ErrStatus.Continue = "three"
			return true, nil, err
		}
		return true, &corev1.PodList{Items: []corev1.Pod{*pod("b", "default", "1.27.0", nil)}}, nil
	})
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 2 {
		t.Errorf("got %d pods", len(s.Pods))
	}
	if d := cmp.Diff([]string{`"" of 500`, `"two" of 500`, `"three" of 500`}, asked); d != "" {
		t.Error("-want +got", d)
	}
}

func TestObserveSaysWhatIsNotPermitted(t *testing.T) {
	for _, resource := range []string{"mutatingwebhookconfigurations", "pods", "namespaces", "poddisruptionbudgets", "services"} {
		t.Run(resource, func(t *testing.T) {
			w := newWorld(t, bookinfo(t)...)
			w.kube.PrependReactor("list", resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", errors.New("no"))
			})
			_, err := w.reader().Observe(t.Context())
			if err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "listing "+resource) ||
				!strings.Contains(err.Error(), "not permitted: the user needs verb list on "+resource) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestObserveWithoutIstio(t *testing.T) {
	s, err := newWorld(t, namespace("shop")).reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.Snapshot{
		KubernetesVersion: "v1.36.3", IstioNamespace: istioSystem,
		Namespaces: []mesh.Namespace{{Name: "shop", Labels: map[string]string{}, Owner: mesh.Owner{Kind: mesh.OwnerNone}}},
	}
	if d := cmp.Diff(want, s, cmpopts.EquateEmpty()); d != "" {
		t.Error("-want +got", d)
	}
}
