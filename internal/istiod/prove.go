package istiod

import (
	"context"
	"slices"

	"github.com/serin-mesh/serin/internal/shadow"
)

// Prove asks all there is to ask before a move: what it stands on, the pods, the
// stored objects, the configuration.
func (a *Asker) Prove(ctx context.Context, q shadow.Question) (shadow.Proof, error) {
	s := &seen{}
	// Order: the roots first. An istiod that the mesh does not trust answers nothing.
	if err := a.firm(ctx, q, s); err != nil {
		return shadow.Proof{}, err
	}
	if ground := shadow.Stands(q, s.Facts); slices.ContainsFunc(ground, func(g shadow.Ground) bool { return g.About == shadow.Certificates }) {
		return shadow.Prove(q, shadow.Checked{Ground: ground}), nil
	}
	pods, err := a.pods(ctx, q, s)
	if err != nil {
		return shadow.Proof{}, err
	}
	objects, err := a.Objects(ctx, q)
	if err != nil {
		return shadow.Proof{}, err
	}
	configs, err := a.configs(ctx, q, s)
	if err != nil {
		return shadow.Proof{}, err
	}
	if err := a.spacious(ctx, q, s); err != nil {
		return shadow.Proof{}, err
	}
	return shadow.Prove(q, shadow.Checked{Ground: shadow.Stands(q, s.Facts), Pods: pods, Configs: configs, Objects: objects}), nil
}
