package cluster

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// upgradeBase upgrades the release that owns the CRDs. Its values stay as they
// are: defaultRevision moves with the default tag, not before (S-3).
func (w *Writer) upgradeBase(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	rel, ok := before.Base()
	if !ok {
		return fmt.Errorf("upgrading base: %w: there is no release %s/%s", ErrRefused, st.Namespace, st.Target)
	}
	live, ok, err := w.releases.Get(ctx, rel.Namespace, rel.Name)
	if err != nil {
		return fmt.Errorf("upgrading base: %w", err)
	}
	if !ok {
		return fmt.Errorf("upgrading base: %w: release %s/%s is gone", ErrRefused, rel.Namespace, rel.Name)
	}
	live.Version = st.Version
	if err := w.releases.Upgrade(ctx, live); err != nil {
		return fmt.Errorf("upgrading base: %w", err)
	}
	return nil
}

// install installs a revision beside the old one, with the old one's values, and
// waits until it can inject.
func (w *Writer) install(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	old, _ := before.ControlPlane(st.From)
	var carried mesh.Release
	if old.Owner.Kind == mesh.OwnerHelm {
		_, name, _ := strings.Cut(old.Owner.Name, "/")
		rel, _, err := w.releases.Get(ctx, w.namespace, name)
		if err != nil {
			return fmt.Errorf("reading the values of revision %s: %w", st.From, err)
		}
		carried = rel
	}
	want := mesh.Release{
		Namespace: w.namespace, Name: st.Target, Chart: "istiod", Version: st.Version,
		Values: w.releases.RevisionValues(carried.Values, p.Request.Values, st.To, old.Ready),
	}
	if err := w.releases.Install(ctx, want, carried.Name); err != nil {
		return fmt.Errorf("installing revision %s: %w", st.To, err)
	}
	if err := w.rolled(ctx, mesh.Ref{Kind: mesh.KindDeployment, Namespace: w.namespace, Name: mesh.IstiodName(st.To)}); err != nil {
		return err
	}
	return poll(ctx, "the CA bundle of revision "+st.To, func(ctx context.Context) (bool, string, error) {
		c, err := w.injector(ctx, st.To, "")
		if err != nil || c == nil {
			return false, "it has no injector", err
		}
		for _, h := range c.Webhooks {
			if len(h.ClientConfig.CABundle) == 0 {
				return false, "entry " + h.Name + " has none", nil
			}
		}
		return true, "", nil
	})
}

// uninstall removes a revision and what it left behind. Order: its webhooks
// first, or they would refuse pods and objects while nothing answers (R§6.6).
func (w *Writer) uninstall(ctx context.Context, rev, release string) error {
	if err := w.removeWebhooks(ctx, rev); err != nil {
		return err
	}
	if err := w.releases.Uninstall(ctx, w.namespace, release); err != nil {
		return err
	}
	sel := "app=istiod," + mesh.RevLabel + "=" + rev
	err := poll(ctx, "the istiods of revision "+rev+" to be gone", func(ctx context.Context) (bool, string, error) {
		list, err := w.kube.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: sel})
		if err != nil {
			return false, "", asking("list", "pods", err)
		}
		return len(list.Items) == 0, fmt.Sprintf("%d left", len(list.Items)), nil
	})
	if err != nil {
		return err
	}
	return w.leftovers(ctx, rev)
}

// removeWebhooks deletes the revision's own webhooks, never a tag's.
func (w *Writer) removeWebhooks(ctx context.Context, rev string) error {
	sel := metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel}
	api := w.kube.AdmissionregistrationV1()
	injectors, err := api.MutatingWebhookConfigurations().List(ctx, sel)
	if err != nil {
		return asking("list", "mutatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	for _, c := range injectors.Items {
		if err := api.MutatingWebhookConfigurations().Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing %s: %w", c.Name, err)
		}
	}
	validators, err := api.ValidatingWebhookConfigurations().List(ctx, sel)
	if err != nil {
		return asking("list", "validatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	for _, c := range validators.Items {
		if c.Name == mesh.DefaultValidator {
			continue // the base release's; it has moved, or the removal was refused
		}
		if err := api.ValidatingWebhookConfigurations().Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing %s: %w", c.Name, err)
		}
	}
	return nil
}

// leftovers are the election records that istiod makes for itself, one a revision (R§11.17).
func (w *Writer) leftovers(ctx context.Context, rev string) error {
	for _, name := range []string{"istio-gateway-deployment-" + rev, "istio-gateway-status-leader-" + rev} {
		if err := w.kube.CoordinationV1().Leases(w.namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing Lease %s: %w", name, err)
		}
	}
	return nil
}

// remove takes the old control plane away. What a gate saw is looked at again:
// this is the step that cannot be taken back (S-53, S-54).
func (w *Writer) remove(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("removing revision %s: %w", st.From, err)
	}
	if refs := now.References(st.From); len(refs) > 0 {
		return fmt.Errorf("removing revision %s: %w: %s %s/%s still relies on it (%s), and %d more", st.From, ErrRefused, refs[0].Kind, refs[0].Namespace, refs[0].Name, refs[0].Note, len(refs)-1)
	}
	old, ok := before.ControlPlane(st.From)
	if !ok || old.Owner.Kind != mesh.OwnerHelm {
		return fmt.Errorf("removing revision %s: %w: it is not a Helm release; remove it with the tool that installed it", st.From, ErrRefused)
	}
	_, release, _ := strings.Cut(old.Owner.Name, "/")
	return w.uninstall(ctx, st.From, release)
}
