package istiod

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// template is the pod that the workload's controller would create: its template,
// with the owner, name and hash of a pod that is there.
func (a *Asker) template(ctx context.Context, ref mesh.Ref, now corev1.Pod) (corev1.Pod, error) {
	t, err := a.templateOf(ctx, ref)
	if err != nil {
		return corev1.Pod{}, fmt.Errorf("reading the template of %s: %w", ref, err)
	}
	pod := corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName, pod.OwnerReferences = ref.Namespace, now.GenerateName, now.OwnerReferences
	if pod.GenerateName == "" {
		pod.GenerateName = ref.Name + "-"
	}
	for _, hash := range []string{"pod-template-hash", "controller-revision-hash"} {
		if v := now.Labels[hash]; v != "" {
			if pod.Labels == nil {
				pod.Labels = map[string]string{}
			}
			pod.Labels[hash] = v
		}
	}
	return pod, nil
}

func (a *Asker) templateOf(ctx context.Context, ref mesh.Ref) (corev1.PodTemplateSpec, error) {
	apps, none := a.Client.AppsV1(), metav1.GetOptions{}
	switch ref.Kind {
	case mesh.KindDeployment:
		d, err := apps.Deployments(ref.Namespace).Get(ctx, ref.Name, none)
		if err != nil {
			return corev1.PodTemplateSpec{}, err
		}
		return d.Spec.Template, nil
	case mesh.KindStatefulSet:
		s, err := apps.StatefulSets(ref.Namespace).Get(ctx, ref.Name, none)
		if err != nil {
			return corev1.PodTemplateSpec{}, err
		}
		return s.Spec.Template, nil
	case mesh.KindDaemonSet:
		d, err := apps.DaemonSets(ref.Namespace).Get(ctx, ref.Name, none)
		if err != nil {
			return corev1.PodTemplateSpec{}, err
		}
		return d.Spec.Template, nil
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
	}
	return corev1.PodTemplateSpec{}, fmt.Errorf("a %s has no template that would be used again", ref.Kind)
}
