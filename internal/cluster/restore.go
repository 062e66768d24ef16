package cluster

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// restoreRevision installs a removed control plane from what was kept of it (ADR 9).
func (w *Writer) restoreRevision(ctx context.Context, st plan.Step) error {
	off, err := w.stoodInFor(ctx, plan.Step{From: st.To}, mesh.Snapshot{})
	if err == nil {
		err = w.reinstalled(ctx, *st.Plane, off)
	}
	if err != nil {
		return fmt.Errorf("restoring revision %s: %w", st.To, err)
	}
	return nil
}

// unrestoreRevision takes it away again once nothing relies on it, and keeps it as it
// was kept before.
func (w *Writer) unrestoreRevision(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	if _, there := before.ControlPlane(st.To); there {
		return nil
	}
	err := w.unrelied(ctx, st, p, before)
	switch {
	case err != nil:
	case st.Plane.Owner.Kind == mesh.OwnerIstioctl:
		err = w.removeListed(ctx, st.To)
	default:
		err = w.removeRelease(ctx, plan.Step{From: st.To}, *st.Plane)
	}
	if err != nil {
		return fmt.Errorf("removing revision %s again: %w", st.To, err)
	}
	return nil
}

// Kept says which version of a removed control plane is kept, empty if none is: a
// later removal of the same name has written over an earlier one's.
func (w *Writer) Kept(ctx context.Context, c mesh.ControlPlane) (string, error) {
	version, _, err := w.kept(ctx, c, "")
	if err != nil {
		return "", fmt.Errorf("looking for what was kept of revision %s: %w", c.Revision, err)
	}
	return version, nil
}

func (w *Writer) kept(ctx context.Context, c mesh.ControlPlane, off string) (string, []unstructured.Unstructured, error) {
	if c.Owner.Kind == mesh.OwnerHelm {
		namespace, name, _ := strings.Cut(c.Owner.Name, "/")
		r, objects, err := w.releases.Kept(ctx, namespace, name, off)
		return r.Version, objects, err
	}
	s, err := w.Kube.CoreV1().Secrets(w.namespace).Get(ctx, keptName(c.Revision), reading())
	if apierrors.IsNotFound(err) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, asking("get", "secrets "+keptName(c.Revision), err)
	}
	objects, err := unzipped(s.Data[keptObjects])
	if err != nil {
		return "", nil, fmt.Errorf("reading secret %s: %w", s.Name, err)
	}
	for _, o := range objects {
		if off != "" && o.GetName() == off && o.GetKind() == "MutatingWebhookConfiguration" {
			deafen(o)
		}
	}
	return versionIn(objects, c.Name), objects, nil
}

// versionIn is that of the istiod among the objects.
func versionIn(objects []unstructured.Unstructured, name string) string {
	for _, o := range objects {
		var d appsv1.Deployment
		if o.GetKind() != "Deployment" || o.GetName() != name || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d) != nil {
			continue
		}
		for _, k := range d.Spec.Template.Spec.Containers {
			if k.Name == "discovery" {
				return imageVersion(k.Image)
			}
		}
	}
	return ""
}

// keptManifest are the objects that restoring a revision would make.
func (w *Writer) keptManifest(ctx context.Context, st plan.Step, before mesh.Snapshot, server bool) ([]byte, error) {
	off, err := w.stoodInFor(ctx, plan.Step{From: st.To}, before)
	if err != nil {
		return nil, fmt.Errorf("rendering revision %s: %w", st.To, err)
	}
	_, objects, err := w.kept(ctx, *st.Plane, off)
	if err == nil && len(objects) == 0 {
		err = refused("nothing is kept of it")
	}
	if err != nil {
		return nil, fmt.Errorf("rendering revision %s: %w", st.To, err)
	}
	return w.asYAML(ctx, objects, st.To, server)
}
