package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

func amount(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func node(name, kubelet, cpu, memory string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Allocatable: amount(cpu, memory), NodeInfo: corev1.NodeSystemInfo{KubeletVersion: kubelet}},
	}
}

// surveyable is a mesh with one of everything that a survey looks at.
func surveyable() []runtime.Object {
	busy := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "busy"}, Spec: corev1.PodSpec{
		NodeName: "a", Containers: []corev1.Container{{Name: "app", Resources: corev1.ResourceRequirements{Requests: amount("1500m", "1Gi")}}},
	}}
	native := pod("native", "default", "1.27.0", nil)
	native.Spec.InitContainers, native.Spec.Containers = native.Spec.Containers[1:], native.Spec.Containers[:1]
	gateway := pod("gateway", "default", "1.27.0", nil)
	gateway.Annotations[mesh.TemplatesAnnotation] = "gateway"
	tainted := node("c", "v1.33.0", "64", "256Gi")
	tainted.Spec.Taints = []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}
	d := istiod("default", "1.27.0", 1)
	d.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{
		{Name: "PILOT_X", Value: "y"},
		{Name: "API_TOKEN", Value: "s3cret"},
		{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{}},
	}
	d.Spec.Template.Spec.Containers[0].Resources.Requests = amount("500m", "2Gi")
	budget := func(ns, name, app string) runtime.Object {
		return &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
			Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
		}
	}
	shop := namespace("shop", mesh.InjectionLabel, "enabled")
	shop.Annotations = map[string]string{"ambient.istio.io/dns-capture": "false", "other/one": "x"}
	routes := crd("grpcroutes", "gateway.networking.k8s.io", "GRPCRoute")
	routes.Annotations = map[string]string{"gateway.networking.k8s.io/bundle-version": "v1.0.0"}
	return []runtime.Object{
		namespace(istioSystem), shop, d, injector("default", "root"), istiodService("default"),
		deployment("shop", "cart", 1, "app", "cart:1"), busy, node("a", "v1.33.1", "4", "8Gi"), node("b", "v1.34.0", "2", "4Gi"), tainted,
		budget("shop", "one", "cart"), budget("shop", "two", "cart"), budget(istioSystem, "istiod", "istiod"),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "istio"}, Data: map[string]string{
			"mesh": "extensionProviders:\n- name: t\n  opencensus: {service: x}\n- name: u\n  zipkin: {accessToken: s3cret}\n",
		}},
		helmCRD("envoyfilters", "networking.istio.io", "EnvoyFilter"), helmCRD("telemetries", "telemetry.istio.io", "Telemetry"), helmCRD("sidecars", "networking.istio.io", "Sidecar"),
		pod("plain", "default", "1.27.0", nil), native, gateway,
		routes, crd("applications", "argoproj.io", "Application"),
		custom("networking.istio.io/v1", "EnvoyFilter", "lua", nil, map[string]any{"configPatches": []any{
			map[string]any{
				"match": map[string]any{"proxy": map[string]any{"proxyVersion": `^1\.27`}},
				"patch": map[string]any{"operation": "INSERT_BEFORE", "value": map[string]any{
					"name": "envoy.filters.http.lua", "typed_config": map[string]any{
						"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "type.googleapis.com/envoy.config.filter.http.lua.v2.Lua",
					},
				}},
			},
			"broken",
			map[string]any{"match": "broken", "patch": []any{}},
		}}),
		custom("telemetry.istio.io/v1", "Telemetry", "tags", nil, map[string]any{"metrics": []any{map[string]any{"value": `filter_state["wasm.downstream_peer"]`}}}),
		custom("argoproj.io/v1", "Application", "istiod", nil, map[string]any{"source": map[string]any{"chart": "istiod", "repoURL": "https://example.com"}}),
		custom("argoproj.io/v1", "Application", "shop", nil, map[string]any{"sources": []any{map[string]any{"chart": "base", "repoURL": "https://example.com"}}}),
	}
}

func permit(w *world, denied ...string) {
	w.kube.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create, _ := a.(clienttesting.CreateAction)
		review, _ := create.GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = true
		for _, d := range denied {
			review.Status.Allowed = review.Status.Allowed && review.Spec.ResourceAttributes.Resource != d
		}
		return true, review, nil
	})
}

