package cluster_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdfake "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/fake"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/mesh"
)

const istioSystem = "istio-system"

// world is a cluster in memory. Objects of Kubernetes' own kinds are served by
// Kube, and by Metadata as well; definitions by CRDs; the rest by Dynamic.
type world struct {
	cluster.Clients
	kube *kubefake.Clientset
	meta *metadatafake.FakeMetadataClient
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	var typed, crds, custom, partial []runtime.Object
	for _, o := range objects {
		partial = append(partial, metadataOf(t, o))
		switch o := o.(type) {
		case *apiextensionsv1.CustomResourceDefinition:
			crds = append(crds, o)
		case *unstructured.Unstructured:
			custom = append(custom, o)
		default:
			typed = append(typed, o)
		}
	}
	metaScheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(metaScheme); err != nil {
		t.Fatal(err)
	}
	lists := map[schema.GroupVersionResource]string{
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}: "GatewayList", // a server answers NotFound, which the fake cannot
	}
	for _, gvr := range cluster.RouteKinds() {
		lists[gvr] = routeKind(gvr) + "List"
	}
	for _, gvr := range cluster.PlaneKinds() { // nothing but the list's resource matters to the fake
		lists[gvr] = gvr.Resource + "List"
	}
	for _, o := range crds {
		if c, ok := o.(*apiextensionsv1.CustomResourceDefinition); ok {
			gvr := schema.GroupVersionResource{Group: c.Spec.Group, Version: c.Spec.Versions[0].Name, Resource: c.Spec.Names.Plural}
			lists[gvr] = c.Spec.Names.Kind + "List"
		}
	}
	w := &world{kube: kubefake.NewClientset(typed...), meta: metadatafake.NewSimpleMetadataClient(metaScheme, partial...)}
	if d, ok := w.kube.Discovery().(*fake.FakeDiscovery); ok {
		d.FakedServerVersion = serverVersion("v1.36.3")
	}
	w.Clients = cluster.Clients{
		Kube: w.kube, CRDs: crdfake.NewClientset(crds...), Metadata: w.meta,
	}
	w.Dynamic = dynamicOf(t, lists, custom)
	return w
}

// routeKind is "HTTPRoute" of httproutes.
func routeKind(gvr schema.GroupVersionResource) string {
	return strings.ToUpper(strings.TrimSuffix(gvr.Resource, "routes")) + "Route"
}

// dynamicOf files each object under its definition: the fake by itself would
// guess "gatewaies".
func dynamicOf(t *testing.T, lists map[schema.GroupVersionResource]string, custom []runtime.Object) *dynamicfake.FakeDynamicClient {
	t.Helper()
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists)
	for _, o := range custom {
		acc, err := meta.Accessor(o)
		if err != nil {
			t.Fatal(err)
		}
		gvk := o.GetObjectKind().GroupVersionKind()
		for gvr, list := range lists {
			if gvk.Group != gvr.Group || gvk.Kind+"List" != list {
				continue
			}
			if err := client.Tracker().Create(gvr, o, acc.GetNamespace()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return client
}

// metadataOf is what the metadata client serves of an object.
func metadataOf(t *testing.T, o runtime.Object) runtime.Object {
	t.Helper()
	acc, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: acc.GetNamespace(), Name: acc.GetName(), Labels: acc.GetLabels(), Annotations: acc.GetAnnotations(),
		OwnerReferences: acc.GetOwnerReferences(), ManagedFields: acc.GetManagedFields(),
	}}
	gvk := o.GetObjectKind().GroupVersionKind()
	switch o.(type) {
	case *corev1.Secret, *corev1.Namespace, *corev1.Service, *corev1.Pod, *corev1.ConfigMap:
		gvk = corev1.SchemeGroupVersion.WithKind(kindOf(o))
	case *appsv1.ReplicaSet, *appsv1.Deployment, *appsv1.StatefulSet, *appsv1.DaemonSet:
		gvk = appsv1.SchemeGroupVersion.WithKind(kindOf(o))
	case *admissionv1.MutatingWebhookConfiguration, *admissionv1.ValidatingWebhookConfiguration:
		gvk = admissionv1.SchemeGroupVersion.WithKind(kindOf(o))
	case *apiextensionsv1.CustomResourceDefinition:
		gvk = apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition")
	}
	if gvk.Kind == "" {
		gvk = schema.GroupVersionKind{Version: "v1", Kind: "Unserved"}
	}
	p.SetGroupVersionKind(gvk)
	return p
}

func kindOf(o runtime.Object) string {
	s := fmt.Sprintf("%T", o)
	return s[bytes.LastIndexByte([]byte(s), '.')+1:]
}

func (w *world) reader() *cluster.Reader { return cluster.ReaderOf(w.Clients, istioSystem) }

// Marks of owners.

func byHelm(o metav1.ObjectMeta, release string) metav1.ObjectMeta {
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels["app.kubernetes.io/managed-by"] = "Helm"
	o.Annotations = map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": istioSystem}
	return o
}

// Objects as Istio's charts render them.

func namespace(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for i := 0; i+1 < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	return n
}

func requirement(key, op string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOperator(op), Values: values}
}

func where(rs ...metav1.LabelSelectorRequirement) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: rs}
}

