package test_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/serin-mesh/serin/lab/behind"
	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/load"
)

// door is one of several gateways: its Service, and the hosts that it serves.
type door struct {
	namespace, service string
	from, to           int
	at                 string
	load               *load.Counter
	behind             *watched
}

func shopHost(n int) string { return fmt.Sprintf("shop-%02d.example.com", n) }

// Three gateways of different shapes, forty hosts, one plan: a release of the chart by
// a canary, one that istiod deploys, an egress gateway in place. Each is under a load
// of its own, of three kinds and 200 requests a second in all, there and back; none is
// lost, no Service is ever short of a pod, and each of the hosts answers at both ends.
func TestGateways_threeShapesInOnePlan(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w.apply(ctx, gatewayDefinitions(t))
	doors := []*door{
		{namespace: bookinfo.Gateway, service: bookinfo.Gateway, from: 1, to: 25}, {namespace: "default", service: "partners-istio", from: 26, to: 35}, {namespace: "egress", service: "egress", from: 36, to: 40},
	}
	file := filepath.Join(t.TempDir(), "three.yaml")
	if err := os.WriteFile(file, []byte(threeGateways()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.apply(ctx, file)
	within, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	for _, d := range doors {
		w.opens(ctx, d)
		d.load = load.Run(within, load.Mixed(load.Config{URL: "http://" + d.at + bookinfo.Path, Host: shopHost(d.from), Rate: 50})...)
		b, err := behind.Watch(within, w.kube, d.namespace, d.service)
		if err != nil {
			t.Fatal(err)
		}
		d.behind = &watched{b, t}
	}
	before := w.snapshot()
	plan := w.plan("1.29.1", "-f", "testdata/three-request.yaml")
	w.run(0, "apply", plan, "--approve")
	all := func(when, revision string) {
		t.Helper()
		for _, d := range doors {
			for n := d.from; n <= d.to; n++ {
				if got := statusOf(t, d.at, shopHost(n)); got != http.StatusOK {
					t.Errorf("%s: %s answers %d", when, shopHost(n), got)
				}
			}
			if n, _ := d.behind.least(""); n < 1 {
				t.Errorf("%s: behind %s at every instant at least %d, want 1", when, d.service, n)
			}
		}
		for _, g := range w.snapshot().Gateways() {
			if strings.Join(g.Revisions, " ") != revision {
				t.Errorf("%s: %s is on %v", when, g.Ref, g.Revisions)
			}
		}
		if d := cmp.Diff(before.Edge.Services, w.snapshot().Edge.Services); d != "" {
			t.Errorf("%s: the Services are not as they were: %s", when, d)
		}
	}
	all("there", "1-29-1")
	w.run(5, "rollback")
	all("back", mesh.DefaultRevision)
	stop()
	for _, d := range doors {
		d.load.Wait()
		s := d.load.Snapshot()
		t.Logf("%s: sent %d (%v) failed %d", d.service, s.Sent, s.Kinds, s.Failed)
		for i, f := range s.Failures {
			if i < 3 {
				t.Errorf("%s: lost at %s: %s", d.service, f.At.Format(time.TimeOnly), f.Cause)
			}
		}
		if s.Failed > 0 || s.Sent < 300 {
			t.Errorf("%s: %d of %d lost", d.service, s.Failed, s.Sent)
		}
	}
	w.lost()
}

// opens waits until a gateway serves all its hosts.
func (w *world) opens(ctx context.Context, d *door) {
	w.t.Helper()
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		svc, err := w.kube.CoreV1().Services(d.namespace).Get(ctx, d.service, metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // it is not there yet
		}
		for key, at := range svc.Annotations { // by the name of the port, which istiod takes from a listener's
			if strings.HasPrefix(key, bookinfo.AddressAnnotation+".http") {
				d.at = at
				return statusOf(w.t, d.at, shopHost(d.from)) == http.StatusOK && statusOf(w.t, d.at, shopHost(d.to)) == http.StatusOK, nil //nolint:contextcheck // it takes the test's
			}
		}
		return false, nil
	})
	if err != nil {
		w.t.Fatalf("%s does not serve: %v", d.service, err)
	}
}

// statusOf is the status that a host answers with, 0 for none.
func statusOf(tb testing.TB, at, host string) int {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+at+bookinfo.Path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Host, req.Close = host, true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// threeGateways are the objects: details answers for all of the hosts.
func threeGateways() string {
	hosts := func(from, to int, each string) string {
		var out strings.Builder
		for n := from; n <= to; n++ {
			fmt.Fprintf(&out, each, n, shopHost(n))
		}
		return out.String()
	}
	const inList = "%[2]q, "
	own := func(name, selector string, from, to int) string {
		return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: default}
spec:
  selector: {istio: %[2]s}
  servers:
  - {hosts: [%[3]s], port: {name: http, number: 80, protocol: HTTP}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s, namespace: default}
spec:
  gateways: [%[1]s]
  hosts: [%[3]s]
  http:
  - route: [{destination: {host: details.default.svc.cluster.local, port: {number: 9080}}}]
---`, name, selector, hosts(from, to, inList))
	}
	return own("public", "ingress", 1, 25) + own("egress", "egress", 36, 40) + `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: partners, namespace: default}
spec:
  gatewayClassName: istio
  listeners:
` + hosts(26, 35, "  - {name: http-%[1]d, port: 80, protocol: HTTP, hostname: %[2]q}\n") + `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: partners, namespace: default}
spec:
  parentRefs: [{name: partners}]
  hostnames: [` + hosts(26, 35, inList) + `]
  rules: [{backendRefs: [{name: details, port: 9080}]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: egress}
---
apiVersion: v1
kind: Service
metadata: {name: egress, namespace: egress}
spec:
  type: LoadBalancer
  selector: {istio: egress}
  ports: [{name: http, port: 80, targetPort: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: egress, namespace: egress}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {istio: egress}}
  template:
    metadata:
      labels: {istio: egress, sidecar.istio.io/inject: "true"}
      annotations: {inject.istio.io/templates: gateway}
    spec:
      containers: [{name: istio-proxy, image: auto}]
`
}
