package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// remove takes the old control plane away. What a gate saw is looked at again on
// the mesh as it is now (S-54), and the release's record is kept for the way back.
func (w *Writer) remove(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("removing revision %s: %w", st.From, err)
	}
	if refs := now.References(st.From); len(refs) > 0 && !st.Purge {
		return fmt.Errorf("removing revision %s: %w", st.From, refused("%s", relying(refs)))
	}
	old, ok := before.ControlPlane(st.From)
	if !ok {
		old, ok = now.ControlPlane(st.From)
	}
	if !ok {
		return fmt.Errorf("removing revision %s: %w", st.From, refused("there was none when the run began"))
	}
	switch old.Owner.Kind {
	case mesh.OwnerIstioctl:
		err = w.removeListed(ctx, st.From)
	case mesh.OwnerHelm:
		err = w.removeRelease(ctx, st, old)
	case mesh.OwnerArgoCD, mesh.OwnerFlux, mesh.OwnerSail, mesh.OwnerTerraform, mesh.OwnerGit, mesh.OwnerNone:
		err = refused("neither Helm nor istioctl owns it: remove it with the tool that installed it")
	}
	if err != nil {
		return fmt.Errorf("removing revision %s: %w", st.From, err)
	}
	return nil
}

func (w *Writer) removeListed(ctx context.Context, rev string) error {
	if err := w.keepListed(ctx, rev); err != nil {
		return err
	}
	return w.takeDownListed(ctx, rev)
}

func (w *Writer) removeRelease(ctx context.Context, st plan.Step, old mesh.ControlPlane) error {
	namespace, name, _ := strings.Cut(old.Owner.Name, "/")
	if err := w.onlyItsOwn(ctx, st, namespace, name); err != nil {
		return err
	}
	if err := w.releases.Keep(ctx, namespace, name); err != nil {
		return err
	}
	return w.takeDown(ctx, st.From, namespace, name)
}

// reinstall is the way back: the release as it was, until it can inject. Its
// unrevisioned injector comes back switched off while a tag stands in for it:
// that leads to the new revision still.
func (w *Writer) reinstall(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	old, ok := before.ControlPlane(st.From)
	if !ok {
		old.Owner.Kind = mesh.OwnerNone
	}
	off, err := w.stoodInFor(ctx, st, before)
	if err == nil {
		err = w.reinstalled(ctx, old, off)
	}
	if err != nil {
		return fmt.Errorf("reinstalling revision %s: %w", st.From, err)
	}
	return nil
}

// reinstalled brings a control plane back and waits until it can inject.
func (w *Writer) reinstalled(ctx context.Context, old mesh.ControlPlane, off string) error {
	if old.Owner.Kind != mesh.OwnerHelm && old.Owner.Kind != mesh.OwnerIstioctl {
		return refused("neither Helm nor istioctl owned it: install it again with the tool that made it")
	}
	if err := w.bringBack(ctx, old, off); err != nil {
		return err
	}
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: w.namespace, Name: old.Name}
	if err := w.atMinimum(ctx, ref.Name); err != nil {
		return err
	}
	if _, err := w.rolledOut(ctx, ref); err != nil {
		return err
	}
	return w.bundled(ctx, mesh.RevisionInjector(old.Revision, w.namespace).Name)
}

// stoodInFor names the unrevisioned injector where a default tag stands in for it:
// one that is there, or, of a whole mesh that comes back, one that follows.
func (w *Writer) stoodInFor(ctx context.Context, st plan.Step, before mesh.Snapshot) (string, error) {
	if st.From != mesh.DefaultRevision {
		return "", nil
	}
	tag, err := w.tagInjector(ctx, mesh.DefaultTag)
	if err != nil {
		return "", err
	}
	if _, tagged := before.Tag(mesh.DefaultTag); tag != nil || st.Purge && tagged {
		return mesh.RevisionInjector(st.From, w.namespace).Name, nil
	}
	return "", nil
}

// bringBack makes what was removed again, from what was kept of it.
func (w *Writer) bringBack(ctx context.Context, old mesh.ControlPlane, off string) error {
	if old.Owner.Kind == mesh.OwnerIstioctl {
		return w.restoreListed(ctx, old.Revision, off)
	}
	namespace, name, _ := strings.Cut(old.Owner.Name, "/")
	return w.releases.Restore(ctx, namespace, name, off)
}

// mostNamed is how many references a refusal names.
const mostNamed = 5

