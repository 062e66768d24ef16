package evidence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
)

// sought is what is counted of a proxy's requests.
type sought struct {
	reporter string
	services map[string]bool // only what was asked of these, namespace/name; nil: all
}

func (s sought) has(labels map[string]string) bool {
	return labels["reporter"] == s.reporter &&
		(s.services == nil || s.services[labels["destination_service_namespace"]+"/"+labels["destination_service_name"]])
}

// counts are what a proxy, or several, have counted since they started.
type counts struct {
	sent, failed float64
	within       map[float64]float64 // requests that took no longer than so many milliseconds
	callers      map[string]bool     // namespace/workload
}

func newCounts() counts { return counts{within: map[float64]float64{}, callers: map[string]bool{}} }

// add adds others, or takes them off with -1.
func (c *counts) add(o counts, times float64) {
	c.sent, c.failed = c.sent+times*o.sent, c.failed+times*o.failed
	for le, n := range o.within {
		c.within[le] += times * n
	}
	for who := range o.callers {
		c.callers[who] = true
	}
}

// window is what they are for a gate. What went down, for a counter began anew, is none.
func (c *counts) window() gate.Window {
	w := gate.Window{Sent: int(math.Max(0, c.sent)), Failed: int(math.Max(0, c.failed))}
	w.Latencies, w.P50, w.P99 = histogramOf(c.within)
	return w
}

// counter adds up the lines of a page of Envoy's. It reads these metrics only,
// strictly, and nothing else: the page also holds the application's metrics, which
// are often not well-formed, and a full parser would refuse the page for them.
type counter struct {
	of          sought
	istio, bare counts // bare are Envoy's own
}

// readCounts counts requests by Istio's own metrics, and where a mesh has those
// switched off (no telemetry) by Envoy's connection managers, which a mesh may show
// (proxyStatsMatcher): those of a sidecar begin with inbound_, those of a gateway with
// outbound_.
func readCounts(body io.Reader, of sought) (counts, error) {
	c := counter{of: of, istio: newCounts(), bare: newCounts()}
	reader := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := reader.ReadString('\n')
		if bad := c.line(line); bad != nil {
			return counts{}, bad
		}
		switch {
		case errors.Is(err, io.EOF) && c.istio.sent > 0:
			return c.istio, nil
		case errors.Is(err, io.EOF):
			return c.bare, nil
		case err != nil:
			return counts{}, err
		}
	}
}

func (c *counter) line(line string) error {
	for prefix, take := range map[string]func(map[string]string, float64) error{
		"istio_requests_total{":                       c.requests,
		"istio_request_duration_milliseconds_bucket{": c.duration,
		"envoy_http_downstream_rq_completed{":         c.completed,
		"envoy_http_downstream_rq{":                   c.byClass,
	} {
		rest, ok := strings.CutPrefix(line, prefix)
		if !ok {
			continue
		}
		labels, value, err := parseSample(rest)
		if err == nil {
			err = take(labels, value)
		}
		if err != nil {
			return fmt.Errorf("reading %q: %w", strings.TrimSpace(line), err)
		}
	}
	return nil
}

func (c *counter) requests(labels map[string]string, n float64) error {
	if !c.of.has(labels) {
		return nil
	}
	c.istio.sent += n
	if strings.HasPrefix(labels["response_code"], "5") {
		c.istio.failed += n
	}
	if who := labels["source_workload"]; who != "" && who != "unknown" {
		c.istio.callers[labels["source_workload_namespace"]+"/"+who] = true
	}
	return nil
}

func (c *counter) duration(labels map[string]string, n float64) error {
	if !c.of.has(labels) {
		return nil
	}
	le, err := strconv.ParseFloat(labels["le"], 64)
	if err != nil {
		return fmt.Errorf("reading the bound: %w", err)
	}
	c.istio.within[le] += n
	return nil
}

func (c *counter) side(labels map[string]string) bool {
	side := map[string]string{"destination": "inbound_", "source": "outbound_"}[c.of.reporter]
	return c.of.services == nil && strings.HasPrefix(labels["http_conn_manager_prefix"], side)
}

func (c *counter) completed(labels map[string]string, n float64) error {
	if c.side(labels) {
		c.bare.sent += n
	}
	return nil
}

func (c *counter) byClass(labels map[string]string, n float64) error {
	if c.side(labels) && strings.HasPrefix(labels["response_code_class"], "5") {
		c.bare.failed += n
	}
	return nil
}
