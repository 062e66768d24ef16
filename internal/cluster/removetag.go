package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// removeTag takes a tag away. Order: what it stood in for is switched on first,
// so that no pod is made without a proxy; then injector, Service, validator.
func (w *Writer) removeTag(ctx context.Context, st plan.Step) error {
	if err := w.removeParts(ctx, st); err != nil {
		return fmt.Errorf("removing tag %s: %w", st.Tag, err)
	}
	return nil
}

func (w *Writer) removeParts(ctx context.Context, st plan.Step) error {
	if err := w.succeeded(ctx, st); err != nil {
		return err
	}
	if err := w.dropTagInjector(ctx, st.Tag); err != nil {
		return err
	}
	if err := w.dropTagService(ctx, st.Tag); err != nil {
		return err
	}
	api := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: mesh.TagLabel + "=" + st.Tag})
	if err != nil {
		return asking("list", "validatingwebhookconfigurations", err)
	}
	for _, v := range list.Items {
		if !isValidator(v) || ownerOf(&v).Kind == mesh.OwnerHelm {
			continue
		}
		if err := ignoreGone(api.Delete(ctx, v.Name, metav1.DeleteOptions{})); err != nil {
			return asking("delete", "validatingwebhookconfigurations "+v.Name, err)
		}
	}
	return nil
}

// succeeded makes sure that nobody is left without an injector.
func (w *Writer) succeeded(ctx context.Context, st plan.Step) error {
	switch {
	case st.Purge: // every injector goes: whose pods are left without one has been listed
		return nil
	case standsIn(st):
		return w.takeOver(ctx)
	}
	return w.unfollowed(ctx, st.Tag)
}

// standsIn says whether the tag stands in for the injector of a control plane
// without a revision.
func standsIn(st plan.Step) bool {
	return st.Tag == mesh.DefaultTag && st.From == mesh.DefaultRevision
}

// takeOver switches the unrevisioned injector on, with the selectors that its
// chart renders: those it had before the tag was pinned nobody has kept.
func (w *Writer) takeOver(ctx context.Context) error {
	own, err := w.ownInjector(ctx, mesh.DefaultRevision)
	if err != nil || own == nil || !injectorOf(*own).IsOff() {
		return err
	}
	if err := w.updateInjector(ctx, own.Name, switchedOn(mesh.RevisionInjector(mesh.DefaultRevision, w.namespace))); err != nil {
		return err
	}
	return w.handBack(ctx, injectorResource(), "", own.Name)
}

// unfollowed looks again whether something follows the tag (S-54): it would be
// left without an injector.
func (w *Writer) unfollowed(ctx context.Context, tag string) error {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("looking whether anything follows it: %w", err)
	}
	for _, n := range now.Namespaces {
		if now.Injection(n.Labels, nil).Tag == tag {
			return refused("namespace %s follows it: its pods would start without a sidecar", n.Name)
		}
	}
	for _, wl := range now.Workloads {
		if now.InjectionOf(wl).Tag == tag {
			return refused("workload %s follows it: its pods would start without a sidecar", wl.Ref)
		}
	}
	return nil
}

// restoreTag makes a removed tag again, as the run found it. Order: the tag on,
// then what it stands in for off.
func (w *Writer) restoreTag(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if err := w.restoreParts(ctx, st, before); err != nil {
		return fmt.Errorf("making tag %s again: %w", st.Tag, err)
	}
	return nil
}

func (w *Writer) restoreParts(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if err := w.restoreInjector(ctx, st.Tag, before); err != nil {
		return err
	}
	for _, svc := range before.TagServices {
		if svc.Tag == st.Tag {
			if err := w.tagServiceAgain(ctx, st.Tag, svc.Revision); err != nil {
				return err
			}
		}
	}
	if err := w.restoreValidators(ctx, st.Tag, before); err != nil {
		return err
	}
	for _, in := range before.Injectors {
		if in.Tag == "" && in.Revision == mesh.DefaultRevision && in.IsOff() && standsIn(st) {
			return w.unrevisionedOff(ctx)
		}
	}
	return nil
}

// restoreInjector makes the tag's injector again, unless there is one.
func (w *Writer) restoreInjector(ctx context.Context, tag string, before mesh.Snapshot) error {
	have, err := w.tagInjector(ctx, tag)
	if err != nil || have != nil {
		return err
	}
	for _, in := range before.Injectors {
		if in.Tag != tag {
			continue
		}
		to, err := w.target(ctx, in.Revision)
		if err != nil {
			return err
		}
		own, err := w.ownInjector(ctx, in.Revision)
		if err != nil {
			return err
		}
		c := injectorLike(in, own)
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig = *to.DeepCopy()
		}
		if _, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, c, creating()); err != nil && !apierrors.IsAlreadyExists(err) {
			return asking("create", "mutatingwebhookconfigurations", err)
		}
	}
	return nil
}

// restoreValidators makes the tag's validators again.
func (w *Writer) restoreValidators(ctx context.Context, tag string, before mesh.Snapshot) error {
	for _, v := range before.Validators {
		if v.Tag != tag {
			continue
		}
		made, err := w.newValidator(ctx, tag, v.Revision)
		if err != nil {
			return err
		}
		if _, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, made, creating()); err != nil && !apierrors.IsAlreadyExists(err) {
			return asking("create", "validatingwebhookconfigurations", err)
		}
	}
	return nil
}
