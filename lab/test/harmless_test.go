package test_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// harmless are changes of a living cluster that mean nothing for a move.
func harmless() []struct {
	name string
	do   func(w *world)
} {
	object := func(text string) func(*world) { return func(w *world) { w.object(text) } }
	patch := func(kind schema.GroupVersionResource, ns, name, body string) func(*world) {
		return func(w *world) { w.patch(kind, ns, name, body) }
	}
	services, deployments := schema.GroupVersionResource{Version: "v1", Resource: "services"}, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	routes := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	return []struct {
		name string
		do   func(w *world)
	}{
		{"a resource is made again, and so comes last", func(w *world) { w.again(routes, "default", "reviews") }},
		{"the new istiod's Deployment says another version of its chart", patch(deployments, "istio-system", "istiod-"+next, `{"metadata":{"labels":{"helm.sh/chart":"istiod-1.29.99","app.kubernetes.io/version":"1.29.99"}}}`)},
		{"a port more on the new istiod's Service", patch(services, "istio-system", "istiod-"+next, `{"spec":{"ports":[{"name":"extra","port":9999,"targetPort":9999}]}}`)},
		{"an endpoint is unwell for a moment", func(w *world) { w.unwell("ratings") }},
		{"a namespace more", object(`{apiVersion: v1, kind: Namespace, metadata: {name: newcomer}}`)},
		{"another Deployment is rolled out", func(w *world) {
			w.object(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: other, namespace: newcomer}, spec: {replicas: 1, selector: {matchLabels: {app: other}}, template: {metadata: {labels: {app: other}},
  spec: {containers: [{name: app, image: "docker.io/serin/app:1"}]}}}}`)
			w.patch(deployments, "newcomer", "other", `{"spec":{"template":{"metadata":{"annotations":{"touched":"yes"}}}}}`)
		}},
		{"configuration is touched, its spec is the same", patch(routes, "default", "reviews", `{"metadata":{"annotations":{"example.com/touched":"yes"}}}`)},
		{"a label more on a Service", patch(services, "default", "details", `{"metadata":{"labels":{"team":"shop"}}}`)},
		{"a label more on a namespace", patch(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", "default", `{"metadata":{"labels":{"team":"shop"}}}`)},
		{"a resource has another version", patch(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}, "default", "reviews", `{"metadata":{"labels":{"touched":"yes"}}}`)},
		{"replicas are scaled", patch(deployments, "default", "details-v1", `{"spec":{"replicas":2}}`)},
		{"a pod is made again", func(w *world) { w.restartOne("details") }},
		{"a Service more", object(`{apiVersion: v1, kind: Service, metadata: {name: more, namespace: default}, spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}}`)},
		{"a host more outside of the mesh", object(`{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: more, namespace: default},
  spec: {hosts: [more.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}}`)},
	}
}

// harmless makes each change, after which the gate opens as before.
func (w *world) harmless(t *testing.T) {
	t.Helper()
	for _, h := range harmless() {
		t.Run(h.name, func(t *testing.T) {
			outer := w.t
			w.t = t
			defer func() { w.t = outer }()
			h.do(w)
			if state, said, p := w.foreseen(gate.Open, ""); state != gate.Open {
				t.Errorf("the gate is %s: %s\n%+v", state, said, p.Ground)
			}
		})
	}
}

func (w *world) dynamic() dynamic.Interface {
	w.t.Helper()
	c, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) patch(kind schema.GroupVersionResource, ns, name, body string) {
	w.t.Helper()
	how := types.MergePatchType
	if kind.Resource == "services" {
		how = types.StrategicMergePatchType // ports are added, not replaced
	}
	if _, err := w.dynamic().Resource(kind).Namespace(ns).Patch(w.t.Context(), name, how, []byte(body), metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// again removes an object and makes it anew: istiod sorts by age.
func (w *world) again(kind schema.GroupVersionResource, ns, name string) {
	w.t.Helper()
	r := w.dynamic().Resource(kind).Namespace(ns)
	o, err := r.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	o.SetResourceVersion("")
	o.SetUID("")
	if _, err := r.Create(w.t.Context(), o, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// unwell says of a pod that it is not ready, until its kubelet says otherwise.
func (w *world) unwell(app string) {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil || len(list.Items) == 0 {
		w.t.Fatalf("%s has no pod: %v", app, err)
	}
	body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"False","lastTransitionTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := w.kube.CoreV1().Pods("default").Patch(w.t.Context(), list.Items[0].Name, types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, "status"); err != nil {
		w.t.Fatal(err)
	}
}

// restartOne deletes one of an app's pods once it has two that are ready.
func (w *world) restartOne(app string) {
	w.t.Helper()
	w.until("two ready pods of "+app, func() string {
		for _, wl := range w.snapshot().Workloads {
			if wl.Name == app+"-v1" && wl.Ready == 2 {
				return ""
			}
		}
		return "not yet"
	})
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.kube.CoreV1().Pods("default").Delete(w.t.Context(), list.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// plugged is a certificate authority as Istio's Secret cacerts holds it.
func plugged(tb testing.TB) map[string][]byte {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "planted", Organization: []string{"planted"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return map[string][]byte{
		"ca-cert.pem": root, "root-cert.pem": root, "cert-chain.pem": root,
		"ca-key.pem": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
}
