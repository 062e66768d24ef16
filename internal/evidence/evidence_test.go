package evidence_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

var _ drive.Gatherer = (*evidence.Gatherer)(nil)

func TestOnlyWhatTheGatesNeedIsGathered(t *testing.T) {
	tests := map[string]struct {
		gates                     []gate.Name
		observed, dryRuns, istiod bool
	}{
		"nothing":           {},
		"approval":          {gates: []gate.Name{gate.Approval}},
		"requests":          {gates: []gate.Name{gate.Requests}},
		"rolled out":        {gates: []gate.Name{gate.RolledOut, gate.Tags, gate.CRDs}, observed: true},
		"injection":         {gates: []gate.Name{gate.Injection}, observed: true, dryRuns: true},
		"control plane":     {gates: []gate.Name{gate.ControlPlane}, observed: true, dryRuns: true},
		"proxies":           {gates: []gate.Name{gate.Proxies}, observed: true, istiod: true},
		"proxies, requests": {gates: []gate.Name{gate.Requests, gate.Proxies}, observed: true, istiod: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(istiod("istiod-7c", "", corev1.PodRunning))
			w.listen(t, oldIstiod, says("[]"))
			a := &admission{inject: sidecar("1-29-1")}
			a.install(w)
			w.reader.snapshot.KubernetesVersion = "v1.36.3"
			ev, err := w.gatherer().Gather(t.Context(), gate.Question{Namespaces: []string{"shop"}}, test.gates)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.reader.observed == 1 && ev.Snapshot.KubernetesVersion != ""; got != test.observed {
				t.Errorf("observed %d times", w.reader.observed)
			}
			if got := len(a.asked) > 0; got != test.dryRuns {
				t.Errorf("%d dry-run pods", len(a.asked))
			}
			if got := w.dials(oldIstiod) > 0; got != test.istiod {
				t.Errorf("istiod asked: %v", got)
			}
			if got := ev.Missing[gate.Requests] != ""; got != slices.Contains(test.gates, gate.Requests) {
				t.Errorf("without a prober, missing: %v", ev.Missing)
			}
			if !ev.At.Equal(w.at) {
				t.Errorf("at %s, want %s", ev.At, w.at)
			}
		})
	}
}

func TestAMeshThatCannotBeObservedIsAnError(t *testing.T) {
	w := newWorld()
	w.reader.err = errors.New("the server is gone")
	_, err := w.gatherer().Gather(t.Context(), gate.Question{}, []gate.Name{gate.Tags})
	if !errors.Is(err, w.reader.err) || !strings.HasPrefix(err.Error(), "observing the mesh: ") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledQuestionIsNoEvidence(t *testing.T) {
	w := newWorld(istiod("istiod-7c", "", corev1.PodRunning))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.gatherer().Gather(ctx, gate.Question{}, []gate.Name{gate.Proxies}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// page is what an agent shows: Envoy's metrics merged with an application's bad ones.
const page = `# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",response_code="200",source_app="pro\"duct, {page}"} 40
istio_requests_total{reporter="destination",response_code="503"} 2 1700000000000
istio_requests_total{reporter="source",response_code="200",} 1.7e1
istio_requests_total_of_mine{reporter="destination"} 1000
istio_request_bytes_count{reporter="destination"} 1000
this is { not a metric
`

func movedShop() (mesh.Snapshot, gate.Question) {
	cart := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}
	ingress := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "ingress"}
	other := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "other"}
	return mesh.Snapshot{
		Workloads: []mesh.Workload{
			{Ref: ingress, TemplateAnnotations: map[string]string{mesh.TemplatesAnnotation: "gateway"}},
			{Ref: cart},
		},
		Pods: []mesh.Pod{
			{Namespace: "edge", Name: "ingress-1", Workload: ingress, Revision: "new"},
			{Namespace: "shop", Name: "cart-1", Workload: cart, Revision: "new"},
			{Namespace: "shop", Name: "cart-2", Workload: cart, Revision: "new"},
			{Namespace: "shop", Name: "cart-old", Workload: cart, Revision: "old"},
			{Namespace: "shop", Name: "cart-leaving", Workload: cart, Revision: "new", Leaving: true},
			{Namespace: "shop", Name: "other-1", Workload: other, Revision: "new"},
		},
	}, gate.Question{Revision: "new", Workloads: []mesh.Ref{cart, ingress}, MinServed: 50}
}

func TestServedCountsTheMovedPods(t *testing.T) {
	w := newWorld()
	snapshot, q := movedShop()
	w.reader.snapshot = snapshot
	w.listen(t, "edge/ingress-1:15020", says(page))
	w.listen(t, "shop/cart-1:15020", says(page))
	w.listen(t, "shop/cart-2:15020", says("# nothing yet"))
	ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"edge/ingress-1": 17, "shop/cart-1": 42, "shop/cart-2": 0}
	if diff := cmp.Diff(want, ev.Served); diff != "" {
		t.Error(diff)
	}
	if len(ev.Missing) != 0 {
		t.Errorf("missing %v", ev.Missing)
	}
}

