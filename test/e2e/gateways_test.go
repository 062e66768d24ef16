package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/lab/behind"
	"github.com/serin-mesh/serin/lab/bookinfo"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/test/e2e/load"
	"github.com/serin-mesh/serin/test/e2e/sample"
)

// gatewayRates share a rate out over what a gateway's clients use.
func gatewayRates(total int) map[load.Kind]int {
	return map[load.Kind]int{load.HTTP1New: max(1, total*4/10), load.HTTP1Kept: max(1, total*3/10), load.HTTP2: max(1, total*3/10)}
}

// A gateway of two pods moves with the whole upgrade, and back with it, under 200
// requests a second of new and kept connections of HTTP/1.1 and of HTTP/2: none is
// lost, its Service keeps its identity and addresses, and never has fewer ready pods
// behind it than before.
func TestGateways(t *testing.T) {
	for _, shape := range []struct {
		name string
		more []string
	}{
		{"canary", []string{"--gateways", "canary"}},
		{"in place", nil},
	} {
		t.Run(shape.name, func(t *testing.T) {
			w := newWorld(t, sample.Options{Drain: 5 * time.Second})
			w.rates = gatewayRates(*rateFlag)
			w.twoPods()
			w.wholeGateway(sample.Gateway, sample.Gateway, shape.more...)
		})
	}
	t.Run("managed", func(t *testing.T) {
		w := newWorld(t, sample.Options{Drain: 5 * time.Second})
		w.rates = gatewayRates(*rateFlag)
		w.managed()
		w.wholeGateway(sample.Namespace, "edge-istio")
	})
}

// wholeGateway goes there and back with a Service of a gateway watched.
func (w *world) wholeGateway(namespace, service string, more ...string) {
	w.t.Helper()
	was := w.identity(namespace, service)
	b, err := behind.Watch(w.t.Context(), w.kube, namespace, service)
	if err != nil {
		w.t.Fatal(err)
	}
	before, err := b.Least()
	if err != nil || before == 0 {
		w.t.Fatalf("behind %s are %d: %v", service, before, err)
	}
	same := func(t *testing.T) {
		t.Helper()
		if n, err := b.Least(); n < before || err != nil {
			t.Errorf("ready behind the Service at every instant at least %d, want %d: %v", n, before, err)
		}
		if d := cmp.Diff(was, w.identity(namespace, service)); d != "" {
			t.Errorf("the Service is not as it was: %s", d)
		}
	}
	w.t.Run("there", func(t *testing.T) {
		w := w.in(t)
		file := w.plan(more...)
		w.begin()
		w.run(0, "apply", file, "--approve")
		w.lost(w.end("there"))
		w.on(*toFlag)
		same(t)
	})
	b.Reset()
	w.t.Run("back", func(t *testing.T) {
		w := w.in(t)
		w.begin()
		w.run(5, "rollback")
		w.lost(w.end("back"))
		w.on(*fromFlag)
		same(t)
	})
}

// identity is what clients know a Service by.
func (w *world) identity(namespace, name string) map[string]any {
	w.t.Helper()
	s, err := w.kube.CoreV1().Services(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string]any{"uid": s.UID, "addresses": s.Spec.ClusterIPs, "ports": s.Spec.Ports, "external": s.Status.LoadBalancer}
}

// twoPods gives the gateway two pods, so that one less would show.
func (w *world) twoPods() {
	w.t.Helper()
	if _, err := w.kube.AppsV1().Deployments(sample.Gateway).Patch(w.t.Context(), sample.Gateway, types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}, "scale"); err != nil {
		w.t.Fatal(err)
	}
	w.ready(sample.Gateway)
}

func (w *world) ready(namespace string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	if err := bookinfo.WaitReady(ctx, w.cfg, namespace); err != nil {
		w.t.Fatal(err)
	}
}

// managed puts the definitions of the Gateway API and a Gateway that istiod deploys
// on the cluster, and sends the load to that.
func (w *world) managed() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join("..", "..", "lab", "build", "istio", "1.29.1") // the newer Istio is built with them
	dir, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("finding the Gateway API: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard", "*.yaml"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("finding the Gateway API in %s: %v", dir, err)
	}
	w.t.Cleanup(func() { w.withoutGatewayAPI(context.Background()) })
	w.apply(ctx, append(files, "testdata/managed.yaml")...)
	var svc *corev1.Service
	err = wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		svc, err = w.kube.CoreV1().Services(sample.Namespace).Get(ctx, "edge-istio", metav1.GetOptions{})
		return err == nil && svc.Spec.ClusterIP != "", nil
	})
	if err != nil {
		w.t.Fatalf("waiting for what istiod deploys: %v", err)
	}
	w.ready(sample.Namespace)
	w.front = net.JoinHostPort(svc.Spec.ClusterIP, "80")
	cfg, err := w.loader.Addresses(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Gateway, cfg.Rates = w.front, gatewayRates(20)
	if err := w.loader.SettleOn(ctx, cfg); err != nil {
		w.t.Fatal(err)
	}
}

// withoutGatewayAPI takes its definitions off the cluster, and with them what is of them.
func (w *world) withoutGatewayAPI(ctx context.Context) {
	w.t.Helper()
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Error(err)
		return
	}
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	list, err := crds.List(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Error(err)
		return
	}
	for _, o := range list.Items {
		if strings.HasSuffix(o.GetName(), ".gateway.networking.k8s.io") {
			if err := crds.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// apply applies files, again until their definitions are served.
func (w *world) apply(ctx context.Context, files ...string) {
	w.t.Helper()
	var all []*unstructured.Unstructured
	for _, f := range files {
		in, err := os.Open(filepath.Clean(f))
		if err != nil {
			w.t.Fatal(err)
		}
		for d := yaml.NewYAMLOrJSONDecoder(in, 4096); ; {
			o := &unstructured.Unstructured{}
			if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				w.t.Fatalf("%s: %v", f, err)
			}
			if o.GetKind() != "" && o.GetKind() != "CustomResourceDefinitionList" {
				all = append(all, o)
			}
		}
		_ = in.Close()
	}
	var last error
	err := wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = bookinfo.Apply(ctx, w.cfg, all)
		return last == nil, nil
	})
	if err != nil {
		w.t.Fatalf("applying %v: %v", files, last)
	}
}
