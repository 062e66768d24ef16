package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

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
	if waits(gates) {
		g.known.look(ctx, g, q, s)
		return part{}
	}
	g.known.of(q.Step)
	targets := moved(q, s)
	found, failures := g.countedAll(ctx, targets, sought{})
	p := part{served: map[string]int{}}
	sums := map[mesh.Ref]int{}
	for i, t := range targets {
		if failures[i] == nil {
			p.served[t.key()] = int(found[i].sent)
			sums[t.pod.Workload] += int(found[i].sent)
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
	p.pods = g.known.compare(ctx, g, s, found)
	return p
}

// moved returns the pods of the workloads in question that the revision injected.
func moved(q gate.Question, s mesh.Snapshot) []target {
	reporters := reportersOf(q, s)
	var list []target
	for _, p := range s.Pods {
		reporter, ok := reporters[p.Workload]
		if ok && p.Revision == q.Revision && !p.Leaving {
			list = append(list, target{p, reporter})
		}
	}
	return list
}

// countedAll reads pods at once: of each what is sought, counted from its own side
// where none is named, or why it cannot be read.
func (g *Gatherer) countedAll(ctx context.Context, pods []target, of sought) ([]counts, []error) {
	found, failures := make([]counts, len(pods)), make([]error, len(pods))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, t := range pods {
		what := of
		what.reporter = cmp.Or(of.reporter, t.reporter)
		group.Go(func() error {
			found[i], failures[i] = g.counted(ctx, t.pod, what)
			return nil // one that fails must not stop the others
		})
	}
	_ = group.Wait() // no target returns an error to the group
	return found, failures
}

// counted reads what a pod's proxy has counted, from the agent, or from Envoy itself
// where the agent does not answer (its merged page fails with the application's).
func (g *Gatherer) counted(ctx context.Context, pod mesh.Pod, of sought) (counts, error) {
	parse := func(body io.Reader) (counts, error) { return readCounts(body, of) }
	c, err := fetch(ctx, g.pods, address(pod.Namespace, pod.Name, agentPort, "/stats/prometheus"), parse)
	if err == nil {
		return c, nil
	}
	c, second := fetch(ctx, g.pods, address(pod.Namespace, pod.Name, envoyPort, "/stats/prometheus"), parse)
	if second != nil {
		return counts{}, errors.Join(err, second)
	}
	return c, nil
}
