package cluster

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Reader observes a mesh. It writes nothing.
type Reader struct {
	Clients
	namespace string // Istio's
}

// NewReader returns a reader of the mesh whose control planes live in istioNamespace.
func NewReader(cfg *rest.Config, istioNamespace string) (*Reader, error) {
	c, err := NewClients(cfg)
	if err != nil {
		return nil, err
	}
	return ReaderOf(c, istioNamespace), nil
}

// ReaderOf returns a reader that uses these clients.
func ReaderOf(c Clients, istioNamespace string) *Reader {
	return &Reader{Clients: c, namespace: istioNamespace}
}

// Observe reads every fact the planner may use. All lists are asked for at once;
// the first that fails ends it, naming what was asked and, where the user lacks
// a permission, which.
func (r *Reader) Observe(ctx context.Context) (mesh.Snapshot, error) {
	s, _, err := r.observe(ctx)
	return s, err
}

// observe also returns the facts that a survey goes on from.
func (r *Reader) observe(ctx context.Context) (mesh.Snapshot, *facts, error) {
	raw := &facts{routed: map[string]bool{}, fromMesh: map[string]bool{}}
	g, ctx2 := errgroup.WithContext(ctx)
	for _, read := range []func(context.Context, *facts) error{
		r.version, r.injectors, r.validators, r.services, r.deployments, r.statefulSets, r.daemonSets, r.namespaces,
		r.replicaSets, r.budgets, r.scalers, r.pods, r.releaseNames, r.custom, r.remoteSecrets,
	} {
		g.Go(func() error { return read(ctx2, raw) })
	}
	if err := g.Wait(); err != nil {
		return mesh.Snapshot{}, nil, fmt.Errorf("observing the mesh: %w", err)
	}
	s := raw.snapshot(r.namespace)
	rels, err := r.releases(ctx, *raw, s)
	if err != nil {
		return mesh.Snapshot{}, nil, fmt.Errorf("observing the mesh: %w", err)
	}
	s.Releases = rels
	s.Edge = raw.edgeOf(&s)
	return s, raw, nil
}
