package test_test

import (
	"slices"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// What loses requests on real Envoy (test/e2e) loses them in the lab, or the lab
// proves nothing: a Gateway pinned to new pods while the Service sends clients to
// the old ones too, and a rollout restart of services that stop at SIGTERM. S-56.
func TestLab_losesWhatEnvoyLoses(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0") // no drain: they stop at once
	ctx := t.Context()
	if lost := w.tally(); lost > 0 {
		t.Fatalf("%d requests lost before anything was done", lost)
	}

	gateways := dynamic.NewForConfigOrDie(w.cfg).Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "gateways"}).Namespace("default")
	values := bookinfo.GatewayValues()
	values["service"] = map[string]any{"type": "None"}
	values["labels"] = map[string]any{"istio": "ingress", "app": bookinfo.Gateway, "canary": "true"}
	helm := istio.NewHelm(w.cfg, istio.NewCharts(w.lab.ChartRepo()))
	if err := helm.Install(ctx, mesh.Release{Namespace: bookinfo.Gateway, Name: "istio-ingress-canary", Chart: "gateway", Version: "1.27.0", Values: values}, ""); err != nil {
		t.Fatal(err)
	}
	if err := bookinfo.WaitReady(ctx, w.cfg, bookinfo.Gateway); err != nil {
		t.Fatal(err)
	}
	pin := func(selector string) {
		t.Helper()
		_, err := gateways.Patch(ctx, "bookinfo-gateway", types.MergePatchType, []byte(`{"spec":{"selector":{"istio":"ingress","canary":`+selector+`}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(8 * time.Second)
	}
	pin(`"true"`)
	if w.tally() == 0 {
		t.Error("S-56: a pinned selector lost nothing")
	}
	pin("null")
	w.tally()

	apps, err := w.kube.AppsV1().Deployments("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // by chance one round may lose nothing
		for _, d := range apps.Items {
			patch := `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"` + time.Now().Format(time.RFC3339Nano) + `"}}}}}`
			if _, err := w.kube.AppsV1().Deployments("default").Patch(ctx, d.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := bookinfo.WaitReady(ctx, w.cfg, "default"); err != nil {
			t.Fatal(err)
		}
		for {
			pods, err := w.kube.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !leaving(pods.Items) {
				break
			}
			<-time.After(time.Second)
		}
		if w.tally() > 0 {
			return
		}
	}
	t.Error("S-56: a rollout restart of services that stop at SIGTERM lost nothing")
}

// What a revision's only istiod costs when it dies in a wave is how long it is
// away: a gateway that does not learn of a new pod sends to the old one, until that
// has drained and is gone, and then nobody answers. On real Envoy ten seconds away cost 16 of
// 8,831 (test/e2e), and an istiod that was back in time nothing. S-56.
func TestLab_losesWhatAnAbsentIstiodCosts(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", "1-29-1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.run(0, "move", "default", "--to", "1-29-1", "--labels-only")
	for _, c := range []struct {
		away  string
		loses bool
	}{{"0s", false}, {"15s", true}} {
		w.tally()
		old := len(w.moved("productpage", "v1"))
		patch := `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"` + time.Now().Format(time.RFC3339Nano) + `"}}}}}`
		if _, err := w.kube.AppsV1().Deployments("default").Patch(t.Context(), "productpage-v1", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		for len(w.moved("productpage", "v1")) == old { // until its new pod has been injected
			<-time.After(20 * time.Millisecond)
		}
		w.istiods("default", "istiod-away", c.away)
		if err := bookinfo.WaitReady(t.Context(), w.cfg, "default"); err != nil {
			t.Fatal(err)
		}
		<-time.After(8 * time.Second) // the old pod has drained and is gone
		if lost := w.tally(); lost > 0 != c.loses {
			t.Errorf("S-56: the only istiod was away for %s: %d requests lost", c.away, lost)
		} else {
			t.Logf("away for %s: %d lost", c.away, lost)
		}
	}
}

func leaving(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}