func relying(refs []mesh.Object) string {
	var out []string
	for _, o := range refs {
		if len(out) == mostNamed {
			out = append(out, fmt.Sprintf("and %d more", len(refs)-mostNamed))
			break
		}
		out = append(out, fmt.Sprintf("%s %s: %s", strings.ToLower(o.Kind), strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"), o.Note))
	}
	return "still needed: " + strings.Join(out, "; ")
}

// onlyItsOwn refuses to uninstall a release that holds more than one revision's
// control plane (S-53): a gateway, a tag or the CRDs would go with it.
func (w *Writer) onlyItsOwn(ctx context.Context, st plan.Step, namespace, name string) error {
	objects, err := w.releases.Objects(ctx, namespace, name)
	if err != nil {
		return fmt.Errorf("reading what release %s/%s holds: %w", namespace, name, err)
	}
	for _, o := range objects {
		what := fmt.Sprintf("release %s/%s also holds %s %s", namespace, name, strings.ToLower(o.Kind), o.Name)
		switch {
		case o.Note != "" && !st.Purge:
			return refused("%s, of tag %s: take the tag out of its values first", what, o.Note)
		case o.Kind == "CustomResourceDefinition":
			return refused("%s: it is no release of a control plane alone", what)
		case slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet"}, o.Kind) && o.Name != mesh.IstiodName(st.From):
			return refused("%s: it is no release of a control plane alone", what)
		}
	}
	return nil
}

// takeDown removes a revision's control plane. Order: its webhooks first, or they
// would refuse pods and configuration while nothing answers (R§6.6); then the
// release; then, once its pods are gone, what istiod made for itself.
func (w *Writer) takeDown(ctx context.Context, rev, namespace, release string) error {
	if err := w.dropWebhooks(ctx, rev); err != nil {
		return err
	}
	if err := w.releases.Uninstall(ctx, namespace, release); err != nil {
		return err
	}
	if err := w.gone(ctx, rev); err != nil {
		return err
	}
	return w.dropLeftovers(ctx, rev)
}

// dropWebhooks deletes the revision's own webhooks by name, also one that is
// switched off, and never a tag's or the default validator.
func (w *Writer) dropWebhooks(ctx context.Context, rev string) error {
	own := metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel}
	api := w.Kube.AdmissionregistrationV1()
	injectors, err := api.MutatingWebhookConfigurations().List(ctx, own)
	if err != nil {
		return asking("list", "mutatingwebhookconfigurations", err)
	}
	for _, c := range injectors.Items {
		if !isInjector(c) {
			continue
		}
		if err := ignoreGone(api.MutatingWebhookConfigurations().Delete(ctx, c.Name, metav1.DeleteOptions{})); err != nil {
			return asking("delete", "mutatingwebhookconfigurations "+c.Name, err)
		}
	}
	validators, err := api.ValidatingWebhookConfigurations().List(ctx, own)
	if err != nil {
		return asking("list", "validatingwebhookconfigurations", err)
	}
	for _, c := range validators.Items {
		if c.Name != mesh.RevisionValidator(rev, w.namespace).Name {
			continue
		}
		if err := ignoreGone(api.ValidatingWebhookConfigurations().Delete(ctx, c.Name, metav1.DeleteOptions{})); err != nil {
			return asking("delete", "validatingwebhookconfigurations "+c.Name, err)
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// gone waits until the revision's istiods have ended: until then they hold locks
// and write what is about to be removed.
func (w *Writer) gone(ctx context.Context, rev string) error {
	pods := w.Kube.CoreV1().Pods(w.namespace)
	src := source[*corev1.PodList]{
		what: "pods", of: w.Kube, opts: metav1.ListOptions{LabelSelector: "app=istiod," + mesh.RevLabel + "=" + rev}, list: pods.List, watch: pods.Watch,
	}
	return await(ctx, "the istiods of revision "+rev+" to end", src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		return len(list) == 0, fmt.Sprintf("%d are left", len(list)), nil
	})
}

// dropLeftovers removes the election records that istiod makes for itself, one
// for each revision (R§4, R§11.17).
func (w *Writer) dropLeftovers(ctx context.Context, rev string) error {
	for _, lock := range []string{"istio-gateway-deployment-", "istio-gateway-status-leader-"} {
		name := lock + rev
		if err := ignoreGone(w.Kube.CoordinationV1().Leases(w.namespace).Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return asking("delete", "leases.coordination.k8s.io "+name, err)
		}
		if err := ignoreGone(w.Kube.CoreV1().ConfigMaps(w.namespace).Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return asking("delete", "configmaps "+name, err)
		}
	}
	return nil
}
