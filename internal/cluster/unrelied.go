package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// unrelied lets a revision be taken away on the way back only when nothing relies on
// it, as a removal on the way there does (S-54): pods may have come to it that no step
// of the run has moved, and none takes back. What leaves is waited for.
func (w *Writer) unrelied(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	had, collected := installed(st, p, before), false
	for {
		now, err := w.observer.Observe(ctx)
		if err != nil {
			return fmt.Errorf("looking for what relies on it: %w", err)
		}
		left, leaving, err := w.sorted(ctx, now, st.To, had, collected)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return refused("%s\n  remedy: lead the labels and tags among them elsewhere and restart the pods, which follow what their labels say now; then serin rollback goes on", relying(left))
		}
		if len(leaving) == 0 {
			return nil
		}
		if collected, err = w.left(ctx, leaving[0], now); err != nil {
			return err
		}
	}
}

// sorted are the references to a revision that stay, and the pods that go by themselves.
func (w *Writer) sorted(ctx context.Context, now mesh.Snapshot, rev string, had []mesh.Object, collected bool) ([]mesh.Object, []mesh.Object, error) { //nolint:revive // whether the collector has had its time
	var left, leaving []mesh.Object
	for _, o := range now.References(rev) {
		if carriedAlong(o, rev, now) || o.Kind != "Pod" && slices.ContainsFunc(had, sameAs(o)) {
			continue
		}
		goes := now.Leaving(o)
		if !goes && !collected && len(left) <= mostNamed { // more are not named
			var err error
			if goes, err = w.forsaken(ctx, o); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case !goes:
			left = append(left, o)
		case o.Kind == "Pod":
			leaving = append(leaving, o)
		}
	}
	return left, leaving, nil
}

// forsaken says whether a pod's workload is gone, or a workload that is known by its
// pods alone: what the way back has just uninstalled, whose pods the garbage collector
// is about to delete.
func (w *Writer) forsaken(ctx context.Context, o mesh.Object) (bool, error) {
	apps := w.Kube.AppsV1()
	var err error
	switch o.Kind {
	case "Pod":
		var p *corev1.Pod
		if p, err = w.Kube.CoreV1().Pods(o.Namespace).Get(ctx, o.Name, reading()); err == nil {
			return w.forsakenBy(ctx, o.Namespace, metav1.GetControllerOfNoCopy(p))
		}
	case string(mesh.KindDeployment):
		_, err = apps.Deployments(o.Namespace).Get(ctx, o.Name, reading())
	case string(mesh.KindDaemonSet):
		_, err = apps.DaemonSets(o.Namespace).Get(ctx, o.Name, reading())
	case string(mesh.KindOther):
		_, err = apps.ReplicaSets(o.Namespace).Get(ctx, o.Name, reading())
	default:
		return false, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, asking("get", strings.ToLower(o.Kind)+" "+o.Name, err)
	}
	return err != nil, nil
}

func (w *Writer) forsakenBy(ctx context.Context, ns string, of *metav1.OwnerReference) (bool, error) {
	switch {
	case of == nil:
		return false, nil
	case of.Kind != "ReplicaSet":
		return w.forsaken(ctx, mesh.Object{Kind: of.Kind, Namespace: ns, Name: of.Name})
	}
	rs, err := w.Kube.AppsV1().ReplicaSets(ns).Get(ctx, of.Name, reading())
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, asking("get", "replicasets.apps "+of.Name, err)
	}
	if of = metav1.GetControllerOfNoCopy(rs); of == nil {
		return false, nil
	}
	return w.forsaken(ctx, mesh.Object{Kind: of.Kind, Namespace: ns, Name: of.Name})
}

// installed is what referred to the revision in its first moment by the run's own doing,
// or before it was there: without it the mesh is no other than it was.
func installed(st plan.Step, p plan.Plan, before mesh.Snapshot) []mesh.Object {
	s := before
	for _, earlier := range p.Steps {
		if earlier.Number >= st.Number {
			break
		}
		s = plan.Simulate(s, earlier)
	}
	return plan.Simulate(s, st).References(st.To)
}

func sameAs(o mesh.Object) func(mesh.Object) bool {
	return func(other mesh.Object) bool {
		return other.Kind == o.Kind && other.Namespace == o.Namespace && other.Name == o.Name
	}
}

// carriedAlong says whether a tag is of the revision's own release, with which it goes.
// Whoever follows it is a reference by itself.
func carriedAlong(o mesh.Object, revision string, s mesh.Snapshot) bool {
	c, ok := s.ControlPlane(revision)
	if !ok || c.Owner.Kind != mesh.OwnerHelm {
		return false
	}
	for _, t := range s.Tags() {
		part := o.Kind == "Tag" && o.Name == t.Name || o.Kind == "Service" && o.Name == mesh.TagServiceName(t.Name)
		if part && t.Owner == c.Owner {
			return true
		}
	}
	return false
}

// left waits until a pod has gone, or been replaced by one of its name. One that is not
// being deleted yet is waited for as long as garbage collectors take; it returns whether
// that was in vain.
func (w *Writer) left(ctx context.Context, pod mesh.Object, s mesh.Snapshot) (bool, error) {
	within, cancel := context.WithCancel(ctx)
	if !s.Leaving(pod) {
		within, cancel = context.WithTimeout(ctx, w.paces.Collect)
	}
	defer cancel()
	api := w.Kube.CoreV1().Pods(pod.Namespace)
	src := source[*corev1.PodList]{what: "pods", of: w.Kube, opts: named(pod.Name), list: api.List, watch: api.Watch}
	var is types.UID
	err := await(within, "the end of a pod that relies on it", src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		p, there := only(list, pod.Name)
		if there && is == "" {
			is = p.UID
		}
		gone := !there || p.UID != is || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return gone, "pod " + pod.Namespace + "/" + pod.Name + " has not gone", nil
	})
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		return true, nil
	}
	return false, err
}