func TestServedReadsEnvoysOwnCountsWhereIstiosAreOff(t *testing.T) {
	w := newWorld()
	snapshot, q := movedShop()
	w.reader.snapshot = snapshot
	own := `envoy_http_downstream_rq_completed{http_conn_manager_prefix="inbound_0.0.0.0_9080"} 5
envoy_http_downstream_rq_completed{http_conn_manager_prefix="inbound_0.0.0.0_9081"} 2
envoy_http_downstream_rq_completed{http_conn_manager_prefix="outbound_0.0.0.0_80"} 11
envoy_http_downstream_rq_completed{http_conn_manager_prefix="agent"} 1000
`
	w.listen(t, "edge/ingress-1:15020", says(own))
	w.listen(t, "shop/cart-1:15020", says(own))
	w.listen(t, "shop/cart-2:15020", says(own+page))
	ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"edge/ingress-1": 11, "shop/cart-1": 7, "shop/cart-2": 42}
	if diff := cmp.Diff(want, ev.Served); diff != "" {
		t.Error(diff)
	}
}

func TestServedFallsBackToEnvoyItself(t *testing.T) {
	w := newWorld()
	snapshot, q := movedShop()
	w.reader.snapshot = snapshot
	q.Workloads = q.Workloads[:1]
	w.listen(t, "shop/cart-1:15020", status(500, "the application's metrics failed"))
	w.listen(t, "shop/cart-1:15090", says(page))
	w.listen(t, "shop/cart-2:15090", says(page))
	ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
	if diff := cmp.Diff(map[string]int{"shop/cart-1": 42, "shop/cart-2": 42}, ev.Served); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestAPodThatCannotBeReadIsMissingOnlyWhereItMatters(t *testing.T) {
	for enough, minServed := range map[bool]int{true: 42, false: 43} {
		w := newWorld()
		snapshot, q := movedShop()
		w.reader.snapshot = snapshot
		q.Workloads, q.MinServed = q.Workloads[:1], minServed
		w.listen(t, "shop/cart-1:15020", says(page)) // 42
		ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
		if err != nil || ev.Served["shop/cart-1"] != 42 {
			t.Errorf("got %+v, %v", ev, err)
		}
		reason := ev.Missing[gate.Served]
		if (reason == "") != enough || (!enough && !strings.Contains(reason, "pod shop/cart-2")) {
			t.Errorf("at least %d: missing %q", minServed, reason)
		}
	}
}

func TestMetricsThatCannotBeTrusted(t *testing.T) {
	for _, line := range []string{
		`istio_requests_total{reporter="destination"} many`,
		`istio_requests_total{reporter="destination"}`,
		`istio_requests_total{reporter="destination"} 1 2 3`,
		`istio_requests_total{reporter="destination"} NaN`,
		`istio_requests_total{reporter="destination"} -1`,
		`istio_requests_total{reporter="destination`,
		`istio_requests_total{reporter="destination\`,
		`istio_requests_total{reporter} 4`,
	} {
		w := newWorld()
		snapshot, q := movedShop()
		w.reader.snapshot = snapshot
		q.Workloads = q.Workloads[:1]
		w.listen(t, "shop/cart-1:15020", says(line+"\n"))
		ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
		if err != nil || !strings.Contains(ev.Missing[gate.Served], "istio_requests_total") {
			t.Errorf("%s: missing %v, %v", line, ev.Missing, err)
		}
		if _, ok := ev.Served["shop/cart-1"]; ok {
			t.Errorf("%s: counted as %v", line, ev.Served)
		}
	}
}

func TestRequestsAreComparedFromTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		prober := evidence.NewProbers([]plan.Probe{{URL: "http://mesh.example/", Rate: 1}}, now, evidence.WithDial(p.dial))
		g := evidence.New(evidence.Config{Probers: prober, Now: now, Forwarder: newNetwork()})
		gather := func(step int) gate.Evidence {
			ev, err := g.Gather(t.Context(), gate.Question{Step: step}, []gate.Name{gate.Requests})
			if err != nil {
				t.Fatal(err)
			}
			return ev
		}
		if ev := gather(0); !strings.Contains(ev.Missing[gate.Requests], "not running") {
			t.Errorf("before Run: %+v", ev)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- prober.Run(ctx) }()
		counts := func(step, before, since int) {
			t.Helper()
			synctest.Wait()
			c := gather(step).Requests
			if len(c) != 1 || c[0].Before.Sent != before || c[0].Now.Sent != since {
				t.Errorf("step %d: got %+v, want %d before and %d since", step, c, before, since)
			}
		}
		wait(10*time.Second + 500*time.Millisecond)
		counts(1, 9, 1) // inferred: the step begins with the first question, the second under way is its own
		wait(10 * time.Second)
		counts(1, 9, 11)
		g.Mark(1) // begun for good only now
		counts(1, 19, 1)
		wait(5 * time.Second)
		g.Mark(1) // tried again: still compared with the time before the first try
		counts(1, 19, 6)
		if _, err := g.Gather(t.Context(), gate.Question{Step: 9, Pod: "one"}, []gate.Name{gate.Requests}); err != nil { // asked about beside the step
			t.Error(err)
		}
		counts(1, 19, 6)
		g.Mark(2)
		counts(2, 24, 1)
		wait(200 * time.Second)
		g.Mark(3)
		counts(3, 120, 1) // no more than two minutes before
		if g.Cold() != "" {
			t.Errorf("after minutes: %s", g.Cold())
		}
		g.Since(3, now().Add(-time.Minute)) // known better here
		counts(3, 120, 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if ev := gather(3); ev.Requests != nil || ev.Missing[gate.Requests] == "" {
			t.Errorf("after Run: %+v", ev)
		}
	})
}
