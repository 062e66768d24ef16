package cluster

import (
	"context"
	"fmt"
	"maps"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// pin makes the default tag for the revision that is default already, then
// switches its unrevisioned injector off. Order: tag on, then injector off. For
// an instant both inject, for the same revision; never neither (S-1).
func (w *Writer) pin(ctx context.Context, st plan.Step) error {
	old, err := w.injector(ctx, st.To, "")
	if err != nil {
		return err
	}
	tag, err := w.injector(ctx, "", mesh.DefaultTag)
	if err != nil {
		return err
	}
	if tag == nil {
		if old == nil || isOff(old) {
			return fmt.Errorf("pinning the default tag: %w: there is no active injector of revision %s to copy", ErrRefused, st.To)
		}
		if err := w.createTag(ctx, old, mesh.DefaultTag, w.tagName(mesh.DefaultTag)); err != nil {
			return err
		}
	}
	if err := w.tagService(ctx, mesh.DefaultTag, st.To, st.Version); err != nil {
		return err
	}
	if err := w.bundled(ctx, mesh.DefaultTag); err != nil {
		return err
	}
	if old == nil {
		return nil
	}
	return w.switchOff(ctx, old.Name)
}

// unpin switches the injector on as it was, then removes the tag.
func (w *Writer) unpin(ctx context.Context, before mesh.Snapshot) error {
	for _, in := range before.Injectors {
		if in.Tag != "" || in.Revision != mesh.DefaultRevision {
			continue
		}
		if err := w.switchOn(ctx, in); err != nil {
			return err
		}
	}
	tag, err := w.injector(ctx, "", mesh.DefaultTag)
	if err != nil {
		return err
	}
	if tag != nil {
		if err := w.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, tag.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing the default tag: %w", err)
		}
	}
	name := mesh.TagServiceName(mesh.DefaultTag)
	if err := w.kube.CoreV1().Services(w.namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing Service %s: %w", name, err)
	}
	return nil
}

// tagName is the name of a tag's webhook configuration (R§1.1).
func (w *Writer) tagName(tag string) string {
	if w.namespace == "istio-system" {
		return "istio-revision-tag-" + tag
	}
	return "istio-revision-tag-" + tag + "-" + w.namespace
}

// injector returns the live injector of a revision (tag empty) or of a tag, nil if there is none.
func (w *Writer) injector(ctx context.Context, rev, tag string) (*admissionv1.MutatingWebhookConfiguration, error) {
	sel := mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel
	if tag != "" {
		sel = mesh.TagLabel + "=" + tag
	}
	list, err := w.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: sel})
	if err != nil {
		return nil, asking("list", "mutatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	for i := range list.Items {
		for _, h := range list.Items[i].Webhooks {
			if strings.HasSuffix(h.Name, injectorSuffix) {
				return &list.Items[i], nil
			}
		}
	}
	return nil, nil //nolint:nilnil // none is an answer
}

// createTag makes a tag's injector from a live one: its entries, CA bundle and
// Service, with the labels that make it a tag and nobody's release (R§2.2).
func (w *Writer) createTag(ctx context.Context, from *admissionv1.MutatingWebhookConfiguration, tag, name string) error {
	labels := map[string]string{"app": "sidecar-injector", mesh.RevLabel: from.Labels[mesh.RevLabel], mesh.TagLabel: tag}
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Webhooks: from.Webhooks}
	_, err := w.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, c, metav1.CreateOptions{FieldManager: manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating tag %s: %w", tag, err)
	}
	return nil
}

