package evidence

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// The ports where a pod with a proxy shows Envoy's metrics: the agent's, merged
// with the application's, and Envoy's own.
const (
	agentPort = 15020
	envoyPort = 15090
)

// target is a moved pod and from which side its requests are counted.
type target struct {
	pod      mesh.Pod
	reporter string
}

func (t target) key() string { return t.pod.Namespace + "/" + t.pod.Name }

// servedPart reads how many requests each moved pod has answered. A pod that
// cannot be read is missing only where its workload's other pods do not already
// show enough: one of fifty that is just restarting must not hold an upgrade.
func (g *Gatherer) servedPart(ctx context.Context, q gate.Question, s mesh.Snapshot, gates []gate.Name) part {
	if !slices.Contains(gates, gate.Served) {
		return part{}
	}
	targets := moved(q, s)
	counts, failures := make([]int, len(targets)), make([]error, len(targets))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, t := range targets {
		group.Go(func() error {
			counts[i], failures[i] = g.requests(ctx, t)
			return nil // one that fails must not stop the others
		})
	}
	_ = group.Wait() // no target returns an error to the group
	p := part{served: map[string]int{}}
	sums := map[mesh.Ref]int{}
	for i, t := range targets {
		if failures[i] == nil {
			p.served[t.key()] = counts[i]
			sums[t.pod.Workload] += counts[i]
		}
	}
	var unread []error
	for i, t := range targets {
		if failures[i] != nil && sums[t.pod.Workload] < max(1, q.MinServed) {
			unread = append(unread, fmt.Errorf("reading the metrics of pod %s: %w", t.key(), failures[i]))
		}
	}
	if err := errors.Join(unread...); err != nil {
		p.missing = map[gate.Name]string{gate.Served: err.Error()}
	}
	return p
}

// moved returns the pods of the workloads in question that the revision injected.
// A sidecar counts what it was asked; a gateway is nobody's destination and counts
// what it asked others for its clients.
func moved(q gate.Question, s mesh.Snapshot) []target {
	reporters := map[mesh.Ref]string{}
	for _, ref := range q.Workloads {
		reporters[ref] = "destination"
	}
	for _, w := range s.Workloads {
		if _, ok := reporters[w.Ref]; ok && w.Gateway() {
			reporters[w.Ref] = "source"
		}
	}
	var list []target
	for _, p := range s.Pods {
		reporter, ok := reporters[p.Workload]
		if ok && p.Revision == q.Revision && !p.Leaving {
			list = append(list, target{p, reporter})
		}
	}
	return list
}

// requests reads a pod's count from the agent, or from Envoy itself where the
// agent does not answer (its merged page fails with the application's).
func (g *Gatherer) requests(ctx context.Context, t target) (int, error) {
	parse := func(body io.Reader) (int, error) { return sumRequests(body, t.reporter) }
	n, err := fetch(ctx, g.pods, address(t.pod.Namespace, t.pod.Name, agentPort, "/stats/prometheus"), parse)
	if err == nil {
		return n, nil
	}
	n, second := fetch(ctx, g.pods, address(t.pod.Namespace, t.pod.Name, envoyPort, "/stats/prometheus"), parse)
	if second != nil {
		return 0, errors.Join(err, second)
	}
	return n, nil
}

// metrics are what a pod's requests are counted by: Istio's own metric, by its
// reporter, and where a mesh has those switched off (no telemetry) Envoy's
// connection managers, which a mesh may show (proxyStatsMatcher). The second label
// begins with inbound_ in a sidecar, and with outbound_ in a gateway.
func metrics(reporter string) [2]metric {
	side := map[string]string{"destination": "inbound_", "source": "outbound_"}[reporter]
	return [2]metric{
		{"istio_requests_total{", "reporter", func(v string) bool { return v == reporter }},
		{"envoy_http_downstream_rq_completed{", "http_conn_manager_prefix", func(v string) bool { return strings.HasPrefix(v, side) }},
	}
}

type metric struct {
	prefix, label string
	counts        func(value string) bool
}

// read adds a line of the page to a sum, if it is one of the metric's that count.
func (m metric) read(line string) (float64, error) {
	rest, ok := strings.CutPrefix(line, m.prefix)
	if !ok {
		return 0, nil
	}
	labels, value, err := parseSample(rest)
	if err != nil {
		return 0, fmt.Errorf("reading %q: %w", strings.TrimSpace(line), err)
	}
	if !m.counts(labels[m.label]) {
		return 0, nil
	}
	return value, nil
}

// sumRequests adds up the requests of one reporter, whatever the response code;
// Istio's own metric wins where it has any. It reads these metrics only, strictly,
// and nothing else: the page also holds the application's metrics, which are often
// not well-formed, and a full parser would refuse the page for them.
func sumRequests(body io.Reader, reporter string) (int, error) {
	reader := bufio.NewReaderSize(body, 64<<10)
	var sums [2]float64
	for {
		line, err := reader.ReadString('\n')
		for i, m := range metrics(reporter) {
			n, bad := m.read(line)
			if bad != nil {
				return 0, bad
			}
			sums[i] += n
		}
		if errors.Is(err, io.EOF) {
			return int(cmp.Or(sums[0], sums[1])), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
