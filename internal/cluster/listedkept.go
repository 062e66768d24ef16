package cluster

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
)

// What istioctl made is kept as it is, for the way back: nothing else says what it
// was, its values and the rendered objects' changes included.
const (
	keptObjects = "objects"
	keptType    = corev1.SecretType("serin.dev/kept-objects")
	restoring   = "serin.dev/restoring" // these objects are being made again: the Deployment that lives may be one of them
)

func keptName(rev string) string { return "serin-kept-plane-" + rev }

// keepListed sets the revision's objects aside. Once some are gone, what was kept before stays.
func (w *Writer) keepListed(ctx context.Context, rev string) error {
	d, err := w.Kube.AppsV1().Deployments(w.namespace).Get(ctx, mesh.IstiodName(rev), reading())
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return asking("get", "deployments.apps "+mesh.IstiodName(rev), err)
	}
	secrets := w.Kube.CoreV1().Secrets(w.namespace)
	old, err := secrets.Get(ctx, keptName(rev), reading())
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return asking("get", "secrets "+keptName(rev), err)
	}
	if !missing && old.Annotations[keptOf] == string(d.UID) {
		return nil // a removal that was cut off: some of it may be gone already
	}
	all, err := w.listed(ctx, rev)
	if err != nil {
		return err
	}
	data, err := zipped(all)
	if err != nil {
		return fmt.Errorf("keeping the objects of revision %s: %w", rev, err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: keptName(rev), Namespace: w.namespace, Labels: map[string]string{managedBy: "serin"}, Annotations: map[string]string{keptOf: string(d.UID)},
		},
		Type: keptType, Data: map[string][]byte{keptObjects: data},
	}
	if missing {
		_, err = secrets.Create(ctx, s, creating())
	} else { // of a revision that had this name before
		_, err = secrets.Update(ctx, s, updating())
	}
	if err != nil {
		return asking("write", "secrets "+s.Name, err)
	}
	return nil
}

// listed are the revision's objects, those that takeDownListed takes.
func (w *Writer) listed(ctx context.Context, rev string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, gvr := range append(planeKinds(), injectorResource(), validatorResource()) {
		list, err := w.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + ",!" + mesh.TagLabel})
		if err != nil {
			return nil, asking("list", gvr.GroupResource().String(), err)
		}
		for _, o := range list.Items {
			if ownerOf(&o).Kind == mesh.OwnerIstioctl && (o.GetNamespace() == "" || o.GetNamespace() == w.namespace) && ofPlane(o) {
				all = append(all, *bare(&o))
			}
		}
	}
	return all, nil
}

// ofPlane says whether the object is the control plane's own: the base, gateways,
// istio-cni and ztunnel carry the label of the revision that installed them.
func ofPlane(o unstructured.Unstructured) bool {
	return o.GetLabels()[component] == pilot && o.GetName() != mesh.DefaultValidator
}

// bare is the object without what the API server, its controllers and istiod put there.
func bare(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{}}
	for k, v := range o.DeepCopy().Object {
		if k != "status" {
			out.Object[k] = v
		}
	}
	meta := map[string]any{"name": o.GetName()}
	if o.GetNamespace() != "" {
		meta["namespace"] = o.GetNamespace()
	}
	for _, key := range []string{"labels", "annotations"} {
		if m, ok, _ := unstructured.NestedMap(o.Object, "metadata", key); ok {
			delete(m, "deployment.kubernetes.io/revision")
			meta[key] = m
		}
	}
	out.Object["metadata"] = meta
	if o.GetKind() == "Service" {
		unstructured.RemoveNestedField(out.Object, "spec", "clusterIP") // it may be another's by then
		unstructured.RemoveNestedField(out.Object, "spec", "clusterIPs")
	}
	hooks, _, _ := unstructured.NestedSlice(out.Object, "webhooks")
	for _, h := range hooks {
		if entry, ok := h.(map[string]any); ok {
			unstructured.RemoveNestedField(entry, "clientConfig", "caBundle") // istiod's, also the policy of a validator (R§14)
			if o.GetKind() == "ValidatingWebhookConfiguration" {
				entry["failurePolicy"] = "Ignore"
			}
		}
	}
	if hooks != nil {
		out.Object["webhooks"] = hooks
	}
	return out
}

// restoreListed applies what was kept, the injector named off switched off.
func (w *Writer) restoreListed(ctx context.Context, rev, off string) error {
	s, err := w.toRestore(ctx, rev)
	if err != nil || s == nil {
		return err
	}
	objects, err := unzipped(s.Data[keptObjects])
	if err != nil {
		return fmt.Errorf("reading secret %s: %w", s.Name, err)
	}
	for _, o := range objects {
		if off != "" && o.GetName() == off && o.GetKind() == "MutatingWebhookConfiguration" {
			deafen(o)
		}
	}
	secrets := w.Kube.CoreV1().Secrets(w.namespace)
	if s.Annotations[restoring] == "" { // Order: said before the first is made, whose UID is another
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, restoring, "true")
		if _, err := secrets.Update(ctx, s, updating()); err != nil {
			return asking("update", "secrets "+s.Name, err)
		}
	}
	if err := w.applyAll(ctx, objects); err != nil {
		return err
	}
	if err := ignoreGone(secrets.Delete(ctx, s.Name, metav1.DeleteOptions{})); err != nil {
		return asking("delete", "secrets "+s.Name, err)
	}
	return nil
}

// toRestore is what was kept of a control plane; none where one of the name lives that
// was not removed: it is back, it never went, or it is another than was kept.
func (w *Writer) toRestore(ctx context.Context, rev string) (*corev1.Secret, error) {
	s, err := w.Kube.CoreV1().Secrets(w.namespace).Get(ctx, keptName(rev), reading())
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, asking("get", "secrets "+keptName(rev), err)
	}
	live, err := w.Kube.AppsV1().Deployments(w.namespace).Get(ctx, mesh.IstiodName(rev), reading())
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return nil, asking("get", "deployments.apps "+mesh.IstiodName(rev), err)
	case err != nil && missing:
		return nil, refused("its objects were not kept; install it again with istioctl")
	case err == nil && (missing || another(s, live.UID)):
		return nil, nil //nolint:nilnil // nothing is to be restored
	}
	return s, nil
}

// another says whether a live control plane is not the one that was kept. A record may
// outlive its own upgrade, and one of an earlier serin may say nothing.
func another(kept *corev1.Secret, live types.UID) bool {
	of := kept.Annotations[keptOf]
	return of != "" && of != string(live) && kept.Annotations[restoring] == ""
}

// deafen lets each entry of an injector match nothing (R§2.3).
func deafen(o unstructured.Unstructured) {
	hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
	for _, h := range hooks {
		if entry, ok := h.(map[string]any); ok {
			never := map[string]any{"matchLabels": map[string]any{mesh.Deactivated: "never-match"}}
			entry["namespaceSelector"], entry["objectSelector"] = never, never
		}
	}
	o.Object["webhooks"] = hooks
}

func zipped(objects []unstructured.Unstructured) ([]byte, error) {
	var list []map[string]any
	for _, o := range objects {
		list = append(list, o.Object)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(list); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return b.Bytes(), nil
}

func unzipped(data []byte) ([]unstructured.Unstructured, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unzipping: %w", err)
	}
	var list []map[string]any
	if err := json.NewDecoder(z).Decode(&list); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	var out []unstructured.Unstructured
	for _, o := range list {
		out = append(out, unstructured.Unstructured{Object: o})
	}
	return out, nil
}
