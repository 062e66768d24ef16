package istiod

import (
	"context"

	"github.com/serin-mesh/serin/internal/shadow"
)

// Prove asks all there is to ask before a move: the pods, the stored objects, the
// configuration.
func (a *Asker) Prove(ctx context.Context, q shadow.Question) (shadow.Proof, error) {
	pods, err := a.Pods(ctx, q)
	if err != nil {
		return shadow.Proof{}, err
	}
	objects, err := a.Objects(ctx, q)
	if err != nil {
		return shadow.Proof{}, err
	}
	configs, err := a.Configs(ctx, q)
	if err != nil {
		return shadow.Proof{}, err
	}
	return shadow.Prove(q, pods, configs, objects), nil
}
