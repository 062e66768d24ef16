package cluster

import (
	"context"
	"fmt"
	"maps"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/mesh"
)

// defaultRevision is the base chart's value that names the revision whose istiod
// validates by default; it moves the validator only (R§2.4).
const defaultRevision = "defaultRevision"

// moveValidator moves the default validator. Where Helm renders it, it moves
// through that release (S-3), at the chart version the release has; to says what
// becomes of its values, from what an unfinished move the other way made of them.
// A mesh without one has nothing to move.
func (w *Writer) moveValidator(ctx context.Context, rev string, to, from func(values map[string]any)) error {
	v, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, mesh.DefaultValidator, reading())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
	}
	switch o := ownerOf(v); o.Kind {
	case mesh.OwnerHelm:
		if err := w.moveThroughBase(ctx, o, to, from); err != nil {
			return err
		}
		return w.asReleased(ctx, rev)
	case mesh.OwnerNone, mesh.OwnerIstioctl:
		return w.moveInPlace(ctx, rev)
	case mesh.OwnerArgoCD, mesh.OwnerFlux, mesh.OwnerSail, mesh.OwnerTerraform, mesh.OwnerGit:
		return refused("validator %s belongs to %s %s: set %s to %s there", v.Name, o.Kind, o.Name, defaultRevision, rev)
	}
	return nil
}

func (w *Writer) moveThroughBase(ctx context.Context, o mesh.Owner, to, from func(map[string]any)) error {
	namespace, name, _ := strings.Cut(o.Name, "/")
	rel, ok, err := w.releases.Get(ctx, namespace, name)
	if err != nil {
		return fmt.Errorf("moving the default validator: %w", err)
	}
	if !ok {
		return refused("the release %s, which owns the default validator, is not there", o.Name)
	}
	if err := w.releases.Upgrade(ctx, with(rel, to), with(rel, from)); err != nil {
		return fmt.Errorf("moving the default validator: %w", err)
	}
	return nil
}

// asReleased sets right a validator that somebody has moved behind its release's
// back, as "istioctl install" of a canary does (R§2.4): to Helm nothing has changed
// then, and its upgrade leaves the object alone.
func (w *Writer) asReleased(ctx context.Context, rev string) error {
	v, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, mesh.DefaultValidator, reading())
	if apierrors.IsNotFound(err) || err == nil && v.Labels[mesh.RevLabel] == rev {
		return nil
	}
	if err != nil {
		return asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
	}
	return w.moveInPlace(ctx, rev)
}

// with returns the release with its values changed; of the maps inside nothing is.
func with(rel mesh.Release, change func(map[string]any)) mesh.Release {
	values := maps.Clone(rel.Values)
	if values == nil {
		values = map[string]any{}
	}
	change(values)
	rel.Values = values
	return rel
}

// naming sets the value.
func naming(rev string) func(map[string]any) {
	return func(values map[string]any) { values[defaultRevision] = rev }
}

// asBefore puts the value back, or takes it out where the user had not set it.
func asBefore(before mesh.Snapshot) func(map[string]any) {
	return func(values map[string]any) {
		base, _ := before.Base()
		was, set := base.Values[defaultRevision]
		if !set {
			delete(values, defaultRevision)
			return
		}
		values[defaultRevision] = was
	}
}

// moveInPlace retargets a validator that no release owns: label, Service and CA
// bundle of the revision's own validator. failurePolicy is istiod's and stays (R§14).
func (w *Writer) moveInPlace(ctx context.Context, rev string) error {
	api := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel})
	if err != nil {
		return asking("list", "validatingwebhookconfigurations", err)
	}
	var to *admissionv1.WebhookClientConfig
	for _, v := range list.Items {
		if v.Name != mesh.DefaultValidator && isValidator(v) {
			to = &v.Webhooks[0].ClientConfig
		}
	}
	if to == nil || len(to.CABundle) == 0 {
		// Without a bundle every write would be rejected as soon as the policy is Fail (R§5).
		return refused("revision %s has no validator with a CA bundle to take the default's from", rev)
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		v, err := api.Get(ctx, mesh.DefaultValidator, reading())
		if err != nil {
			return asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
		}
		v.Labels[mesh.RevLabel] = rev
		for i := range v.Webhooks {
			v.Webhooks[i].ClientConfig = *to.DeepCopy()
		}
		_, err = api.Update(ctx, v, updating())
		return err
	})
	if err != nil {
		return fmt.Errorf("retargeting validator %s: %w", mesh.DefaultValidator, err)
	}
	return nil
}
