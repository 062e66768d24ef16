package istiod

import (
	"context"
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// Foretold is what the new revision would give the proxy of each workload: what a
// shadow is given.
func (a *Asker) Foretold(ctx context.Context, q shadow.Question) (map[string]shadow.Config, error) {
	s, err := a.begin(ctx, q)
	if err != nil {
		return nil, err
	}
	defer s.end()
	out := map[string]shadow.Config{}
	for _, ref := range q.Workloads {
		_, newer, err := s.sides(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("asking about %s: %w", ref, err)
		}
		out[ref.String()] = newer.config
	}
	return out, nil
}

// Given is what the revision gives now to the proxy of a pod of each workload.
func (a *Asker) Given(ctx context.Context, s mesh.Snapshot, revision string, refs []mesh.Ref) (map[string]shadow.Config, error) {
	servers, err := a.servers(ctx, revision)
	if err != nil {
		return nil, err
	}
	out := map[string]shadow.Config{}
	for _, server := range servers {
		if err := server.given(ctx, s, refs, out); err != nil {
			return nil, err
		}
	}
	for _, ref := range refs {
		if out[ref.String()] == nil {
			return nil, fmt.Errorf("no istiod of revision %s has a proxy of %s", revision, ref)
		}
	}
	return out, nil
}

// given adds what this istiod gives to the proxies that it holds.
func (s *server) given(ctx context.Context, m mesh.Snapshot, refs []mesh.Ref, out map[string]shadow.Config) error {
	defer s.close()
	clients, err := s.clients(ctx)
	if err != nil {
		return fmt.Errorf("asking istiod %s for its proxies: %w", s.pod.Name, err)
	}
	for _, ref := range refs {
		for _, p := range m.PodsOf(ref) {
			c, ok := clients[p.Name+"."+p.Namespace]
			if !ok || p.Leaving || out[ref.String()] != nil {
				continue
			}
			if out[ref.String()], err = s.config(ctx, c.ID, kinds); err != nil {
				return err
			}
		}
	}
	return nil
}
