package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// unrelied lets a revision be taken away on the way back only when nothing relies on
// it, as a removal on the way there does (S-54): pods may have come to it that no step
// of the run has moved, and none takes back. What leaves is waited for.
func (w *Writer) unrelied(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	had := installed(st, p, before)
	for {
		now, err := w.observer.Observe(ctx)
		if err != nil {
			return fmt.Errorf("looking for what relies on it: %w", err)
		}
		var left, leaving []mesh.Object
		for _, o := range now.References(st.To) {
			switch {
			case now.Leaving(o):
				leaving = append(leaving, o)
			case !carriedAlong(o, st.To, now) && (o.Kind == "Pod" || !slices.ContainsFunc(had, sameAs(o))):
				left = append(left, o)
			}
		}
		if len(left) > 0 {
			return refused("%s\n  remedy: lead the labels and tags among them elsewhere and restart the pods, which follow what their labels say now; then serin rollback goes on", relying(left))
		}
		if len(leaving) == 0 {
			return nil
		}
		if err := w.left(ctx, leaving[0]); err != nil {
			return err
		}
	}
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

// left waits until a pod that is being deleted has gone, or been replaced by one of its name.
func (w *Writer) left(ctx context.Context, pod mesh.Object) error {
	api := w.Kube.CoreV1().Pods(pod.Namespace)
	src := source[*corev1.PodList]{what: "pods", of: w.Kube, opts: named(pod.Name), list: api.List, watch: api.Watch}
	return await(ctx, "the end of a pod that relies on it", src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		p, there := only(list, pod.Name)
		gone := !there || p.DeletionTimestamp == nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return gone, "pod " + pod.Namespace + "/" + pod.Name + " is being deleted and has not gone", nil
	})
}