// tagService makes or moves the Service of a tag, which Istio has from 1.28 on
// (R§2.1). Where the revision is older and there is none, there is nothing to do.
func (w *Writer) tagService(ctx context.Context, tag, rev, version string) error {
	name := mesh.TagServiceName(tag)
	svcs := w.kube.CoreV1().Services(w.namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		have, err := svcs.Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading Service %s: %w", name, err)
		}
		missing := err != nil
		if missing && !hasTagService(version) {
			return nil
		}
		istiod, err := svcs.Get(ctx, mesh.IstiodName(rev), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading Service %s: %w", mesh.IstiodName(rev), err)
		}
		if !missing {
			have.Labels[mesh.RevLabel], have.Spec.Selector = rev, istiod.Spec.Selector
			_, err = svcs.Update(ctx, have, metav1.UpdateOptions{FieldManager: manager})
			return err //nolint:wrapcheck // RetryOnConflict looks at it
		}
		s := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace, Labels: map[string]string{
				"app": "istiod", "istio": "pilot", mesh.RevLabel: rev, mesh.TagLabel: tag,
			}},
			Spec: corev1.ServiceSpec{Selector: maps.Clone(istiod.Spec.Selector)},
		}
		for _, p := range istiod.Spec.Ports {
			p.NodePort = 0
			s.Spec.Ports = append(s.Spec.Ports, p)
		}
		if _, err := svcs.Create(ctx, s, metav1.CreateOptions{FieldManager: manager}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating Service %s: %w", name, err)
		}
		return nil
	})
}

// hasTagService says whether a release makes Services for tags: 1.28 and later.
func hasTagService(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 1 || minor >= 28
}

// bundled waits until every entry of a tag has a CA bundle: without one, pods that match cannot be created (R§1.4).
func (w *Writer) bundled(ctx context.Context, tag string) error {
	return poll(ctx, "the CA bundle of tag "+tag, func(ctx context.Context) (bool, string, error) {
		c, err := w.injector(ctx, "", tag)
		if err != nil || c == nil {
			return false, "there is no such tag", err
		}
		for _, h := range c.Webhooks {
			if len(h.ClientConfig.CABundle) == 0 {
				return false, "entry " + h.Name + " has none", nil
			}
		}
		return true, "", nil
	})
}

func isOff(c *admissionv1.MutatingWebhookConfiguration) bool {
	for _, h := range c.Webhooks {
		if h.NamespaceSelector == nil || h.NamespaceSelector.MatchLabels[mesh.Deactivated] == "" {
			return false
		}
	}
	return true
}

// switchOff makes every entry of an injector match nothing, in one update.
func (w *Writer) switchOff(ctx context.Context, name string) error {
	never := metav1.LabelSelector{MatchLabels: map[string]string{mesh.Deactivated: "never-match"}}
	return w.updateInjector(ctx, name, func(c *admissionv1.MutatingWebhookConfiguration) bool {
		if isOff(c) {
			return false
		}
		for i := range c.Webhooks {
			c.Webhooks[i].NamespaceSelector, c.Webhooks[i].ObjectSelector = never.DeepCopy(), never.DeepCopy()
		}
		return true
	})
}

// switchOn gives an injector the selectors it had.
func (w *Writer) switchOn(ctx context.Context, in mesh.Injector) error {
	was := map[string]mesh.Webhook{}
	for _, h := range in.Webhooks {
		was[h.Name] = h
	}
	return w.updateInjector(ctx, in.Name, func(c *admissionv1.MutatingWebhookConfiguration) bool {
		for i, h := range c.Webhooks {
			if old, ok := was[h.Name]; ok {
				c.Webhooks[i].NamespaceSelector, c.Webhooks[i].ObjectSelector = labelSelector(old.NamespaceSelector), labelSelector(old.ObjectSelector)
			}
		}
		return true
	})
}

func (w *Writer) updateInjector(ctx context.Context, name string, change func(*admissionv1.MutatingWebhookConfiguration) bool) error {
	api := w.kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		c, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err //nolint:wrapcheck // wrapped below, once
		}
		if !change(c) {
			return nil
		}
		_, err = api.Update(ctx, c, metav1.UpdateOptions{FieldManager: manager})
		return err //nolint:wrapcheck // wrapped below, once
	})
	if err != nil {
		return fmt.Errorf("changing injector %s: %w", name, err)
	}
	return nil
}
