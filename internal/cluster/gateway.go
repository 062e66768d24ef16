package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// addGateway installs the second release, and waits until its pods would be Ready
// but for their gate. Helm's own wait would never end (S-29).
func (w *Writer) addGateway(ctx context.Context, st plan.Step) error {
	if err := w.releases.InstallHeld(ctx, *st.Release, st.Like); err != nil {
		return fmt.Errorf("adding gateway %s: %w", st.Target, err)
	}
	ref := st.Workloads[0]
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+ref.Name, err)
	}
	if !gated(d.Spec.Template.Spec) {
		return refused("the pods of %s would be in the Service at once: their template has no readiness gate", ref)
	}
	want := int(orOne(d.Spec.Replicas))
	return w.podsAre(ctx, ref, "its pods to start", func(pods []*corev1.Pod) (bool, string) {
		there := 0
		for _, p := range pods {
			if held(p) || condition(p, corev1.PodReady) {
				there++
			}
		}
		return there >= want, fmt.Sprintf("%d of %d pods are there", there, want)
	})
}

// dropGateway takes the second release away again.
func (w *Writer) dropGateway(ctx context.Context, st plan.Step) error {
	if err := w.releases.Uninstall(ctx, st.Release.Namespace, st.Release.Name); err != nil {
		return fmt.Errorf("uninstalling release %s: %w", st.Target, err)
	}
	return nil
}

// openGateway lets n of the workload's pods into their Services, one by one, and
// the others out. One that is let in is waited for: it is Ready, and then in the
// endpoints, before the next.
func (w *Writer) openGateway(ctx context.Context, ref mesh.Ref, n int) error {
	pods, err := w.gatedPods(ctx, ref)
	if err != nil {
		return err
	}
	// Order: those in the Service stay there, so that nobody leaves it who need not.
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return rank(a) - rank(b) })
	if len(pods) < n {
		return fmt.Errorf("opening %d pods of %s: there are %d", n, ref, len(pods))
	}
	for i, p := range pods {
		if err := w.prove(ctx, p, i < n); err != nil {
			return err
		}
		name, open := p.Name, i < n
		err := w.podsAre(ctx, ref, "pod "+p.Name, func(all []*corev1.Pod) (bool, string) {
			now, ok := only(all, name)
			return !ok || condition(now, corev1.PodReady) == open, "its readiness has not followed its gate yet"
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func rank(p *corev1.Pod) int {
	switch {
	case condition(p, mesh.ProvenGate):
		return 0
	case condition(p, corev1.ContainersReady):
		return 1
	}
	return 2
}

// prove sets the pod's gate, if it is not as it should be.
func (w *Writer) prove(ctx context.Context, p *corev1.Pod, open bool) error { //nolint:revive // what it is set to
	if condition(p, mesh.ProvenGate) == open {
		return nil
	}
	status := corev1.ConditionFalse
	if open {
		status = corev1.ConditionTrue
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": mesh.ProvenGate, "status": status, "lastTransitionTime": metav1.Now(), "reason": "Serin",
		}}},
	})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	_, err = w.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, patching(), "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return asking("patch", "pods/status "+p.Name, err)
	}
	return nil
}

// gatedPods are the workload's own pods that are not leaving, by name: two
// Deployments of one selector are told apart by their ReplicaSets.
func (w *Writer) gatedPods(ctx context.Context, ref mesh.Ref) ([]*corev1.Pod, error) {
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return nil, asking("get", "deployments.apps "+ref.Name, err)
	}
	if !gated(d.Spec.Template.Spec) {
		return nil, refused("%s has no readiness gate %s: it is in the Service whenever it is ready", ref, mesh.ProvenGate)
	}
	sel := metav1.FormatLabelSelector(d.Spec.Selector)
	list, err := w.Kube.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: sel})
	if err != nil {
		return nil, asking("list", "pods", err)
	}
	var out []*corev1.Pod
	for i := range list.Items {
		if p := &list.Items[i]; p.DeletionTimestamp == nil && gated(p.Spec) {
			out = append(out, p)
		}
	}
	return w.own(ctx, ref, out)
}

// own are those of the pods that belong to the Deployment.
func (w *Writer) own(ctx context.Context, ref mesh.Ref, pods []*corev1.Pod) ([]*corev1.Pod, error) {
	sets, err := w.Kube.AppsV1().ReplicaSets(ref.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, asking("list", "replicasets.apps", err)
	}
	mine := map[string]bool{}
	for _, rs := range sets.Items {
		if o := metav1.GetControllerOf(&rs); o != nil && o.Kind == "Deployment" && o.Name == ref.Name {
			mine[rs.Name] = true
		}
	}
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		o := metav1.GetControllerOf(p)
		return o == nil || !mine[o.Name]
	}), nil
}

// podsAre waits until the workload's pods are as done says.
func (w *Writer) podsAre(ctx context.Context, ref mesh.Ref, why string, done func([]*corev1.Pod) (bool, string)) error {
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+ref.Name, err)
	}
	api := w.Kube.CoreV1().Pods(ref.Namespace)
	src := source[*corev1.PodList]{
		what: "pods", of: w.Kube, opts: metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)}, list: api.List, watch: api.Watch,
	}
	return await(ctx, why, src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		pods, err := w.own(ctx, ref, slices.DeleteFunc(slices.Clone(list), func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }))
		if err != nil {
			return false, "", err
		}
		yes, seen := done(pods)
		return yes, seen, nil
	})
}

// scaleGateway gives a Deployment so many pods, and waits for them. An HPA rests
// at zero; a release's own number stays as it is (S-32).
func (w *Writer) scaleGateway(ctx context.Context, ref mesh.Ref, n int, back bool) error { //nolint:revive // whether it is as it was again
	api := w.Kube.AppsV1().Deployments(ref.Namespace)
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	if _, err := api.Patch(ctx, ref.Name, types.MergePatchType, patch, patching(), "scale"); err != nil {
		return asking("patch", "deployments.apps/scale "+ref.Name, err)
	}
	if _, err := w.rolledOut(ctx, ref); err != nil {
		return err
	}
	err := w.podsAre(ctx, ref, "its pods", func(pods []*corev1.Pod) (bool, string) {
		ready := 0
		for _, p := range pods {
			if condition(p, corev1.PodReady) {
				ready++
			}
		}
		return len(pods) == n && ready == n, fmt.Sprintf("%d of %d ready", ready, n)
	})
	if err != nil || !back {
		return err
	}
	return w.handBack(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, ref.Namespace, ref.Name)
}
