package evidence_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// counting is a page of Envoy's whose counters go on.
type counting struct {
	text      string
	good, bad atomic.Int64
}

func (c *counting) serve(w http.ResponseWriter, _ *http.Request) {
	labels := c.text
	_, _ = fmt.Fprintf(w, "istio_requests_total{%s,response_code=\"200\"} %d\nistio_requests_total{%s,response_code=\"503\"} %d\n", labels, c.good.Load(), labels, c.bad.Load())
	_, _ = fmt.Fprintf(w, "istio_request_duration_milliseconds_bucket{%s,le=\"100\"} %d\nistio_request_duration_milliseconds_bucket{%s,le=\"+Inf\"} %d\n", labels, c.good.Load(), labels, c.good.Load()+c.bad.Load())
}

func counts(text string, good, bad int64) *counting {
	c := &counting{text: text}
	c.good.Store(good)
	c.bad.Store(bad)
	return c
}

// S-47: with nothing configured, what the moved pods and their callers have counted is
// compared with what was counted before the step, also where that needed nothing.
func TestS47_whatMovedIsComparedWithWhatWasBeforeIt(t *testing.T) {
	for name, needs := range map[string][]gate.Name{"a control plane": {gate.ControlPlane}, "nothing": nil} {
		t.Run("the step needs "+name, func(t *testing.T) { comparedWithBefore(t, needs) })
	}
}

func comparedWithBefore(t *testing.T, needs []gate.Name) {
	t.Helper()
	w := newWorld()
	cart, shop := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}, mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "front"}
	pod := func(of mesh.Ref, name, rev string) mesh.Pod {
		return mesh.Pod{Namespace: "shop", Name: name, Workload: of, Revision: rev}
	}
	before := mesh.Snapshot{
		Namespaces: []mesh.Namespace{{Name: "shop"}},
		Workloads:  []mesh.Workload{{Ref: cart, Services: []string{"shop/cart"}}, {Ref: shop}},
		Pods:       []mesh.Pod{pod(cart, "cart-1", "old"), pod(cart, "cart-2", "old"), pod(shop, "front-1", "old"), pod(shop, "front-2", "old")},
	}
	w.reader.snapshot = before
	const asked = `reporter="source",destination_service_name="cart",destination_service_namespace="shop"`
	callers := counts(asked, 3000, 3)
	w.listen(t, "shop/cart-1:15020", counts(`reporter="destination",source_workload="front",source_workload_namespace="shop"`, 1000, 1).serve)
	w.listen(t, "shop/cart-2:15020", counts(`reporter="destination",source_workload="unknown"`, 500, 0).serve)
	w.listen(t, "shop/front-1:15020", func(rw http.ResponseWriter, r *http.Request) {
		callers.serve(rw, r)
		counts(`reporter="source",destination_service_name="other",destination_service_namespace="shop"`, 9, 9000).serve(rw, r)
	})
	g := w.gatherer()
	q := gate.Question{Step: 5, Revision: "new", Workloads: []mesh.Ref{cart}, Counted: true}
	gather := func(gates ...gate.Name) gate.Evidence {
		t.Helper()
		ev, err := g.Gather(t.Context(), q, gates)
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	if ev := gather(needs...); ev.Pods != nil || ev.Served != nil {
		t.Errorf("before the step: %+v", ev)
	}
	g.Mark(5)

	// front-2 was there and could not be read: what it has counted is not of the step alone.
	w.listen(t, "shop/front-2:15020", counts(asked, 77, 77).serve)
	w.listen(t, "shop/front-3:15020", counts(asked, 10, 0).serve)
	w.listen(t, "shop/cart-3:15020", counts(`reporter="destination"`, 588, 12).serve)
	callers.good.Add(590)
	callers.bad.Add(12)
	w.reader.snapshot = mesh.Snapshot{
		Namespaces: before.Namespaces,
		Workloads:  before.Workloads,
		Pods:       []mesh.Pod{pod(cart, "cart-3", "new"), pod(shop, "front-1", "old"), pod(shop, "front-2", "old"), pod(shop, "front-3", "new")},
	}
	ev := gather(gate.Served)
	if len(ev.Pods) != 2 {
		t.Fatalf("got %+v", ev.Pods)
	}
	for i, want := range []struct{ name, sums string }{{"the moved pods", "1 of 1501, 12 of 600"}, {"their callers", "3 of 3003, 12 of 612"}} {
		c := ev.Pods[i]
		if got := fmt.Sprintf("%d of %d, %d of %d", c.Before.Failed, c.Before.Sent, c.Now.Failed, c.Now.Sent); c.Name != want.name || got != want.sums || c.Long {
			t.Errorf("%s: %s, want %+v", c.Name, got, want)
		}
	}
	if n := ev.Pods[0].Now.Latencies; len(n) != 2 || n[0] != (gate.Bucket{UpTo: 100 * time.Millisecond, N: 588}) {
		t.Errorf("latencies: %+v", n)
	}
	if v := gate.Judge(gate.Served, q, ev); v.State != gate.Shut {
		t.Errorf("%+v", v)
	}
	w.at = w.at.Add(40 * time.Second)
	if ev := gather(gate.Served); !ev.Pods[0].Long {
		t.Error("after forty seconds it is not long")
	}

	// Another process takes it up: nothing is known from before, and nothing is made up.
	other := w.gatherer()
	q.Step = 6
	ev, err := other.Gather(t.Context(), q, []gate.Name{gate.Served})
	if err != nil || len(ev.Pods) != 1 || ev.Pods[0].Before.Sent != 0 || ev.Pods[0].Now.Sent != 600 {
		t.Errorf("another process: %+v, %v", ev.Pods, err)
	}
}

func TestFailuresByEnvoysOwnCounts(t *testing.T) {
	w := newWorld()
	snapshot, q := movedShop()
	w.reader.snapshot = snapshot
	q.Workloads = q.Workloads[:1]
	w.listen(t, "shop/cart-1:15020", says(`envoy_http_downstream_rq_completed{http_conn_manager_prefix="inbound_0.0.0.0_9080"} 50
envoy_http_downstream_rq{response_code_class="5xx",http_conn_manager_prefix="inbound_0.0.0.0_9080"} 7
envoy_http_downstream_rq{response_code_class="2xx",http_conn_manager_prefix="inbound_0.0.0.0_9080"} 43
envoy_http_downstream_rq{response_code_class="5xx",http_conn_manager_prefix="outbound_0.0.0.0_80"} 9
`))
	w.listen(t, "shop/cart-2:15020", says(""))
	ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.Served})
	if err != nil || len(ev.Pods) != 1 || ev.Pods[0].Now.Sent != 50 || ev.Pods[0].Now.Failed != 7 {
		t.Errorf("%+v, %v", ev.Pods, err)
	}
}
