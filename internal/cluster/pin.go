package cluster

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// pin makes the default tag for the revision that is the default already, then
// switches its unrevisioned injector off. Order: tag on, with Service and CA
// bundle, then injector off. For an instant both inject, for the same revision;
// never neither (S-1).
func (w *Writer) pin(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	tag := tagOf(st)
	old, err := w.ownInjector(ctx, st.To)
	if err != nil {
		return fmt.Errorf("pinning tag %s: %w", tag, err)
	}
	if old == nil {
		return fmt.Errorf("pinning tag %s: %w", tag, refused("revision %s has no injector to take it from", st.To))
	}
	name, err := w.makeTag(ctx, tag, old, before)
	if err != nil {
		return fmt.Errorf("pinning tag %s: %w", tag, err)
	}
	if err := w.tagService(ctx, tag, st.To, st.Version); err != nil {
		return fmt.Errorf("pinning tag %s: %w", tag, err)
	}
	if err := w.bundled(ctx, name); err != nil {
		return fmt.Errorf("pinning tag %s: %w", tag, err)
	}
	if err := w.updateInjector(ctx, old.Name, switchedOff); err != nil {
		return fmt.Errorf("pinning tag %s: %w", tag, err)
	}
	return nil
}

func tagOf(st plan.Step) string {
	if st.Tag != "" {
		return st.Tag
	}
	return mesh.DefaultTag
}

// makeTag creates the tag's injector unless it is there, and returns its name.
func (w *Writer) makeTag(ctx context.Context, tag string, old *mwc, before mesh.Snapshot) (string, error) {
	have, err := w.tagInjector(ctx, tag)
	if err != nil {
		return "", err
	}
	if have != nil {
		if rev := have.Labels[mesh.RevLabel]; rev != old.Labels[mesh.RevLabel] {
			return "", refused("there is one, and it leads to revision %s", rev)
		}
		return have.Name, nil
	}
	entries := old.DeepCopy()
	if injectorOf(*old).IsOff() {
		// The tag was removed after the injector had been switched off: what it
		// matched is in the run.
		was, ok := injectorNamed(before, old.Name)
		if !ok || was.IsOff() {
			return "", refused("injector %s is switched off, and nothing says what it matched", old.Name)
		}
		switchedOn(was)(entries)
	}
	c := &mwc{
		ObjectMeta: metav1.ObjectMeta{Name: mesh.TagInjector(tag, "", w.namespace).Name, Labels: map[string]string{
			// No operator's and no release's labels: a tag is the user's (R§2.2).
			"app": "sidecar-injector", mesh.RevLabel: old.Labels[mesh.RevLabel], mesh.TagLabel: tag,
		}},
		Webhooks: entries.Webhooks,
	}
	_, err = w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, c, creating())
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", asking("create", "mutatingwebhookconfigurations", err)
	}
	return c.Name, nil
}

func injectorNamed(s mesh.Snapshot, name string) (mesh.Injector, bool) {
	i := slices.IndexFunc(s.Injectors, func(in mesh.Injector) bool { return in.Name == name })
	if i < 0 {
		return mesh.Injector{}, false
	}
	return s.Injectors[i], true
}

// unpin is the mirror. Order: injector on, then tag off.
func (w *Writer) unpin(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	tag := tagOf(st)
	have, err := w.tagInjector(ctx, tag)
	if err != nil {
		return fmt.Errorf("unpinning tag %s: %w", tag, err)
	}
	if have != nil && have.Labels[mesh.RevLabel] != st.To {
		// Switching the injector on now would give pods two injectors of different revisions.
		return fmt.Errorf("unpinning tag %s: %w", tag, refused("it leads to revision %s: it must go back to %s first", have.Labels[mesh.RevLabel], st.To))
	}
	if err := w.rearm(ctx, st.To, before); err != nil {
		return fmt.Errorf("unpinning tag %s: %w", tag, err)
	}
	if have != nil {
		err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, have.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("unpinning tag %s: %w", tag, asking("delete", "mutatingwebhookconfigurations", err))
		}
	}
	if slices.ContainsFunc(before.TagServices, func(s mesh.TagService) bool { return s.Tag == tag }) {
		return nil
	}
	if err := w.dropTagService(ctx, tag); err != nil {
		return fmt.Errorf("unpinning tag %s: %w", tag, err)
	}
	return nil
}

// rearm switches the revision's own injector on, as it was when the run began.
func (w *Writer) rearm(ctx context.Context, rev string, before mesh.Snapshot) error {
	for _, in := range before.Injectors {
		if in.Tag != "" || in.Revision != rev {
			continue
		}
		if err := w.updateInjector(ctx, in.Name, switchedOn(in)); err != nil {
			return err
		}
		return w.handBack(ctx, injectorResource(), "", in.Name)
	}
	return refused("the run does not know the injector of revision %s", rev)
}
