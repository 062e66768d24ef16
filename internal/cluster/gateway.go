package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
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
	return w.started(ctx, ref, int(orOne(d.Spec.Replicas)))
}

// started waits until so many pods would be Ready but for their gate.
func (w *Writer) started(ctx context.Context, ref mesh.Ref, want int) error {
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
func (w *Writer) openGateway(ctx context.Context, st plan.Step, to plan.Pods) error {
	ref, n := st.Workloads[0], to.To
	if err := w.enough(ctx, st, to); err != nil {
		return err
	}
	if st.Behind != nil && n > to.From { // taken back, its release may have come again a moment ago
		if err := w.started(ctx, ref, n); err != nil {
			return err
		}
	}
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

// admitTime is how long a pod's readiness may take to follow its gate, before the
// next one is looked at.
const admitTime = 10 * time.Second

// Admit lets a pod that its gate holds into the Service, unless so many of the
// workload's are in, and waits a while for it to be Ready. It says whether it did;
// most 0 is no bound.
func (w *Writer) Admit(ctx context.Context, ref mesh.Ref, name string, most int) (bool, error) {
	pods, err := w.gatedPods(ctx, ref)
	if err != nil {
		return false, err
	}
	in := 0
	for _, p := range pods {
		if condition(p, mesh.ProvenGate) {
			in++
		}
	}
	p, there := only(pods, name)
	if !there || !held(p) || most > 0 && in >= most {
		return false, nil
	}
	if err := w.prove(ctx, p, true); err != nil {
		return false, err
	}
	wait, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	_ = w.podsAre(wait, ref, "pod "+name, func(all []*corev1.Pod) (bool, string) { // it is let in, Ready or not
		now, ok := only(all, name)
		return !ok || condition(now, corev1.PodReady), "its readiness has not followed its gate yet"
	})
	return true, nil
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
func (w *Writer) scaleGateway(ctx context.Context, st plan.Step, to plan.Pods) error {
	ref, n := st.Workloads[0], to.To
	if err := w.enough(ctx, st, to); err != nil {
		return err
	}
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
	if err != nil || n == 0 {
		return err
	}
	return w.handBack(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, ref.Namespace, ref.Name)
}

// enough refuses to take pods out of the Service when the other gateway behind it
// has fewer ready ones than it is to have (S-30): since the plan was made a scaler
// may have grown the one, or a node may have taken pods of the other.
func (w *Writer) enough(ctx context.Context, st plan.Step, to plan.Pods) error {
	if st.Behind == nil || to.To >= to.From {
		return nil
	}
	api := w.Kube.AppsV1().Deployments(st.Behind.Namespace)
	other, err := api.Get(ctx, st.Behind.Name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+st.Behind.Name, err)
	}
	mine, err := w.Kube.AppsV1().Deployments(st.Namespace).Get(ctx, st.Workloads[0].Name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+st.Workloads[0].Name, err)
	}
	need := max(to.From, int(mine.Status.ReadyReplicas))
	if left := int(other.Status.ReadyReplicas) + to.To; left < need {
		return refused("%d pods would be ready behind the Service, and %d are: those of %s must be in it first (%s)", left, need, st.Behind, more(other, need-to.To))
	}
	return nil
}

// more is how a gateway comes to so many ready pods behind its Service.
func more(d *appsv1.Deployment, n int) string {
	var say []string
	if int(orOne(d.Spec.Replicas)) < n {
		say = append(say, fmt.Sprintf("kubectl -n %s scale deployment %s --replicas=%d", d.Namespace, d.Name, n))
	}
	if gated(d.Spec.Template.Spec) {
		say = append(say, fmt.Sprintf("serin gateway shift %s -n %s --to 100%%", d.Name, d.Namespace))
	}
	return strings.Join(append(say, "serin resume"), ", then ")
}

// renewGateway brings a drained gateway's release to the plan's chart version, its
// values as they are but for the revision that they name.
func (w *Writer) renewGateway(ctx context.Context, st plan.Step) error {
	want, err := w.wantedGateway(ctx, st, st.Release.Version, st.Release.Values)
	if err == nil {
		err = w.releases.UpgradeResting(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("renewing gateway %s: %w", st.Target, err)
	}
	return nil
}

// unrenewGateway brings it back to the chart and the revision that it had.
func (w *Writer) unrenewGateway(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	was, ok := before.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: st.Release.Namespace + "/" + st.Release.Name})
	if !ok {
		return fmt.Errorf("renewing gateway %s back: %w", st.Target, refused("the run does not know what it was"))
	}
	attempt, err := w.wantedGateway(ctx, st, st.Release.Version, st.Release.Values)
	if err != nil {
		return fmt.Errorf("renewing gateway %s back: %w", st.Target, err)
	}
	values := map[string]any{}
	if _, changed := st.Release.Values["revision"]; changed {
		values["revision"] = was.Values["revision"]
	}
	want, err := w.wantedGateway(ctx, st, was.Version, values)
	if err == nil {
		err = w.releases.UpgradeResting(ctx, want, attempt)
	}
	if err != nil {
		return fmt.Errorf("renewing gateway %s back: %w", st.Target, err)
	}
	return nil
}

// wantedGateway is the release as it is, at a chart version and with values over its own.
func (w *Writer) wantedGateway(ctx context.Context, st plan.Step, version string, over map[string]any) (mesh.Release, error) {
	r, ok, err := w.releases.Get(ctx, st.Release.Namespace, st.Release.Name)
	if err != nil {
		return r, err
	}
	if !ok {
		return r, refused("release %s is gone", st.Target)
	}
	r.Version = version
	values := maps.Clone(r.Values)
	if values == nil {
		values = map[string]any{}
	}
	maps.Copy(values, over)
	r.Values = values
	return r, nil
}
