package evidence_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// prometheus answers queries by what is in them. That it reads what is asked as a
// Prometheus does is the lab's to show, with a real one.
type prometheus struct {
	mu      sync.Mutex
	asked   []string
	answers map[string]string // part of a query -> the result; the longest part that fits counts
}

func (p *prometheus) serve(w http.ResponseWriter, r *http.Request) {
	q := r.FormValue("query")
	p.mu.Lock()
	p.asked = append(p.asked, q+" @"+r.FormValue("time"))
	p.mu.Unlock()
	if q == "time()" {
		_, _ = fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[5000,"5000"]}}`)
		return
	}
	best, result := -1, "[]"
	for part, answer := range p.answers {
		if strings.Contains(q, part) && len(part) > best {
			best, result = len(part), answer
		}
	}
	if strings.HasPrefix(result, "!") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":%q}`, result[1:])
		return
	}
	_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":%s}}`, result)
}

func vector(v string) string { return `[{"metric":{},"value":[5000,"` + v + `"]}]` }

func asking(of ...plan.Query) *plan.Prometheus {
	p := &plan.Prometheus{Queries: of}
	for _, q := range plan.DefaultQueries() {
		p.Without = append(p.Without, q.Name)
	}
	return p
}

func metricsOf(t *testing.T, p *plan.Prometheus, w *world, gates ...gate.Name) gate.Evidence {
	t.Helper()
	g := evidence.New(evidence.Config{Client: w.client, Reader: w.reader, Now: func() time.Time { return w.at }, Forwarder: w.network, Prometheus: p})
	t.Cleanup(g.Close)
	g.Mark(7)
	w.at = w.at.Add(90 * time.Second)
	q := gate.Question{Step: 7, Version: "1.29.1", Revision: "1-29-1", Workloads: []mesh.Ref{{Namespace: "shop", Name: "cart"}, {Namespace: "shop", Name: "a.b"}}}
	var ev gate.Evidence
	for range 3 { // asked once, for all that are within five seconds
		var err error
		if ev, err = g.Gather(t.Context(), q, append(gates, gate.Metrics)); err != nil {
			t.Fatal(err)
		}
		w.at = w.at.Add(time.Second)
	}
	return ev
}

func TestMetricsAreReadNowAndAsTheStepBegan(t *testing.T) {
	p := &prometheus{answers: map[string]string{
		"shop_errors":                          `[{"metric":{"__name__":"shop_errors","b":"2","a":"1"},"value":[5000,"4.5"]}]`,
		"wrong":                                "!parse error",
		"count(max by (instance) (istio_build": vector("3"),
		"requests_total":                       vector("600.4"),
		`response_code=~"5.."`:                 vector("12.1"),
		"sum by (le)":                          `[{"metric":{"le":"5"},"value":[1,"10"]},{"metric":{"le":"+Inf"},"value":[1,"30"]},{"metric":{"le":"10"},"value":[1,"24.8"]}]`,
	}}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(srv.Close)
	asks := asking(plan.Query{Name: "errors", Query: `shop_errors{w=~"$workloads",ns=~"$namespaces",v=~"$version"}[$range] $revision`, TimesBefore: 2}, plan.Query{Name: "bad", Query: "wrong"})
	asks.URL = srv.URL + "/"
	ev := metricsOf(t, asks, newWorld(), gate.Proxies)
	srv.Close() // nobody asks any more
	all := strings.Join(p.asked, "\n")
	for _, want := range []string{`shop_errors{w=~"cart|a\\.b",ns=~"shop",v=~"1\\.29\\.1"}[90s] 1-29-1 @5000.000`, `[120s] 1-29-1 @4910.000`} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody asked %s:\n%s", want, all)
		}
	}
	if n := strings.Count(all, "time()"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if len(ev.Readings) != 2 || ev.Readings[0].Now["a=1,b=2"] != 4.5 || ev.Readings[0].Before["a=1,b=2"] != 4.5 || !strings.Contains(ev.Readings[1].Missing, "parse error") {
		t.Errorf("readings: %+v", ev.Readings)
	}
	if len(ev.Traffic) != 2 || ev.Traffic[0].Now.Sent != 600 || ev.Traffic[0].Now.Failed != 12 || ev.Traffic[0].Long {
		t.Fatalf("traffic: %+v", ev.Traffic)
	}
	w := ev.Traffic[1].Now
	if len(w.Latencies) != 3 || w.Latencies[1] != (gate.Bucket{From: 5 * time.Millisecond, UpTo: 10 * time.Millisecond, N: 15}) || w.P50.Round(time.Microsecond) != 6667*time.Microsecond {
		t.Errorf("latencies: %+v", w)
	}
}

