package proxy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// stats counts requests by their labels, as istio_requests_total does.
type stats struct {
	mu     sync.Mutex
	counts map[string]int
}

func newStats() *stats { return &stats{counts: map[string]int{}} }

func (s *stats) count(labels map[string]string) {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + strconv.Quote(labels[k]))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[b.String()]++
}

func (s *stats) write(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.counts) == 0 {
		return
	}
	_, _ = io.WriteString(w, "# TYPE istio_requests_total counter\n")
	for _, l := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(w, "istio_requests_total{%s} %d\n", l, s.counts[l])
	}
}

// labels are Istio's standard labels that the lab can tell, and the revision of each side.
func (p *Proxy) labels(reporter string, r *http.Request, name string, code int) map[string]string {
	pod := p.cfg.Pod
	me := [3]string{p.cfg.Env["ISTIO_META_WORKLOAD_NAME"], pod.Namespace, pod.Annotations["istio.io/rev"]}
	l := map[string]string{"reporter": reporter, "response_code": strconv.Itoa(code), "request_protocol": "http"}
	if reporter == "source" {
		svc, ns := clusterParts(name)
		l["source_workload"], l["source_workload_namespace"], l["source_revision"] = me[0], me[1], me[2]
		l["destination_service_name"], l["destination_service_namespace"] = svc, ns
		return l
	}
	from := append(strings.Split(r.Header.Get(peerHeader), "/"), "", "", "")
	if from[0] == "" {
		from[0] = "unknown"
	}
	l["source_workload"], l["source_workload_namespace"], l["source_revision"] = from[0], from[1], from[2]
	l["destination_workload"], l["destination_workload_namespace"], l["destination_revision"] = me[0], me[1], me[2]
	return l
}

func (p *Proxy) metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stats/prometheus", "/metrics":
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			p.stats.write(w)
		case "/healthz/ready":
			p.readiness(w, r)
		case "/quitquitquit":
		default:
			http.NotFound(w, r)
		}
	})
}