func TestSurvey(t *testing.T) {
	w := newWorld(t, surveyable()...)
	permit(w, "clusterroles", "configmaps")
	s, err := w.reader().Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &mesh.Survey{
		Denied: []string{"clusterroles.rbac.authorization.k8s.io", "configmaps in namespace istio-system"},
		Nodes:  &mesh.Nodes{Count: 2, OldestKubelet: "v1.33.0", Free: []mesh.Room{{CPU: 2500, Memory: 7168}, {CPU: 2000, Memory: 4096}}},
		Istiods: map[string]mesh.Istiod{"default": {
			Requests: mesh.Room{CPU: 500, Memory: 2048}, Env: map[string]string{"PILOT_X": "y", "API_TOKEN": "(hidden)", "POD_NAME": "(reference)"}, Budget: &mesh.Budget{Name: "istiod"},
		}},
		MeshConfigs: map[string]map[string]any{"default": {"extensionProviders": []any{
			map[string]any{"name": "t", "opencensus": map[string]any{"service": "x"}}, map[string]any{"name": "u", "zipkin": map[string]any{"accessToken": "(hidden)"}},
		}}},
		Services:     []string{istioSystem + "/istiod"},
		GatewayAPI:   []mesh.CRD{{Name: "grpcroutes.gateway.networking.k8s.io", Established: true, StoredVersions: []string{"v1"}, ServedVersions: []string{"v1"}, Bundle: "v1.0.0", Owner: mesh.Owner{Kind: mesh.OwnerNone}}},
		Kinds:        []string{"telemetries.telemetry.istio.io"},
		EnvoyFilters: []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", ProxyVersions: []string{`^1\.27`}, Relative: []string{"INSERT_BEFORE"}, Types: []string{"envoy.config.filter.http.lua.v2.Lua", "udpa.type.v1.TypedStruct"}, Filters: []string{"envoy.filters.http.lua"}}},
		Texts:        map[string][]string{"telemetries.telemetry.istio.io wasm.": {"shop/tags"}},
		Annotations: map[string][]string{
			"ambient.istio.io/dns-capture": {"namespace shop"}, mesh.TemplatesAnnotation: {"workload pod shop/gateway"},
		},
		Installers:   []mesh.Object{{Kind: "Application", Namespace: "shop", Name: "istiod", Note: "Argo CD, chart istiod"}},
		PlainProxies: []string{"pod shop/plain"},
		Selectors:    &mesh.Selectors{},
		TwoBudgets:   []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}},
	}
	if d := cmp.Diff(want, s.Survey, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(mesh.CRD{}, "Owner", "Established")); d != "" {
		t.Error("-want +got", d)
	}
	if plain, err := w.reader().Observe(t.Context()); err != nil || plain.Survey != nil {
		t.Errorf("observing alone surveys nothing: %v %v", plain.Survey, err)
	}
}

// What the user may not look at is noted and fails nothing; any other error does.
func TestSurvey_notPermitted(t *testing.T) {
	refuse := func(w *world, err error) {
		w.kube.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
	}
	w := newWorld(t, surveyable()...)
	permit(w)
	refuse(w, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil))
	s, err := w.reader().Survey(t.Context())
	if err != nil || len(s.Survey.Unseen) != 1 || s.Survey.Unseen[0] != "nodes: not permitted" || s.Survey.Nodes != nil {
		t.Errorf("%v, %+v", err, s.Survey)
	}
	w = newWorld(t, surveyable()...)
	permit(w)
	broken := apierrors.NewInternalError(errors.New("conversion webhook failed"))
	foreign, ok := w.Dynamic.(*dynamicfake.FakeDynamicClient)
	if !ok {
		t.Fatalf("%T", w.Dynamic)
	}
	foreign.PrependReactor("list", "applications", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, broken })
	s, err = w.reader().Survey(t.Context())
	if err != nil || len(s.Survey.Unseen) != 1 || !strings.Contains(s.Survey.Unseen[0], "applications.argoproj.io: ") || !strings.Contains(s.Survey.Unseen[0], "conversion webhook failed") {
		t.Errorf("somebody else's resources that fail stop nothing: %v, %+v", err, s.Survey)
	}
	foreign.PrependReactor("list", "envoyfilters", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, broken })
	if _, err := w.reader().Survey(t.Context()); err == nil {
		t.Error("Istio's own must be listed")
	}
	w = newWorld(t, surveyable()...)
	permit(w)
	refuse(w, apierrors.NewInternalError(apierrors.NewBadRequest("broken")))
	if _, err := w.reader().Survey(t.Context()); err == nil {
		t.Error("a server that fails is no news at all")
	}
}
