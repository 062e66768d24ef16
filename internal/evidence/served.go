package evidence

import (
	"bufio"
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

// sumRequests adds up istio_requests_total of one reporter, whatever the response
// code. It reads this metric only, strictly, and nothing else: the page also holds
// the application's metrics, which are often not well-formed, and a full parser
// would refuse the page for them.
func sumRequests(body io.Reader, reporter string) (int, error) {
	reader := bufio.NewReaderSize(body, 64<<10)
	sum := 0.0
	for {
		line, err := reader.ReadString('\n')
		if rest, ok := strings.CutPrefix(line, "istio_requests_total{"); ok {
			labels, value, bad := parseSample(rest)
			if bad != nil {
				return 0, fmt.Errorf("reading %q: %w", strings.TrimSpace(line), bad)
			}
			if labels["reporter"] == reporter {
				sum += value
			}
		}
		if errors.Is(err, io.EOF) {
			return int(sum), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
