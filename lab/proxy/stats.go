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
	"time"
)

// stats counts requests by their labels, as istio_requests_total does, and how long
// they took, as istio_request_duration_milliseconds does.
type stats struct {
	version string
	mu      sync.Mutex
	counts  map[string]*counted
}

type counted struct {
	requests int
	took     float64 // milliseconds, all together
	within   []int   // of each bound
}

// bounds are Envoy's own, in milliseconds.
func bounds() []float64 {
	return []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000}
}

func newStats(version string) *stats { return &stats{version: version, counts: map[string]*counted{}} }

func (s *stats) count(labels map[string]string, took time.Duration) {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + strconv.Quote(labels[k]))
	}
	ms := float64(took) / float64(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[b.String()]
	if c == nil {
		c = &counted{within: make([]int, len(bounds()))}
		s.counts[b.String()] = c
	}
	c.requests++
	c.took += ms
	for i, bound := range bounds() {
		if ms <= bound {
			c.within[i]++
		}
	}
}

func (s *stats) write(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(w, "# TYPE istio_build gauge\nistio_build{component=\"proxy\",tag=%q} 1\n", s.version)
	if len(s.counts) == 0 {
		return
	}
	all := slices.Sorted(maps.Keys(s.counts))
	_, _ = io.WriteString(w, "# TYPE istio_requests_total counter\n")
	for _, l := range all {
		fmt.Fprintf(w, "istio_requests_total{%s} %d\n", l, s.counts[l].requests)
	}
	_, _ = io.WriteString(w, "# TYPE istio_request_duration_milliseconds histogram\n")
	for _, l := range all {
		c := s.counts[l]
		for i, bound := range bounds() {
			fmt.Fprintf(w, "istio_request_duration_milliseconds_bucket{%s,le=\"%v\"} %d\n", l, bound, c.within[i])
		}
		fmt.Fprintf(w, "istio_request_duration_milliseconds_bucket{%s,le=\"+Inf\"} %d\n", l, c.requests)
		fmt.Fprintf(w, "istio_request_duration_milliseconds_sum{%s} %v\nistio_request_duration_milliseconds_count{%s} %d\n", l, c.took, l, c.requests)
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
