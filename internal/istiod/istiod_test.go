package istiod_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/shadow"
)

const dump = `{"configs":[
 {"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"outbound|80||a","type":"EDS","edsClusterConfig":{"serviceName":"other"}},
 {"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"outbound|80||b","type":"EDS","edsClusterConfig":{}},
 {"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"BlackHoleCluster","type":"STATIC"},
 {"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","clusterName":"outbound|80||b"},
 {"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l","filterChains":[{"filters":[{"typedConfig":{"rds":{"routeConfigName":"80"},
   "httpFilters":[{"name":"shop.wasm","configDiscovery":{}},{"name":"router"}]}}]}]},
 {"@type":"type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm","config":{"name":"shop.wasm"}},
 {"@type":"type.googleapis.com/istio.networking.nds.v1.NameTable","table":{"a":{}}}
]}`

func TestParseDump_sortsByTypeAndName(t *testing.T) {
	c, err := istiod.ParseDump([]byte(dump))
	if err != nil {
		t.Fatal(err)
	}
	got := map[shadow.Kind]int{}
	for kind, resources := range c {
		got[kind] = len(resources)
	}
	want := map[shadow.Kind]int{shadow.Clusters: 3, shadow.Endpoints: 1, shadow.Listeners: 1, shadow.Extensions: 1, shadow.Names: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	leads := istiod.References(c)
	if diff := cmp.Diff([3]map[string]bool{{"other": true, "outbound|80||b": true}, {"80": true}, {"shop.wasm": true}}, leads); diff != "" {
		t.Error(diff)
	}
}

// A type that nobody expected is not passed over: what is not compared proves nothing.
func TestParseDump_anUnknownTypeIsAnError(t *testing.T) {
	_, err := istiod.ParseDump([]byte(`{"configs":[{"@type":"type.googleapis.com/shop.New"}]}`))
	if err == nil || !strings.Contains(err.Error(), "shop.New") {
		t.Errorf("got %v", err)
	}
}

func TestNodeOf_isTheProxyAfterItsMove(t *testing.T) {
	injected := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"app": "cart", "pod-template-hash": "abc", "service.istio.io/canonical-name": "cart"},
			Annotations: map[string]string{"istio.io/rev": "1-29-1"},
		},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{
			Name: "istio-proxy", Args: []string{"proxy", "router", "--domain", "$(POD_NAMESPACE).svc.mesh.local"},
			Env: []corev1.EnvVar{
				{Name: "PROXY_CONFIG", Value: `{"discoveryAddress":"istiod-1-29-1.istio-system.svc:15012"}`},
				{Name: "ISTIO_META_CLUSTER_ID", Value: "Kubernetes"},
				{Name: "ISTIO_META_AUTO_REGISTER_GROUP", Value: "vms"},
				{Name: "ISTIO_META_NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
				{Name: "ISTIO_METAJSON_ONE", Value: `{"STATIC":{"a":"b"}}`},
			},
		}}},
	}
	now := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "cart-abc-1", Namespace: "shop"},
		Spec:       corev1.PodSpec{NodeName: "n1", ServiceAccountName: "cart"}, Status: corev1.PodStatus{PodIP: "10.0.0.7"},
	}
	n := istiod.NodeOf(injected, now, map[string]any{"ENVOY_STATUS_PORT": 15021, "CLUSTER_ID": "old"}, "1.29.1")
	if want := "router~10.0.0.7~cart-abc-1.shop~shop.svc.mesh.local"; n.GetId() != want {
		t.Errorf("id %s, want %s", n.GetId(), want)
	}
	want := map[string]any{
		"PROXY_CONFIG": map[string]any{"discoveryAddress": "istiod-1-29-1.istio-system.svc:15012"}, "CLUSTER_ID": "Kubernetes", "NODE_NAME": "n1",
		"STATIC": map[string]any{"a": "b"}, "ENVOY_STATUS_PORT": 15021.0, "NAME": "cart-abc-1", "NAMESPACE": "shop", "SERVICE_ACCOUNT": "cart",
		"INSTANCE_IPS": "10.0.0.7", "ISTIO_VERSION": "1.29.1", "ANNOTATIONS": map[string]any{"istio.io/rev": "1-29-1"},
		"LABELS": map[string]any{"app": "cart", "service.istio.io/canonical-name": "cart"},
	}
	if diff := cmp.Diff(want, n.GetMetadata().AsMap()); diff != "" {
		t.Error(diff)
	}
	if n.GetLocality().GetRegion() != "r" {
		t.Errorf("locality %v", n.GetLocality())
	}
	if istiod.NodeOf(corev1.Pod{}, now, nil, "1.29.1") != nil {
		t.Error("a pod without a proxy has a node")
	}
}

// S-22: the shadow of a Gateway's proxy is of the pod that the new revision makes, in
// the place of one that is: what that one was made of is not asked about.
func TestS22_theShadowIsOfTheNewTemplate(t *testing.T) {
	proxy := func(rev string) []corev1.Container {
		return []corev1.Container{{Name: "istio-proxy", Args: []string{"proxy", "router"}, Env: []corev1.EnvVar{{Name: "ISTIO_META_OWNER", Value: rev}}}}
	}
	now := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "edge-1", Namespace: "shop", GenerateName: "edge-", Labels: map[string]string{"old": "true"}},
		Spec:       corev1.PodSpec{Containers: proxy("default")}, Status: corev1.PodStatus{PodIP: "10.0.0.7"},
	}
	next := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"new": "true"}}, Spec: corev1.PodSpec{Containers: proxy("1-29-1")}}
	n := istiod.NodeOf(istiod.InPlaceOf(now, next), now, nil, "1.29.1")
	meta := n.GetMetadata().AsMap()
	if n.GetId() != "router~10.0.0.7~edge-1.shop~shop.svc.cluster.local" || meta["OWNER"] != "1-29-1" || meta["ISTIO_VERSION"] != "1.29.1" || !cmp.Equal(meta["LABELS"], map[string]any{"new": "true"}) {
		t.Errorf("%s: %v", n.GetId(), meta)
	}
}
