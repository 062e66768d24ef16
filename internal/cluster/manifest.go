package cluster

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/skew"
)

// Manifest is what a step would make, as YAML, for those who commit files instead.
// It only reads. server asks the API server to accept each object as well.
func (w *Writer) Manifest(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, server bool) ([]byte, error) {
	switch st.Kind {
	case plan.SetTag:
		return w.tagManifest(ctx, st)
	case plan.InstallRevision:
		if st.Owner == mesh.OwnerIstioctl {
			return w.operatorManifest(ctx, st, p, before, server)
		}
		want, _, err := w.wantedRevision(ctx, st, p, before)
		if err != nil {
			return nil, err
		}
		return w.releases.Manifest(ctx, want, server)
	case plan.RenderGateway:
		return w.renderedManifest(ctx, st, p, before, server)
	case plan.RestoreRevision:
		return w.keptManifest(ctx, st, before, server)
	case plan.InstallChart:
		return w.releases.Manifest(ctx, *st.Release, server)
	case plan.PinDefault, plan.UpgradeBase, plan.MoveNamespace, plan.FirstPods, plan.Surge, plan.Restart, plan.MoveTag,
		plan.RestoreLabels, plan.RemoveRevision, plan.RemoveTag, plan.RemoveChart, plan.RemoveRest, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry:
	}
	return nil, fmt.Errorf("rendering step %d: %w: a %s makes no objects", st.Number, drive.ErrRefused, st.Kind)
}

// tagManifest are the parts of a tag. For the default that includes the
// unrevisioned injector switched off: beside it the tag would inject pods twice.
func (w *Writer) tagManifest(ctx context.Context, st plan.Step) ([]byte, error) {
	in, err := w.newTagInjector(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("rendering tag %s: %w", st.Tag, err)
	}
	objects := []any{in}
	if skew.HasTagService(st.Version) {
		istiod, err := w.Kube.CoreV1().Services(w.namespace).Get(ctx, mesh.IstiodName(st.To), reading())
		if err != nil {
			return nil, asking("get", "services "+mesh.IstiodName(st.To), err)
		}
		svc := serviceOfTag(st.Tag, st.To, mesh.TagServiceName(st.Tag), istiod)
		svc.TypeMeta = metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Service"}
		objects = append(objects, svc)
	}
	if st.Tag == mesh.DefaultTag {
		more, err := w.defaultParts(ctx, st)
		if err != nil {
			return nil, fmt.Errorf("rendering tag %s: %w", st.Tag, err)
		}
		objects = append(objects, more...)
	}
	var out bytes.Buffer
	for _, o := range objects {
		b, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("writing the objects of tag %s: %w", st.Tag, err)
		}
		out.WriteString("---\n")
		out.Write(b)
	}
	return out.Bytes(), nil
}

func (w *Writer) defaultParts(ctx context.Context, st plan.Step) ([]any, error) {
	var out []any
	v, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, mesh.DefaultValidator, reading())
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
	}
	if apierrors.IsNotFound(err) || ownerOf(v).Kind == mesh.OwnerNone { // a release's moves with its value defaultRevision
		made, err := w.newValidator(ctx, st.Tag, st.To)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	old, err := w.ownInjector(ctx, mesh.DefaultRevision)
	if err != nil || old == nil || injectorOf(*old).IsOff() {
		return out, err
	}
	off := old.DeepCopy()
	switchedOff(off)
	off.ObjectMeta = metav1.ObjectMeta{Name: old.Name, Labels: old.Labels, Annotations: old.Annotations}
	off.TypeMeta = metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"}
	return append(out, off), nil
}

// CreateNamespace makes a namespace unless it is there.
func (w *Writer) CreateNamespace(ctx context.Context, name string) error {
	if _, err := w.Kube.CoreV1().Namespaces().Get(ctx, name, reading()); err == nil {
		return nil // creating what is there may be forbidden
	}
	_, err := w.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, creating())
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return asking("create", "namespaces "+name, err)
	}
	return nil
}

// Carried is the release that a step installs, with the old one's values as the
// snapshot shows them, secrets masked: for showing what is carried over (S-15).
func (w *Writer) Carried(st plan.Step, p plan.Plan, before mesh.Snapshot) mesh.Release {
	old, _ := before.ControlPlane(st.From)
	from, _ := before.Release(old.Owner)
	return mesh.Release{
		Namespace: w.namespace, Name: mesh.IstiodName(st.To), Chart: "istiod", Version: st.Version,
		Values: w.releases.RevisionValues(from.Values, p.Request.Values, st.To, max(old.Ready, old.Replicas)),
	}
}