// injector is the webhook configuration of a revision.
func injector(rev, bundle string) *admissionv1.MutatingWebhookConfiguration {
	in := mesh.RevisionInjector(rev, istioSystem)
	m := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: byHelm(metav1.ObjectMeta{
		Name: in.Name, Labels: map[string]string{mesh.RevLabel: rev, "app": "sidecar-injector", "operator.istio.io/component": "Pilot"},
	}, mesh.IstiodName(rev))}
	path, fail := "/inject", admissionv1.Fail
	for _, h := range in.Webhooks {
		m.Webhooks = append(m.Webhooks, admissionv1.MutatingWebhook{
			Name: h.Name, FailurePolicy: &fail, NamespaceSelector: converted(h.NamespaceSelector), ObjectSelector: converted(h.ObjectSelector),
			ClientConfig: admissionv1.WebhookClientConfig{
				Service: &admissionv1.ServiceReference{Namespace: istioSystem, Name: mesh.IstiodName(rev), Path: &path}, CABundle: []byte(bundle),
			},
		})
	}
	return m
}

func converted(s mesh.Selector) *metav1.LabelSelector {
	var rs []metav1.LabelSelectorRequirement
	for _, r := range s.MatchExpressions {
		rs = append(rs, requirement(r.Key, r.Operator, r.Values...))
	}
	return where(rs...)
}

// validator is a webhook configuration that validates.
func validator(name, entry, rev, release string) *admissionv1.ValidatingWebhookConfiguration {
	path, fail := "/validate", admissionv1.Fail
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: byHelm(metav1.ObjectMeta{Name: name, Labels: map[string]string{mesh.RevLabel: rev, "app": "istiod"}}, release),
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: entry, FailurePolicy: &fail, ClientConfig: admissionv1.WebhookClientConfig{
				Service: &admissionv1.ServiceReference{Namespace: istioSystem, Name: mesh.IstiodName(rev), Path: &path}, CABundle: []byte("root"),
			},
		}},
	}
}

func defaultValidator(rev string) *admissionv1.ValidatingWebhookConfiguration {
	return validator(mesh.DefaultValidator, "validation.istio.io", rev, "istio-base")
}

func ownValidator(rev string) *admissionv1.ValidatingWebhookConfiguration {
	return validator(mesh.RevisionValidator(rev, istioSystem).Name, "rev.validation.istio.io", rev, mesh.IstiodName(rev))
}

func istiodService(rev string) *corev1.Service {
	sel := map[string]string{"app": "istiod", "istio": "pilot"}
	if rev != mesh.DefaultRevision {
		sel = map[string]string{"app": "istiod", mesh.RevLabel: rev}
	}
	return &corev1.Service{
		ObjectMeta: byHelm(metav1.ObjectMeta{Namespace: istioSystem, Name: mesh.IstiodName(rev), Labels: map[string]string{mesh.RevLabel: rev, "app": "istiod"}}, mesh.IstiodName(rev)),
		Spec:       corev1.ServiceSpec{Selector: sel, Ports: []corev1.ServicePort{{Name: "https-webhook", Port: 443}, {Name: "grpc-xds", Port: 15010, NodePort: 30000}}},
	}
}

func istiod(rev, version string, n int32) *appsv1.Deployment {
	d := deployment(istioSystem, mesh.IstiodName(rev), n, "discovery", "docker.io/istio/pilot:"+version)
	d.ObjectMeta = byHelm(metav1.ObjectMeta{Namespace: istioSystem, Name: mesh.IstiodName(rev), UID: types.UID("istiod-" + rev), Labels: map[string]string{"app": "istiod", mesh.RevLabel: rev}}, mesh.IstiodName(rev))
	d.Spec.Template.Labels = map[string]string{"app": "istiod", mesh.RevLabel: rev, mesh.InjectLabel: "false"}
	return d
}

// deployment is settled, with surge and nothing unavailable.
func deployment(ns, name string, n int32, container, image string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(name), Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: image}}},
			},
		},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n},
	}
}

func controller(kind, apiVersion, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(name), Controller: &yes}}
}

func replicaSet(ns, name, of string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: name, UID: types.UID(name), Labels: map[string]string{"app": of}, OwnerReferences: controller("Deployment", "apps/v1", of),
	}}
}

// pod is a ready pod of the namespace shop with a sidecar that a revision injected.
func pod(name, rev, version string, owner []metav1.OwnerReference) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, OwnerReferences: owner, Annotations: map[string]string{mesh.RevLabel: rev}, Labels: map[string]string{"app": name},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "istio-proxy", Image: "docker.io/istio/proxyv2:" + version}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

// helmSecret is a record of Helm's storage.
func helmSecret(t *testing.T, r mesh.Release, revision int) *corev1.Secret {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"name": r.Name, "namespace": r.Namespace, "version": revision, "info": map[string]any{"status": r.Status}, "config": r.Values,
		"chart": map[string]any{"metadata": map[string]any{"name": r.Chart, "version": r.Version}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	if _, err := g.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.Name, revision),
			Labels: map[string]string{"owner": "helm", "name": r.Name, "status": r.Status, "version": strconv.Itoa(revision)},
		},
		Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(z.Bytes()))},
	}
}

// crd is an established definition that nobody owns.
func crd(plural, group, kind string) *apiextensionsv1.CustomResourceDefinition {
	c := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: kind},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true}},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{
			StoredVersions: []string{"v1"},
			Conditions:     []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}},
		},
	}
	return c
}

// helmCRD is one that the base release owns.
func helmCRD(plural, group, kind string) *apiextensionsv1.CustomResourceDefinition {
	c := crd(plural, group, kind)
	c.ObjectMeta = byHelm(c.ObjectMeta, "istio-base")
	return c
}

// custom is an object of the namespace shop.
func custom(apiVersion, kind, name string, labels map[string]string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
	o.SetNamespace("shop")
	o.SetName(name)
	o.SetLabels(labels)
	return o
}
