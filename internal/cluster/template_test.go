package cluster_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Every fact that a fence asks for is read: S-37, S-39, S-41.
func TestObserve_whatDecidesHowPodsAreReplaced(t *testing.T) {
	d := deployment("shop", "cart", 2, "app", "cart:1")
	d.OwnerReferences = controller("Canary", "flagger.app/v1beta1", "cart")
	d.Spec.Template.Labels["app.kubernetes.io/instance"] = "cart"
	d.Spec.Template.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "x"}
	spec := &d.Spec.Template.Spec
	spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "kubernetes.io/hostname"}}}}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{WhenUnsatisfiable: corev1.DoNotSchedule}}
	spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "target-health"}}
	spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	c := &spec.Containers[0]
	c.Ports = []corev1.ContainerPort{{HostPort: 80}}
	c.Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1"), "cpu": resource.MustParse("1")}
	c.ReadinessProbe = &corev1.Probe{}
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{}}
	service := func(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}, Type: "ClusterIP", ClusterIP: "10.0.0.1"}}
		change(&s.Spec)
		return s
	}
	local := corev1.ServiceInternalTrafficPolicyLocal
	w := newWorld(t, namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), injector("default", "root"), d,
		service("a-plain", func(*corev1.ServiceSpec) {}),
		service("b-balanced", func(s *corev1.ServiceSpec) { s.Type = "LoadBalancer" }),
		service("c-node", func(s *corev1.ServiceSpec) { s.Type = "NodePort" }),
		service("d-headless", func(s *corev1.ServiceSpec) { s.ClusterIP = "None" }),
		service("e-unready", func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true }),
		service("f-local", func(s *corev1.ServiceSpec) { s.InternalTrafficPolicy = &local }),
		service("g-external", func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.0.2.1"} }),
		&autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-hpa"},
			Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "cart"}},
		},
	)
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, _ := s.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"})
	want := mesh.Template{
		Probed: true, Drains: true, HostPorts: true, AntiAffinity: true, Spread: true, Claims: []string{"data"}, Devices: []string{"nvidia.com/gpu"},
		Gates: []string{"target-health"}, Marks: []string{"app.kubernetes.io/instance", "argocd.argoproj.io/tracking-id"}, MadeBy: "Canary cart", Scaler: "cart-hpa",
	}
	if d := cmp.Diff(want, got.Template); d != "" {
		t.Error(d)
	}
	var exposed []string
	for _, e := range got.Exposed {
		exposed = append(exposed, e.Service)
	}
	if want := []string{"shop/b-balanced", "shop/c-node", "shop/d-headless", "shop/e-unready", "shop/f-local", "shop/g-external"}; !slices.Equal(want, exposed) {
		t.Errorf("exposed by %v, want %v", exposed, want)
	}
}

// A chart's label is no mark of Argo CD's where Helm itself installed the workload.
func TestObserve_theLabelThatChartsSet(t *testing.T) {
	d := deployment("shop", "cart", 1, "app", "cart:1")
	d.ObjectMeta = byHelm(d.ObjectMeta, "cart")
	d.Spec.Template.Labels["app.kubernetes.io/instance"] = "cart"
	w := newWorld(t, namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), injector("default", "root"), d)
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}); len(got.Template.Marks) > 0 {
		t.Errorf("got %v", got.Template.Marks)
	}
}

// Whatever names the label, or would take a pod without it, is seen, and what may
// not be looked at is said (S-37).
func TestSurvey_whatSelectsPods(t *testing.T) {
	hash := map[string]string{mesh.HashLabel: "1"}
	app := map[string]string{"app": "cart"}
	objects := func() []runtime.Object {
		return []runtime.Object{
			namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), injector("default", "root"),
			deployment("shop", "cart", 1, "app", "cart:1"),
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pinned"}, Spec: corev1.ServiceSpec{Selector: hash}},
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "rollouts"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"rollouts-pod-template-hash": "1"}}},
			&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "policy"}, Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: hash}}},
			&corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "rc"}, Spec: corev1.ReplicationControllerSpec{Selector: app}},
			&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "bare"}, Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: app}}},
			&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1", Labels: hash}, Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: hash}}},
			helmCRD("destinationrules", "networking.istio.io", "DestinationRule"),
			custom("networking.istio.io/v1", "DestinationRule", "subsets", nil, map[string]any{"subsets": []any{map[string]any{"name": "a", "labels": map[string]any{mesh.HashLabel: "1"}}}}),
			custom("networking.istio.io/v1", "DestinationRule", "plain", nil, map[string]any{"host": "cart"}),
		}
	}
	w := newWorld(t, objects()...)
	s, err := w.reader().Loose(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &mesh.Selectors{
		Hash: []mesh.Object{
			{Kind: "DestinationRule", Namespace: "shop", Name: "subsets"}, {Kind: "NetworkPolicy", Namespace: "shop", Name: "policy"}, {Kind: "Service", Namespace: "shop", Name: "pinned"},
		},
		Adopters: []mesh.Adopter{
			{Object: mesh.Object{Kind: "ReplicaSet", Namespace: "shop", Name: "bare"}, Selector: mesh.Selector{MatchLabels: app}},
			{Object: mesh.Object{Kind: "ReplicationController", Namespace: "shop", Name: "rc"}, Selector: mesh.Selector{MatchLabels: app}},
		},
	}
	if d := cmp.Diff(want, s.Survey.Selectors); d != "" {
		t.Error(d)
	}
	w = newWorld(t, objects()...)
	w.kube.PrependReactor("list", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "networkpolicies"}, "", nil)
	})
	if s, err = w.reader().Loose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Survey.Selectors.Unseen; !slices.Equal(got, []string{"networkpolicies.networking.k8s.io: not permitted"}) {
		t.Errorf("got %v", got)
	}
}
