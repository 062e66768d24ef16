package cluster

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
)

// rollout is a workload and how far its pods are with its template.
type rollout struct {
	mesh.Workload
	there      bool
	uid        types.UID
	generation int64
	selector   *metav1.LabelSelector
	seen       string // for people: "2 of 3 updated, 1 available"
	stuck      string // why it will not go on by itself
}

// rolledOut waits until the workload's pods are all of its current template and
// available, and returns it. One that is not there is returned as such.
func (w *Writer) rolledOut(ctx context.Context, ref mesh.Ref) (rollout, error) {
	apps := w.Kube.AppsV1()
	switch ref.Kind {
	case mesh.KindDeployment:
		api := apps.Deployments(ref.Namespace)
		if _, err := api.Get(ctx, ref.Name, reading()); apierrors.IsNotFound(err) {
			return rollout{}, nil
		}
		src := source[*appsv1.DeploymentList]{what: "deployments.apps", of: w.Kube, opts: named(ref.Name), list: api.List, watch: api.Watch}
		return settled(ctx, ref, src, &appsv1.Deployment{}, rolloutOfDeployment)
	case mesh.KindStatefulSet:
		api := apps.StatefulSets(ref.Namespace)
		if _, err := api.Get(ctx, ref.Name, reading()); apierrors.IsNotFound(err) {
			return rollout{}, nil
		}
		src := source[*appsv1.StatefulSetList]{what: "statefulsets.apps", of: w.Kube, opts: named(ref.Name), list: api.List, watch: api.Watch}
		return settled(ctx, ref, src, &appsv1.StatefulSet{}, rolloutOfStatefulSet)
	case mesh.KindDaemonSet:
		api := apps.DaemonSets(ref.Namespace)
		if _, err := api.Get(ctx, ref.Name, reading()); apierrors.IsNotFound(err) {
			return rollout{}, nil
		}
		src := source[*appsv1.DaemonSetList]{what: "daemonsets.apps", of: w.Kube, opts: named(ref.Name), list: api.List, watch: api.Watch}
		return settled(ctx, ref, src, &appsv1.DaemonSet{}, rolloutOfDaemonSet)
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
	}
	return rollout{}, refused("a %s has nothing that would make its pods again", ref.Kind)
}

// settled waits for one workload. Deleted meanwhile, it is not there.
func settled[T metav1.Object, L runtime.Object](ctx context.Context, ref mesh.Ref, src source[L], example T, of func(T) rollout) (rollout, error) {
	var r rollout
	err := await(ctx, "its rollout", src, example, func(list []T) (bool, string, error) {
		o, ok := only(list, ref.Name)
		if !ok {
			r = rollout{}
			return true, "", nil
		}
		r = of(o)
		if r.stuck != "" && !r.Settled {
			return false, r.seen, refused("its rollout is stuck: %s (%s)", r.stuck, r.seen)
		}
		return r.Settled, r.seen, nil
	})
	return r, err
}

func rolloutOfDeployment(d *appsv1.Deployment) rollout {
	s := d.Status
	r := rollout{
		Workload: deploymentOf(d).Workload, there: true, uid: d.UID, generation: d.Generation, selector: d.Spec.Selector,
		seen: fmt.Sprintf("%d of %d pods updated, %d available", s.UpdatedReplicas, orOne(d.Spec.Replicas), s.AvailableReplicas),
	}
	for _, c := range s.Conditions {
		// A deadline that passed for an older template says nothing of this one.
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && s.ObservedGeneration >= d.Generation {
			r.stuck = c.Message
		}
	}
	return r
}

func rolloutOfStatefulSet(s *appsv1.StatefulSet) rollout {
	return rollout{
		Workload: statefulSetOf(s).Workload, there: true, uid: s.UID, generation: s.Generation, selector: s.Spec.Selector,
		seen: fmt.Sprintf("%d of %d pods updated, %d available", s.Status.UpdatedReplicas, orOne(s.Spec.Replicas), s.Status.AvailableReplicas),
	}
}

func rolloutOfDaemonSet(d *appsv1.DaemonSet) rollout {
	s := d.Status
	return rollout{
		Workload: daemonSetOf(d).Workload, there: true, uid: d.UID, generation: d.Generation, selector: d.Spec.Selector,
		seen: fmt.Sprintf("%d of %d pods updated, %d available", s.UpdatedNumberScheduled, s.DesiredNumberScheduled, s.NumberAvailable),
	}
}
