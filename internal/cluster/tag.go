package cluster

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/skew"
)

// moveTag points a tag at a revision, in place: never delete-then-create, or the
// namespaces that follow it would have no injector for an instant (R§11.7).
// Order: injector, Service, then, for the default, the validator; each of them
// leads to an istiod that serves, before and after, so that neither pods nor
// configuration are refused at any point.
func (w *Writer) moveTag(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if err := w.point(ctx, st.Tag, st.To); err != nil {
		return fmt.Errorf("moving tag %s to %s: %w", st.Tag, st.To, err)
	}
	if err := w.tagService(ctx, st.Tag, st.To, versionOf(st, st.To, before)); err != nil {
		return fmt.Errorf("moving tag %s to %s: %w", st.Tag, st.To, err)
	}
	if st.Tag == mesh.DefaultTag {
		if err := w.moveValidator(ctx, st.To, naming(st.To), asBefore(before)); err != nil {
			return fmt.Errorf("moving tag %s to %s: %w", st.Tag, st.To, err)
		}
	}
	return w.agreed(ctx, st.Tag, st.To)
}

// moveTagBack is the mirror: the validator first, since its istiod may be the
// one that is unwell. The Service goes if the plan brought it.
func (w *Writer) moveTagBack(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if st.Tag == mesh.DefaultTag {
		if err := w.moveValidator(ctx, st.From, asBefore(before), naming(st.To)); err != nil {
			return fmt.Errorf("moving tag %s back to %s: %w", st.Tag, st.From, err)
		}
	}
	version := versionOf(st, st.From, before)
	had := slices.ContainsFunc(before.TagServices, func(s mesh.TagService) bool { return s.Tag == st.Tag })
	_, tagged := before.Tag(st.Tag)
	var err error
	if had || !tagged && skew.HasTagService(version) { // without a tag before, the run pinned it, Service and all
		err = w.tagServiceAgain(ctx, st.Tag, st.From)
	} else {
		err = w.dropTagService(ctx, st.Tag)
	}
	if err != nil {
		return fmt.Errorf("moving tag %s back to %s: %w", st.Tag, st.From, err)
	}
	if err := w.point(ctx, st.Tag, st.From); err != nil {
		return fmt.Errorf("moving tag %s back to %s: %w", st.Tag, st.From, err)
	}
	return w.agreed(ctx, st.Tag, st.From)
}

// versionOf is the Istio version of a revision: the step's, if it is its target.
func versionOf(st plan.Step, rev string, before mesh.Snapshot) string {
	if c, ok := before.ControlPlane(rev); ok {
		return c.Version
	}
	return st.Version
}

// point lets the tag's injector call a revision, in one update: label, Service
// and CA bundle of every entry. The selectors are the tag's and stay.
func (w *Writer) point(ctx context.Context, tag, rev string) error {
	to, err := w.target(ctx, rev)
	if err != nil {
		return err
	}
	have, err := w.tagInjector(ctx, tag)
	if err != nil {
		return err
	}
	if have == nil {
		return refused("the tag has no injector")
	}
	if err := w.ours(ctx, have); err != nil {
		return err
	}
	return w.updateInjector(ctx, have.Name, func(c *mwc) bool {
		if pointsTo(c, rev, to) {
			return false
		}
		c.Labels[mesh.RevLabel] = rev
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig = *to.DeepCopy()
		}
		return true
	})
}

// ours refuses a tag's injector that another tool would write back. istioctl
// copies Helm's marks from the revision's own injector onto its tags (R§2.2), so
// that a release's manifest says whether it holds it, and not the marks.
func (w *Writer) ours(ctx context.Context, have *mwc) error {
	o := ownerOf(have)
	switch o.Kind {
	case mesh.OwnerNone, mesh.OwnerIstioctl:
		return nil
	case mesh.OwnerHelm:
		namespace, name, _ := strings.Cut(o.Name, "/")
		objects, err := w.releases.Objects(ctx, namespace, name)
		if err != nil {
			return fmt.Errorf("reading what release %s holds: %w", o.Name, err)
		}
		if !slices.ContainsFunc(objects, func(h mesh.Object) bool { return h.Kind == "MutatingWebhookConfiguration" && h.Name == have.Name }) {
			return nil
		}
	case mesh.OwnerArgoCD, mesh.OwnerFlux, mesh.OwnerSail, mesh.OwnerTerraform, mesh.OwnerGit:
	}
	return refused("its injector %s belongs to %s %s, whose next sync would write it back: change it there", have.Name, o.Kind, o.Name)
}

// target is what a revision's own injector calls, once it has a CA bundle. It is
// right also where that injector is switched off.
func (w *Writer) target(ctx context.Context, rev string) (admissionv1.WebhookClientConfig, error) {
	own, err := w.ownInjector(ctx, rev)
	if err != nil {
		return admissionv1.WebhookClientConfig{}, err
	}
	if own == nil {
		return admissionv1.WebhookClientConfig{}, refused("revision %s has no injector", rev)
	}
	if err := w.bundled(ctx, own.Name); err != nil {
		return admissionv1.WebhookClientConfig{}, err
	}
	if own, err = w.ownInjector(ctx, rev); err != nil || own == nil {
		return admissionv1.WebhookClientConfig{}, fmt.Errorf("reading the injector of revision %s again: %w", rev, err)
	}
	to, _ := entry(own)
	return to, nil
}

func pointsTo(c *mwc, rev string, to admissionv1.WebhookClientConfig) bool {
	return c.Labels[mesh.RevLabel] == rev && !slices.ContainsFunc(c.Webhooks, func(h admissionv1.MutatingWebhook) bool {
		return !reflect.DeepEqual(h.ClientConfig, to)
	})
}

// agreed sees that the tag's parts lead to one revision (S-2). Another's write in
// between is an error that a second attempt mends.
func (w *Writer) agreed(ctx context.Context, tag, rev string) error {
	have, err := w.tagInjector(ctx, tag)
	if err != nil {
		return err
	}
	if have == nil || have.Labels[mesh.RevLabel] != rev {
		return fmt.Errorf("moving tag %s: its injector does not lead to %s any more", tag, rev)
	}
	s, err := w.parts(ctx)
	if err != nil {
		return fmt.Errorf("moving tag %s: %w", tag, err)
	}
	for _, svc := range s.TagServices {
		if svc.Tag == tag && svc.Revision != rev {
			return fmt.Errorf("moving tag %s: its Service %s leads to %s, its injector to %s", tag, svc.Name, svc.Revision, rev)
		}
	}
	if v, ok := s.DefaultValidator(); ok && tag == mesh.DefaultTag && v.Revision != rev {
		return fmt.Errorf("moving tag %s: its validator %s leads to %s, its injector to %s", tag, v.Name, v.Revision, rev)
	}
	return nil
}

// parts are the tag Services and the validators as they are.
func (w *Writer) parts(ctx context.Context) (mesh.Snapshot, error) {
	r := ReaderOf(w.Clients, w.namespace)
	var f facts
	if err := r.services(ctx, &f); err != nil {
		return mesh.Snapshot{}, err
	}
	if err := r.validators(ctx, &f); err != nil {
		return mesh.Snapshot{}, err
	}
	return mesh.Snapshot{TagServices: f.tagServices, Validators: f.validators}, nil
}
