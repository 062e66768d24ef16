package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// setTag makes a tag, or lets every part of one lead to a revision. Order:
// injector, with a CA bundle from its first moment, or pods that match it could
// not be made (R§1.4); Service; then, for the default, the unrevisioned injector
// off, which the tag stands in for (S-1), and the validator.
func (w *Writer) setTag(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if err := w.setParts(ctx, st, before); err != nil {
		return fmt.Errorf("setting tag %s to %s: %w", st.Tag, st.To, err)
	}
	return w.agreed(ctx, st.Tag, st.To)
}

func (w *Writer) setParts(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	have, err := w.tagInjector(ctx, st.Tag)
	if err != nil {
		return err
	}
	if have == nil {
		c, err := w.newTagInjector(ctx, st)
		if err != nil {
			return err
		}
		_, err = w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, c, creating())
		if apierrors.IsAlreadyExists(err) { // it is not this tag's: that was looked for by its label
			return refused("an injector named %s is there, and is not tag %s", c.Name, st.Tag)
		}
		if err != nil {
			return asking("create", "mutatingwebhookconfigurations", err)
		}
	} else if err := w.point(ctx, st.Tag, st.To); err != nil {
		return err
	}
	if err := w.tagService(ctx, st.Tag, st.To, st.Version); err != nil {
		return err
	}
	if st.Tag != mesh.DefaultTag {
		return nil
	}
	if err := w.unrevisionedOff(ctx); err != nil {
		return err
	}
	return w.setValidator(ctx, st, before)
}

// newTagInjector is the injector of a tag as the chart renders it, calling what
// the revision's own calls. It belongs to no release: a tag is the user's (R§2.2).
func (w *Writer) newTagInjector(ctx context.Context, st plan.Step) (*mwc, error) {
	if _, err := w.target(ctx, st.To); err != nil { // waits for the bundle
		return nil, err
	}
	own, err := w.ownInjector(ctx, st.To)
	if err != nil {
		return nil, err
	}
	if own == nil {
		return nil, refused("revision %s has no injector", st.To)
	}
	in := mesh.TagInjector(st.Tag, st.To, w.namespace)
	if st.Injector != "" {
		in.Name = st.Injector
	}
	if st.Auto {
		in.Webhooks = append(in.Webhooks, mesh.AutoEntry(in.Webhooks[0].Service))
	}
	return injectorLike(in, own), nil
}

// injectorLike is an injector with these entries, each in all else as one of a
// revision's own.
func injectorLike(in mesh.Injector, own *mwc) *mwc {
	c := &mwc{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: in.Name, Labels: map[string]string{
			"app": "sidecar-injector", mesh.RevLabel: in.Revision, mesh.TagLabel: in.Tag,
		}},
	}
	i := slices.IndexFunc(own.Webhooks, func(h admissionv1.MutatingWebhook) bool { return strings.HasSuffix(h.Name, injectorSuffix) })
	for _, h := range in.Webhooks {
		e := own.Webhooks[max(i, 0)].DeepCopy()
		e.Name, e.NamespaceSelector, e.ObjectSelector = h.Name, labelSelector(h.NamespaceSelector), labelSelector(h.ObjectSelector)
		c.Webhooks = append(c.Webhooks, *e)
	}
	return c
}

// unrevisionedOff switches the injector of a control plane without a revision
// off. Without one there is nothing to do.
func (w *Writer) unrevisionedOff(ctx context.Context) error {
	old, err := w.ownInjector(ctx, mesh.DefaultRevision)
	if err != nil || old == nil {
		return err
	}
	return w.updateInjector(ctx, old.Name, switchedOff)
}

// setValidator moves the default validator to the revision, or makes it where
// there is none.
func (w *Writer) setValidator(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	api := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := api.Get(ctx, mesh.DefaultValidator, reading())
	if err == nil {
		return w.moveValidator(ctx, st.To, naming(st.To), asBefore(before))
	}
	if !apierrors.IsNotFound(err) {
		return asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
	}
	v, err := w.newValidator(ctx, st.Tag, st.To)
	if err != nil {
		return err
	}
	if _, err := api.Create(ctx, v, creating()); err != nil && !apierrors.IsAlreadyExists(err) {
		return asking("create", "validatingwebhookconfigurations", err)
	}
	return nil
}

// newValidator is the default validator as istioctl makes it (R§2.3): it leaves
// objects that name a revision to that revision's own, and refuses nothing before
// its istiod has seen that it works.
func (w *Writer) newValidator(ctx context.Context, tag, rev string) (*admissionv1.ValidatingWebhookConfiguration, error) {
	list, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel})
	if err != nil {
		return nil, asking("list", "validatingwebhookconfigurations", err)
	}
	for _, own := range list.Items {
		if own.Name == mesh.DefaultValidator || !isValidator(own) {
			continue
		}
		e := own.Webhooks[0].DeepCopy()
		ignore := admissionv1.Ignore
		e.Name, e.FailurePolicy, e.NamespaceSelector = validatorSuffix, &ignore, nil
		e.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: mesh.RevLabel, Operator: metav1.LabelSelectorOpDoesNotExist}}}
		return &admissionv1.ValidatingWebhookConfiguration{
			TypeMeta:   metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
			ObjectMeta: metav1.ObjectMeta{Name: mesh.DefaultValidator, Labels: map[string]string{"app": "istiod", mesh.RevLabel: rev, mesh.TagLabel: tag}},
			Webhooks:   []admissionv1.ValidatingWebhook{*e},
		}, nil
	}
	return nil, refused("revision %s has no validator to take the default's from", rev)
}

// unsetTag is the mirror: a tag that the run made goes, and what it stood in for
// comes back first. One that was there stays: a split tag is not made again.
func (w *Writer) unsetTag(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if _, had := before.Tag(st.Tag); had {
		return nil
	}
	if err := w.unsetParts(ctx, st, before); err != nil {
		return fmt.Errorf("taking tag %s away again: %w", st.Tag, err)
	}
	return nil
}

func (w *Writer) unsetParts(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if st.Tag == mesh.DefaultTag {
		v, had := before.DefaultValidator()
		var err error
		if had && before.Serves(v.Revision) {
			err = w.moveValidator(ctx, v.Revision, asBefore(before), naming(st.To))
		} else if !had {
			err = ignoreGone(w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, mesh.DefaultValidator, metav1.DeleteOptions{}))
		}
		if err != nil {
			return err
		}
		for _, in := range before.Injectors {
			if in.Tag == "" && in.Revision == mesh.DefaultRevision && !in.IsOff() {
				if err := w.rearm(ctx, mesh.DefaultRevision, before); err != nil {
					return err
				}
			}
		}
	}
	if err := w.dropTagInjector(ctx, st.Tag); err != nil {
		return err
	}
	return w.dropTagService(ctx, st.Tag)
}

func (w *Writer) dropTagInjector(ctx context.Context, tag string) error {
	have, err := w.tagInjector(ctx, tag)
	if err != nil || have == nil {
		return err
	}
	if err := w.ours(ctx, have); err != nil {
		return err
	}
	if err := ignoreGone(w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, have.Name, metav1.DeleteOptions{})); err != nil {
		return asking("delete", "mutatingwebhookconfigurations "+have.Name, err)
	}
	return nil
}
