package evidence

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/xds"
)

// Connections asks every istiod of every revision at once for its proxies. One
// that does not answer is an Answer that says so; the error means that there was
// nobody to ask.
func (g *Gatherer) Connections(ctx context.Context) ([]xds.Answer, error) {
	pods, err := g.running(ctx)
	if err != nil {
		return nil, err
	}
	answers := make([]xds.Answer, len(pods))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, pod := range pods {
		group.Go(func() error {
			answers[i] = g.connections(ctx, pod)
			return nil // one that fails must not stop the others
		})
	}
	_ = group.Wait() // no question returns an error to the group
	return answers, ctx.Err()
}

// connections asks one istiod. That it does not tell its version is no reason not
// to believe its list.
func (g *Gatherer) connections(ctx context.Context, pod corev1.Pod) xds.Answer {
	a := xds.Answer{Istiod: xds.Istiod{Namespace: pod.Namespace, Pod: pod.Name, Revision: revisionOf(pod)}}
	list, err := fetch(ctx, g.istiods, address(pod.Namespace, pod.Name, monitoring, "/debug/syncz"), parseConnections)
	if err != nil {
		a.Istiod.Error = err.Error()
		return a
	}
	a.Connections = list
	if version, err := fetch(ctx, g.istiods, address(pod.Namespace, pod.Name, monitoring, "/version"), parseVersion); err == nil {
		a.Istiod.Version = version
	}
	return a
}

// answerLimit is the most that serin reads of one answer: a config dump of a mesh
// with thousands of Services has some hundred MB.
const answerLimit = 1 << 30

// Get asks a port of a pod for a path, over a port-forward.
func (g *Gatherer) Get(ctx context.Context, namespace, pod string, port int, path string) ([]byte, error) {
	return fetch(ctx, g.pods, address(namespace, pod, port, path), func(body io.Reader) ([]byte, error) {
		return io.ReadAll(io.LimitReader(body, answerLimit))
	})
}
