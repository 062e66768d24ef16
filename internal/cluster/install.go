package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// install installs a revision beside the old one, with the old one's values, at
// its size at least, and waits until it can inject.
func (w *Writer) install(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	if err := w.put(ctx, st, p, before); err != nil {
		return fmt.Errorf("installing revision %s: %w", st.To, err)
	}
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: w.namespace, Name: mesh.IstiodName(st.To)}
	if err := w.atMinimum(ctx, ref.Name); err != nil {
		return fmt.Errorf("installing revision %s: %w", st.To, err)
	}
	if _, err := w.rolledOut(ctx, ref); err != nil {
		return fmt.Errorf("installing revision %s: %w", st.To, err)
	}
	if err := w.bundled(ctx, mesh.RevisionInjector(st.To, w.namespace).Name); err != nil {
		return fmt.Errorf("installing revision %s: %w", st.To, err)
	}
	return nil
}

// put makes the revision's objects: as a release, or as istioctl does.
func (w *Writer) put(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	if st.Owner == mesh.OwnerIstioctl {
		objects, err := w.planeObjects(ctx, st, p, before)
		if err != nil {
			return err
		}
		return w.applyAll(ctx, objects)
	}
	want, like, err := w.wantedRevision(ctx, st, p, before)
	if err != nil {
		return err
	}
	return w.releases.Install(ctx, want, like)
}

// wantedRevision is the release that an install makes, and the one whose way of
// applying it takes. By itself, from nothing, it has the user's values alone.
func (w *Writer) wantedRevision(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) (mesh.Release, string, error) {
	want := mesh.Release{Namespace: w.namespace, Name: mesh.IstiodName(st.To), Chart: "istiod", Version: st.Version, Values: maps.Clone(p.Request.Values)}
	if st.From == "" {
		if want.Values == nil {
			want.Values = map[string]any{}
		}
		if st.To != mesh.DefaultRevision {
			want.Values["revision"] = st.To
		}
		return want, "", nil
	}
	old, _ := before.ControlPlane(st.From)
	values, like, err := w.carried(ctx, old)
	if err != nil {
		return want, "", err
	}
	want.Values = w.releases.RevisionValues(values, p.Request.Values, st.To, max(old.Ready, old.Replicas))
	return want, like, nil
}

// atMinimum gives a Deployment that an HPA sizes the HPA's minimum at once. The
// chart then renders no replicas, so that it starts with one and waits for the
// HPA's next round, up to 15 seconds with a single istiod (S-16).
func (w *Writer) atMinimum(ctx context.Context, name string) error {
	hpa, err := w.Kube.AutoscalingV2().HorizontalPodAutoscalers(w.namespace).Get(ctx, name, reading())
	if apierrors.IsNotFound(err) || err == nil && hpa.Spec.MinReplicas == nil {
		return nil
	}
	if err != nil {
		return asking("get", "horizontalpodautoscalers.autoscaling "+name, err)
	}
	api := w.Kube.AppsV1().Deployments(w.namespace)
	d, err := api.Get(ctx, name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+name, err)
	}
	if orOne(d.Spec.Replicas) >= *hpa.Spec.MinReplicas {
		return nil
	}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, *hpa.Spec.MinReplicas)
	if _, err := api.Patch(ctx, name, types.MergePatchType, patch, patching(), "scale"); err != nil {
		return asking("patch", "deployments.apps/scale "+name, err)
	}
	// The number is the HPA's from here on.
	return w.handBack(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, w.namespace, name)
}

// carried are the values to carry over: those of the Helm release that owns the
// old control plane, else those that its chart keeps in a ConfigMap (from 1.26 on,
// R§3.1). like is the release, if there is one.
func (w *Writer) carried(ctx context.Context, old mesh.ControlPlane) (map[string]any, string, error) {
	if old.Owner.Kind == mesh.OwnerHelm {
		namespace, name, _ := strings.Cut(old.Owner.Name, "/")
		rel, ok, err := w.releases.Get(ctx, namespace, name)
		if err != nil {
			return nil, "", fmt.Errorf("reading the values of revision %s: %w", old.Revision, err)
		}
		if !ok {
			return nil, "", refused("release %s, whose values would be carried over, is gone", old.Owner.Name)
		}
		return rel.Values, name, nil
	}
	name := "values"
	if old.Revision != mesh.DefaultRevision {
		name += "-" + old.Revision
	}
	c, err := w.Kube.CoreV1().ConfigMaps(w.namespace).Get(ctx, name, reading())
	if apierrors.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", asking("get", "configmaps "+name, err)
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(c.Data["original-values"]), &values); err != nil {
		return nil, "", fmt.Errorf("reading the values of revision %s in ConfigMap %s: %w", old.Revision, name, err)
	}
	return values, "", nil
}

// uninstall takes an installed revision away again, once nothing relies on it.
func (w *Writer) uninstall(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	if _, there := before.ControlPlane(st.To); there {
		return nil // it was there when the run began: it is not ours to remove
	}
	err := w.unrelied(ctx, st, p, before)
	switch {
	case err != nil:
	case st.Owner == mesh.OwnerIstioctl:
		err = w.takeDownListed(ctx, st.To)
	default:
		err = w.takeDown(ctx, st.To, w.namespace, mesh.IstiodName(st.To))
	}
	if err != nil {
		return fmt.Errorf("uninstalling revision %s: %w", st.To, err)
	}
	return nil
}
