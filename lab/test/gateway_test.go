package test_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/lab/behind"
	"github.com/serin-mesh/serin/lab/bookinfo"
)

// watched is what was behind a Service, at every instant.
type watched struct {
	*behind.Service

	t testing.TB
}

func (w *world) watchBehind(namespace, service string) *watched {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w.t.Cleanup(stop)
	b, err := behind.Watch(ctx, w.kube, namespace, service)
	if err != nil {
		w.t.Fatal(err)
	}
	return &watched{b, w.t}
}

func (b *watched) reset() { b.Reset() }

// least is the fewest pods that were ready at any instant, and whether one whose
// name begins so was ever among them.
func (b *watched) least(prefix string) (int, bool) {
	b.t.Helper()
	n, err := b.Least()
	if err != nil {
		b.t.Error(err)
	}
	return n, b.Met(prefix)
}

func (w *world) scaleIngress(n string) {
	w.t.Helper()
	api := w.kube.AppsV1().Deployments(bookinfo.Gateway)
	if _, err := api.Patch(w.t.Context(), bookinfo.Gateway, types.MergePatchType, []byte(`{"spec":{"replicas":`+n+`}}`), metav1.PatchOptions{}, "scale"); err != nil {
		w.t.Fatal(err)
	}
	if err := bookinfo.WaitReady(w.t.Context(), w.cfg, bookinfo.Gateway); err != nil {
		w.t.Fatal(err)
	}
}

// pin labels a VirtualService with a revision: only that one reads it (R§1.6).
func (w *world) pin(value string) {
	w.t.Helper()
	patch := `{"metadata":{"labels":{"istio.io/rev":` + value + `}}}`
	c := w.kube.Discovery().RESTClient()
	err := c.Patch(types.MergePatchType).AbsPath("/apis/networking.istio.io/v1/namespaces/default/virtualservices/bookinfo").Body([]byte(patch)).Do(w.t.Context()).Error()
	if err != nil {
		w.t.Fatal(err)
	}
}

// A Helm gateway moves by a second release behind the same Service, under load:
// held out until proven (S-29), pod by pod, the first drained and back. A route
// that the new one lacks is found by the gate parity before a client meets it.
func TestGatewayCanary_behindTheSameService(t *testing.T) {
	nightly(t)
	const added = "istio-ingress-1-29-1"
	w := newWorld(t, "1.27.0", "1.29.1")
	w.scaleIngress("2")
	w.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--charts", w.lab.ChartRepo(), "--from-revision", "default", "-y")
	w.busy()
	before := w.snapshot()
	b := w.watchBehind(bookinfo.Gateway, bookinfo.Gateway)
	traffic := []string{"--soak", "1s", "--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host}
	gateway := func(code int, args ...string) string {
		return w.run(code, append(append([]string{"gateway"}, args...), traffic...)...)
	}

	w.pin(`"default"`)
	out := gateway(4, "add", "istio-ingress", "--revision", "1-29-1", "--charts", w.lab.ChartRepo(), "--patience", "1m")
	if !strings.Contains(out, "lack what istio-ingress-") || !strings.Contains(out, "bookinfo.example.com") {
		t.Errorf("the missing route was not named:\n%s", out)
	}
	if least, in := b.least(added); in || least != 2 {
		t.Fatalf("with a route missing: a new pod in the Service: %v; ready at least %d, want 2", in, least)
	}
	w.run(5, "rollback")
	w.pin("null")

	gateway(0, "add", "istio-ingress", "--revision", "1-29-1", "--charts", w.lab.ChartRepo())
	w.run(0, "gateway", "test", added)
	if least, in := b.least(added); in || least != 2 {
		t.Fatalf("S-29: proven and not opened: a new pod in the Service: %v; ready at least %d, want 2", in, least)
	}
	gateway(3, "drain", "istio-ingress")
	gateway(0, "shift", added, "--to", "1")
	gateway(0, "shift", added, "--to", "100%")
	gateway(0, "drain", "istio-ingress")
	if s := w.snapshot(); cmp.Diff(before.Edge.Services, s.Edge.Services) != "" {
		t.Errorf("the Service is not as it was: %s", cmp.Diff(before.Edge.Services, s.Edge.Services))
	}
	gateway(0, "restore", "istio-ingress", "--revision", "default")
	gateway(0, "remove", added, "-y")
	eventually(t, "the pods of "+added+" to have ended", func() bool {
		pods, err := w.kube.CoreV1().Pods(bookinfo.Gateway).List(t.Context(), metav1.ListOptions{})
		return err == nil && !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return strings.HasPrefix(p.Name, added) })
	})
	after := w.snapshot()
	if d := before.Differences(after); len(d) > 0 {
		t.Errorf("not as before: %v", d)
	}
	if least, in := b.least(added); !in || least < 2 {
		t.Errorf("ready behind the Service at every instant: at least %d, want 2 (the new ones were in: %v)", least, in)
	}
	for _, g := range after.Gateways() {
		if g.Ref.Name == "istio-ingress" && (g.Shape != mesh.ShapeHelm || g.Ready != 2) {
			t.Errorf("at the end: %+v", g)
		}
	}
	w.kinds()
	w.lost()
}
