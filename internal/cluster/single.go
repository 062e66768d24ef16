package cluster

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Workload reads one workload or pod, also one that nobody injects: those are
// not in a Snapshot. It is asked for by a list, as everything is, so that no
// permission is needed besides.
func (r *Reader) Workload(ctx context.Context, ref mesh.Ref) (mesh.Workload, bool, error) {
	only := metav1.ListOptions{FieldSelector: "metadata.name=" + ref.Name}
	var found []mesh.Workload
	keep := func(w mesh.Workload) {
		if w.Ref == ref {
			found = append(found, w)
		}
	}
	if err := r.byName(ctx, ref, only, keep); err != nil || len(found) == 0 {
		return mesh.Workload{}, false, err
	}
	return found[0], true, nil
}

func (r *Reader) byName(ctx context.Context, ref mesh.Ref, only metav1.ListOptions, keep func(mesh.Workload)) error {
	switch ref.Kind {
	case mesh.KindDeployment:
		return each(ctx, "deployments.apps", only, r.Kube.AppsV1().Deployments(ref.Namespace).List, func(l *appsv1.DeploymentList) {
			for i := range l.Items {
				keep(deploymentOf(&l.Items[i]).Workload)
			}
		})
	case mesh.KindStatefulSet:
		return each(ctx, "statefulsets.apps", only, r.Kube.AppsV1().StatefulSets(ref.Namespace).List, func(l *appsv1.StatefulSetList) {
			for i := range l.Items {
				keep(statefulSetOf(&l.Items[i]).Workload)
			}
		})
	case mesh.KindDaemonSet:
		return each(ctx, "daemonsets.apps", only, r.Kube.AppsV1().DaemonSets(ref.Namespace).List, func(l *appsv1.DaemonSetList) {
			for i := range l.Items {
				keep(daemonSetOf(&l.Items[i]).Workload)
			}
		})
	case mesh.KindPod:
		return each(ctx, "pods", only, r.Kube.CoreV1().Pods(ref.Namespace).List, func(l *corev1.PodList) {
			for i := range l.Items {
				p := &l.Items[i]
				keep(workloadOf(mesh.KindPod, p, corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.Labels, Annotations: p.Annotations}, Spec: p.Spec}))
			}
		})
	case mesh.KindJob, mesh.KindOther: // people name their pods
	}
	return nil
}
