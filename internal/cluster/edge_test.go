package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/mesh"
)

func in(ns string, o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetNamespace(ns)
	return o
}

// Every fact about a gateway that a plan or `gateway list` reads, as the API has it.
func TestObserve_edge(t *testing.T) {
	gw := deployment("edge", "gw", 2, "istio-proxy", "auto")
	gw.Spec.Template.Labels = map[string]string{"istio": "gw", "sidecar.istio.io/inject": "true"}
	gw.Spec.Template.Annotations = map[string]string{mesh.TemplatesAnnotation: "gateway"}
	gw.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: mesh.ProvenGate}}
	old := deployment("edge", "old", 0, "istio-proxy", "istio/proxyv2:1.27.0")
	old.Spec.Template.Labels = map[string]string{"app": "old", "sidecar.istio.io/inject": "false"}
	old.Spec.Template.Spec.Containers[0].Args = []string{"proxy", "router", "--domain", "x"}
	least := int32(2)
	class := custom("gateway.networking.k8s.io/v1", "GatewayClass", "fancy", nil, map[string]any{"controllerName": mesh.ControllerGateway})
	class.SetNamespace("")
	w := newWorld(t, gw, old, class,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "edge"}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "door", UID: "u1"},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", Selector: map[string]string{"istio": "gw"},
				Ports: []corev1.ServicePort{{Name: "https", Port: 443, NodePort: 30443, TargetPort: intstr.FromInt32(443)}},
			},
			Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.9"}}}},
		},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "other"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "nothing"}}},
		&autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "gw"},
			Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: 5, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "gw"}},
		},
		crd("gateways", "networking.istio.io", "Gateway"), crd("virtualservices", "networking.istio.io", "VirtualService"),
		crd("gateways", "gateway.networking.k8s.io", "Gateway"), crd("gatewayclasses", "gateway.networking.k8s.io", "GatewayClass"),
		in("edge", custom("networking.istio.io/v1", "Gateway", "public", nil, map[string]any{
			"selector": map[string]any{"istio": "gw"},
			"servers": []any{map[string]any{
				"port": map[string]any{"name": "https", "number": int64(443), "protocol": "HTTPS"}, "hosts": []any{"shop.example"}, "tls": map[string]any{"mode": "SIMPLE"},
			}},
		})),
		in("edge", custom("networking.istio.io/v1", "VirtualService", "out", nil, map[string]any{
			"gateways": []any{"mesh"}, "http": []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "door.edge.svc.cluster.local"}}}}},
		})),
		in("edge", custom("gateway.networking.k8s.io/v1", "Gateway", "bound", nil, map[string]any{
			"gatewayClassName": "fancy", "addresses": []any{map[string]any{"type": "Hostname", "value": "door.edge.svc"}},
			"listeners": []any{map[string]any{"name": "http", "port": int64(80), "protocol": "HTTP", "hostname": "a.example"}},
		})),
		in("edge", custom("gateway.networking.k8s.io/v1", "Gateway", "theirs", nil, map[string]any{"gatewayClassName": "istio-like"})),
	)
	s, err := cluster.ReaderOf(w.Clients, istioSystem).Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.Edge{
		Services: []mesh.Service{{
			Namespace: "edge", Name: "door", UID: "u1", Type: "LoadBalancer", ClusterIP: "10.0.0.1", Addresses: []string{"192.0.2.9"}, Selector: map[string]string{"istio": "gw"},
			Ports: []mesh.ServicePort{{Name: "https", Port: 443, NodePort: 30443, Target: "443"}}, Owner: mesh.Owner{Kind: mesh.OwnerNone},
		}},
		Gateways: []mesh.GatewayObject{
			{
				Namespace: "edge", Name: "bound", Class: "fancy", Controller: mesh.ControllerGateway, Bound: []string{"door.edge.svc"},
				Listeners: []mesh.Listener{{Name: "http", Port: 80, Protocol: "HTTP", Hosts: []string{"a.example"}}},
			},
			{
				Namespace: "edge", Name: "public", Selector: map[string]string{"istio": "gw"},
				Listeners: []mesh.Listener{{Name: "https", Port: 443, Protocol: "HTTPS", Hosts: []string{"shop.example"}, TLS: "SIMPLE"}},
			},
		},
		Scalers:  []mesh.Scaler{{Name: "gw", Target: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "gw"}, Min: 2, Max: 5}},
		FromMesh: []string{"edge/door"},
	}
	if d := cmp.Diff(want, s.Edge); d != "" {
		t.Errorf("-want +got %s", d)
	}
	shapes := map[string]mesh.Shape{}
	for _, g := range s.Gateways() {
		shapes[g.Ref.Name] = g.Shape
		if g.Ref.Name == "gw" && (len(g.Serves) != 2 || g.Role != mesh.RoleEgress) {
			t.Errorf("gw serves %v as %s, want both its Gateways, as egress", g.Serves, g.Role)
		}
	}
	if d := cmp.Diff(map[string]mesh.Shape{"gw": mesh.ShapeInPlace, "old": mesh.ShapeRendered}, shapes); d != "" { // the second has no pods at all
		t.Errorf("-want +got %s", d)
	}
	if w, _ := s.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "gw"}); !w.Gated {
		t.Error("the readiness gate was not seen")
	}
}