// A step that gives no workload a new proxy, as a tag's, has no traffic of theirs.
func TestMetricsOfAStepThatMovesNobody(t *testing.T) {
	p := &prometheus{answers: map[string]string{"count(max by (instance) (istio_build": vector("3"), "up": vector("1")}}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(srv.Close)
	asks := asking(plan.Query{Name: "up", Query: "up", AtLeast: new(float64)})
	asks.URL = srv.URL
	ev := metricsOf(t, asks, newWorld())
	if v := gate.Judge(gate.Metrics, gate.Question{}, ev); v.State != gate.Open || ev.Traffic != nil {
		t.Errorf("%+v, traffic %+v", v, ev.Traffic)
	}
}

// S-47: one that is away, that does not know the proxies, or has no data opens nothing.
func TestMetricsThatCannotBeHadAreUnknown(t *testing.T) {
	query := plan.Query{Name: "errors", Query: "up", AtMost: new(float64)}
	judged := func(p *plan.Prometheus, w *world) gate.Verdict {
		return gate.Judge(gate.Metrics, gate.Question{}, metricsOf(t, p, w))
	}
	away := asking(query)
	away.URL = "http://" + closed(t)
	if v := judged(away, newWorld()); v.State != gate.Unknown || !strings.Contains(v.Reason, "does not answer") || strings.Contains(v.Reason, "api/v1") {
		t.Errorf("away: %+v", v)
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"not a Prometheus":       {status(200, "<html>"), "reading the answer"},
		"one that says no":       {status(403, `{"status":"error","error":"who are you"}`), "who are you"},
		"one that knows nothing": {(&prometheus{}).serve, "no data"},
	} {
		srv := httptest.NewServer(tt.handler)
		t.Cleanup(srv.Close)
		p := asking(query)
		p.URL = srv.URL
		if v := judged(p, newWorld()); v.State != gate.Unknown || !strings.Contains(v.Reason, tt.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v := judged(nil, newWorld()); v.State != gate.Unknown {
		t.Errorf("none: %+v", v)
	}
}

func TestMetricsThroughAService(t *testing.T) {
	labels := map[string]string{"app": "prometheus"}
	w := newWorld(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: "prometheus"}, Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Name: "web", Port: 80, TargetPort: intstr.FromString("http")}},
		}},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: "prometheus-0", Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "p", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 9090}}}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
	)
	p := &prometheus{answers: map[string]string{"up": vector("1")}}
	w.listen(t, "monitoring/prometheus-0:9090", p.serve)
	for service, says := range map[string]string{"monitoring/prometheus:web": "", "monitoring/prometheus:80": "", "monitoring/prometheus:81": "has no port 81", "monitoring/other:80": "not found"} {
		asks := asking(plan.Query{Name: "up", Query: "up", AtMost: new(float64)})
		asks.Service = service
		ev := metricsOf(t, asks, w)
		if says == "" && (len(ev.Readings) == 0 || ev.Readings[0].Now[""] != 1) || !strings.Contains(ev.Missing[gate.Metrics], says) {
			t.Errorf("%s: %+v, %v", service, ev.Readings, ev.Missing)
		}
	}
}
