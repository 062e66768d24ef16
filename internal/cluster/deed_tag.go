package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// moveTag points a tag at a revision, in place: injector, Service and, for the
// default tag, the validator through the base release that owns it (S-2, S-3).
// Never delete-then-create: namespaces that follow the tag would have no
// injector for an instant (R§11.7).
func (w *Writer) moveTag(ctx context.Context, st plan.Step, rev string, before mesh.Snapshot) error {
	target, err := w.injector(ctx, rev, "")
	if err != nil {
		return err
	}
	tag, err := w.injector(ctx, "", st.Tag)
	if err != nil {
		return err
	}
	if target == nil || tag == nil || len(target.Webhooks) == 0 {
		return fmt.Errorf("moving tag %s to %s: %w: the tag or the revision has no injector", st.Tag, rev, ErrRefused)
	}
	to := target.Webhooks[0].ClientConfig
	err = w.updateInjector(ctx, tag.Name, func(c *admissionv1.MutatingWebhookConfiguration) bool {
		c.Labels[mesh.RevLabel] = rev
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig = *to.DeepCopy()
		}
		return true
	})
	if err != nil {
		return err
	}
	version := st.Version
	if c, ok := before.ControlPlane(rev); ok {
		version = c.Version
	}
	if err := w.moveTagService(ctx, st.Tag, rev, version, before); err != nil {
		return err
	}
	if st.Tag != mesh.DefaultTag {
		return nil
	}
	return w.moveDefault(ctx, rev, before)
}

// moveTagService moves the tag's Service. Back on a release that makes none, one
// that was not there before goes.
func (w *Writer) moveTagService(ctx context.Context, tag, rev, version string, before mesh.Snapshot) error {
	was := slices.ContainsFunc(before.TagServices, func(t mesh.TagService) bool { return t.Tag == tag })
	if _, old := before.ControlPlane(rev); old && !was && !hasTagService(version) {
		name := mesh.TagServiceName(tag)
		if err := w.kube.CoreV1().Services(w.namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing Service %s: %w", name, err)
		}
		return nil
	}
	return w.tagService(ctx, tag, rev, version)
}

// moveDefault moves the default validator: through the base release where it
// owns it, else in place.
func (w *Writer) moveDefault(ctx context.Context, rev string, before mesh.Snapshot) error {
	if base, ok := before.Base(); ok && base.DefaultRevisionValue() != "" {
		live, ok, err := w.releases.Get(ctx, base.Namespace, base.Name)
		if err != nil {
			return fmt.Errorf("moving the default validator: %w", err)
		}
		if !ok {
			return fmt.Errorf("moving the default validator: %w: the base release is gone", ErrRefused)
		}
		live.Values = maps.Clone(live.Values)
		if live.Values == nil {
			live.Values = map[string]any{}
		}
		live.Values["defaultRevision"] = rev
		if err := w.releases.Upgrade(ctx, live); err != nil {
			return fmt.Errorf("moving the default validator: %w", err)
		}
		return nil
	}
	api := w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	own, err := api.List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev})
	if err != nil {
		return asking("list", "validatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	var to *admissionv1.WebhookClientConfig
	for _, c := range own.Items {
		if c.Name != mesh.DefaultValidator && len(c.Webhooks) > 0 {
			to = &c.Webhooks[0].ClientConfig
		}
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		c, err := api.Get(ctx, mesh.DefaultValidator, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // a mesh without one: nothing moves
		}
		if err != nil {
			return err //nolint:wrapcheck // wrapped below, once
		}
		if to == nil {
			return fmt.Errorf("%w: revision %s has no validator to copy", ErrRefused, rev)
		}
		c.Labels[mesh.RevLabel] = rev
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig = *to.DeepCopy()
		}
		_, err = api.Update(ctx, c, metav1.UpdateOptions{FieldManager: manager})
		return err //nolint:wrapcheck // wrapped below, once
	})
	if err != nil {
		return fmt.Errorf("moving the default validator: %w", err)
	}
	return nil
}
