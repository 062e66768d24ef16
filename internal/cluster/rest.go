package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// keptRest names what was left of a mesh when it went as a whole, and keptOf says
// of which: a mesh that came back by other hands and goes again is another one.
const (
	keptRest = "serin-kept-rest"
	keptOf   = "serin.dev/kept-of"
)

// meshMark tells the mesh that a run began with from any other: its pods' names and
// its Services' UIDs are in it.
func meshMark(before mesh.Snapshot) (string, error) {
	b, err := json.Marshal(before)
	if err != nil {
		return "", fmt.Errorf("marking what is kept: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b)), nil
}

// restComponents are what istioctl makes beside control planes, by the value of the
// label component. Those that all revisions share, Cni and Ztunnel, are not among
// them, and of the base's objects CRDs are not.
func restComponents() []string { return []string{"Base", "IngressGateways", "EgressGateways"} }

// removeRest removes the webhooks that are left and what istioctl made beside
// control planes, in every namespace. All of it is kept for the way back first.
func (w *Writer) removeRest(ctx context.Context, before mesh.Snapshot) error {
	if err := w.dropRest(ctx, before); err != nil {
		return fmt.Errorf("removing what is left: %w", err)
	}
	return nil
}

func (w *Writer) dropRest(ctx context.Context, before mesh.Snapshot) error {
	rest, err := w.rest(ctx)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	if err := w.keepRest(ctx, rest, before); err != nil {
		return err
	}
	for _, o := range rest {
		err := w.Dynamic.Resource(servedAs(o)).Namespace(o.GetNamespace()).Delete(ctx, o.GetName(), background())
		if err := ignoreGone(err); err != nil {
			return asking("delete", o.GetKind()+" "+o.GetName(), err)
		}
	}
	return nil
}

// rest are the objects to go, webhooks first: until they are gone, pods and
// configuration are refused as soon as nothing answers.
func (w *Writer) rest(ctx context.Context) ([]unstructured.Unstructured, error) {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at the mesh: %w", err)
	}
	all, err := w.webhooksLeft(ctx, now)
	if err != nil {
		return nil, err
	}
	for _, gvr := range planeKinds() {
		of, err := w.besides(ctx, gvr)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// webhooksLeft are those of revisions that are gone, and the default validator,
// wherever no release holds them.
func (w *Writer) webhooksLeft(ctx context.Context, now mesh.Snapshot) ([]unstructured.Unstructured, error) {
	type named struct {
		kind schema.GroupVersionResource
		name string
	}
	var left []named
	for _, i := range now.Injectors {
		if _, plane := now.ControlPlane(i.Revision); i.Tag == "" && !plane && i.Owner.Kind != mesh.OwnerHelm {
			left = append(left, named{injectorResource(), i.Name})
		}
	}
	for _, v := range now.Validators {
		if _, plane := now.ControlPlane(v.Revision); (!plane || v.Name == mesh.DefaultValidator) && v.Owner.Kind != mesh.OwnerHelm {
			left = append(left, named{validatorResource(), v.Name})
		}
	}
	var out []unstructured.Unstructured
	for _, n := range left {
		o, err := w.Dynamic.Resource(n.kind).Get(ctx, n.name, reading())
		if err == nil {
			out = append(out, *bare(o))
		} else if !apierrors.IsNotFound(err) {
			return nil, asking("get", n.kind.Resource+" "+n.name, err)
		}
	}
	return out, nil
}

// besides are istioctl's objects of a kind that belong to no control plane.
func (w *Writer) besides(ctx context.Context, gvr schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	list, err := w.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{LabelSelector: component})
	if err != nil {
		return nil, asking("list", gvr.GroupResource().String(), err)
	}
	var out []unstructured.Unstructured
	for _, o := range list.Items {
		if slices.Contains(restComponents(), o.GetLabels()[component]) && ownerOf(&o).Kind == mesh.OwnerIstioctl {
			out = append(out, *bare(&o))
		}
	}
	return out, nil
}

// keepRest adds to what is kept: a removal that was cut off kept what it had seen.
// What an earlier run kept is not added to: it is another mesh's.
func (w *Writer) keepRest(ctx context.Context, objects []unstructured.Unstructured, before mesh.Snapshot) error {
	mark, err := meshMark(before)
	if err != nil {
		return err
	}
	secrets := w.Kube.CoreV1().Secrets(w.namespace)
	old, err := secrets.Get(ctx, keptRest, reading())
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return asking("get", "secrets "+keptRest, err)
	}
	if !missing && old.Annotations[keptOf] == mark {
		if objects, err = joined(objects, old); err != nil {
			return err
		}
	}
	data, err := zipped(objects)
	if err != nil {
		return fmt.Errorf("keeping what is left: %w", err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: keptRest, Namespace: w.namespace, Labels: map[string]string{managedBy: "serin"}, Annotations: map[string]string{keptOf: mark},
		},
		Type: keptType, Data: map[string][]byte{keptObjects: data},
	}
	if missing {
		_, err = secrets.Create(ctx, s, creating())
	} else {
		_, err = secrets.Update(ctx, s, updating())
	}
	if err != nil {
		return asking("write", "secrets "+keptRest, err)
	}
	return nil
}

// joined are the objects, and those kept that are not among them.
func joined(objects []unstructured.Unstructured, old *corev1.Secret) ([]unstructured.Unstructured, error) {
	kept, err := unzipped(old.Data[keptObjects])
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", keptRest, err)
	}
	for _, o := range kept {
		if !slices.ContainsFunc(objects, func(n unstructured.Unstructured) bool { return sameObject(n, o) }) {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

func sameObject(a, b unstructured.Unstructured) bool {
	return a.GetKind() == b.GetKind() && a.GetNamespace() == b.GetNamespace() && a.GetName() == b.GetName()
}

// restoreRest makes what was left again.
func (w *Writer) restoreRest(ctx context.Context, before mesh.Snapshot) error {
	mark, err := meshMark(before)
	if err != nil {
		return err
	}
	secrets := w.Kube.CoreV1().Secrets(w.namespace)
	s, err := secrets.Get(ctx, keptRest, reading())
	if apierrors.IsNotFound(err) {
		return nil // there was nothing, or it is back
	}
	if err != nil {
		return fmt.Errorf("making again what was left: %w", asking("get", "secrets "+keptRest, err))
	}
	if s.Annotations[keptOf] != mark {
		return nil // another run's: of this one there was nothing, or it is back
	}
	objects, err := unzipped(s.Data[keptObjects])
	if err != nil {
		return fmt.Errorf("reading secret %s: %w", keptRest, err)
	}
	if err := w.applyAll(ctx, objects); err != nil {
		return fmt.Errorf("making again what was left: %w", err)
	}
	if err := ignoreGone(secrets.Delete(ctx, keptRest, metav1.DeleteOptions{})); err != nil {
		return fmt.Errorf("making again what was left: %w", asking("delete", "secrets "+keptRest, err))
	}
	return nil
}
