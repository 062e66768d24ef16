package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// surgeAnnotation marks a Deployment that has a pod more than it is meant to have,
// and holds what going back needs.
const surgeAnnotation = "serin.dev/surge"

// deletionCost decides which pod goes first when a ReplicaSet shrinks: the lowest.
const (
	deletionCost = "controller.kubernetes.io/pod-deletion-cost"
	lowestCost   = "-2147483647"
)

// surge is what the mark says of the Deployment as it was.
type surge struct {
	Revision string  `json:"revision"` // that the new pod is of
	Replicas int32   `json:"replicas"`
	Scaler   *scaler `json:"scaler,omitempty"` // the HPA that owns the number
}

type scaler struct {
	Name string `json:"name"`
	Min  *int32 `json:"min"`
	Max  int32  `json:"max"`
}

// surgePods gives each Deployment one pod more, of the same template: the injector
// that its labels lead to now makes it another revision's. The old pods stay.
func (w *Writer) surgePods(ctx context.Context, st plan.Step) error {
	return eachWorkload(ctx, st, "making one pod more of", func(ctx context.Context, ref mesh.Ref) error {
		return w.surgePod(ctx, ref, st.To)
	})
}

func (w *Writer) surgePod(ctx context.Context, ref mesh.Ref, rev string) error {
	m, err := w.surgeOf(ctx, ref)
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = w.markSurge(ctx, ref, rev); err != nil || m == nil {
			return err
		}
	}
	// Order: the HPA first, or it would take the pod away again.
	if m.Scaler != nil {
		floor, top := max(m.Replicas+1, orOne(m.Scaler.Min)), max(m.Replicas+1, m.Scaler.Max)
		if err := w.bound(ctx, ref.Namespace, m.Scaler.Name, floor, top); err != nil {
			return err
		}
	}
	if err := w.scale(ctx, ref, m.Replicas, m.Replicas+1); err != nil {
		return err
	}
	_, err = w.rolledOut(ctx, ref)
	return err
}

// markSurge writes the Deployment's number down, unless there is nothing to move.
func (w *Writer) markSurge(ctx context.Context, ref mesh.Ref, rev string) (*surge, error) {
	r, err := w.rolledOut(ctx, ref)
	if err != nil || !r.there {
		return nil, err
	}
	stale, err := w.stale(ctx, r, rev)
	if err != nil || len(stale) == 0 {
		return nil, err
	}
	m := &surge{Revision: rev, Replicas: int32(r.Replicas)} //nolint:gosec // it was an int32
	if m.Scaler, err = w.scalerOf(ctx, ref); err != nil {
		return nil, err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing the mark: %w", err)
	}
	return m, w.reshape(ctx, ref, map[string]any{"metadata": map[string]any{"annotations": map[string]any{surgeAnnotation: string(text)}}})
}

// scalerOf is the HPA that owns the Deployment's number. One that another
// controller owns in turn (KEDA's) would be written back at once.
func (w *Writer) scalerOf(ctx context.Context, ref mesh.Ref) (*scaler, error) {
	list, err := w.Kube.AutoscalingV2().HorizontalPodAutoscalers(ref.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, asking("list", "horizontalpodautoscalers.autoscaling", err)
	}
	for _, h := range list.Items {
		t := h.Spec.ScaleTargetRef
		if t.Kind != string(ref.Kind) || t.Name != ref.Name || !strings.HasPrefix(t.APIVersion, "apps/") {
			continue
		}
		if c := metav1.GetControllerOf(&h); c != nil {
			return nil, refused("its number belongs to %s %s, which would write it back: pause that, or use --first-pod", c.Kind, c.Name)
		}
		return &scaler{Name: h.Name, Min: h.Spec.MinReplicas, Max: h.Spec.MaxReplicas}, nil
	}
	return nil, nil //nolint:nilnil // nobody owns it
}

// bound sets an HPA's bounds.
func (w *Writer) bound(ctx context.Context, namespace, name string, floor, top int32) error {
	api := w.Kube.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	patch := fmt.Appendf(nil, `{"spec":{"minReplicas":%d,"maxReplicas":%d}}`, floor, top)
	if _, err := api.Patch(ctx, name, types.MergePatchType, patch, patching()); ignoreGone(err) != nil {
		return asking("patch", "horizontalpodautoscalers.autoscaling "+name, err)
	}
	return nil
}

// scale changes a Deployment's number, if it is what it is taken for: whoever has
// changed it meanwhile had a reason.
func (w *Writer) scale(ctx context.Context, ref mesh.Ref, from, to int32) error {
	api := w.Kube.AppsV1().Deployments(ref.Namespace)
	d, err := api.Get(ctx, ref.Name, reading())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return asking("get", "deployments.apps "+ref.Name, err)
	}
	if orOne(d.Spec.Replicas) != from {
		return nil
	}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to)
	if _, err := api.Patch(ctx, ref.Name, types.MergePatchType, patch, patching(), "scale"); err != nil {
		return asking("patch", "deployments.apps/scale "+ref.Name, err)
	}
	return nil
}

// unsurge takes the new pods away again.
func (w *Writer) unsurge(ctx context.Context, st plan.Step) error {
	for _, ref := range st.Workloads {
		if err := w.endSurge(ctx, ref); err != nil {
			return fmt.Errorf("taking the new pod of %s away: %w", ref, err)
		}
	}
	return nil
}

// endSurge gives a Deployment the number that it had. Where old pods are there
// still it is the new one that goes, by its deletion cost (S-40).
func (w *Writer) endSurge(ctx context.Context, ref mesh.Ref) error {
	m, err := w.surgeOf(ctx, ref)
	if err != nil || m == nil {
		return err
	}
	if err := w.cheapen(ctx, ref, m.Revision); err != nil {
		return err
	}
	if m.Scaler != nil {
		if err := w.bound(ctx, ref.Namespace, m.Scaler.Name, orOne(m.Scaler.Min), m.Scaler.Max); err != nil {
			return err
		}
		if err := w.handBack(ctx, schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, ref.Namespace, m.Scaler.Name); err != nil {
			return err
		}
	}
	if err := w.scale(ctx, ref, m.Replicas+1, m.Replicas); err != nil {
		return err
	}
	if _, err := w.rolledOut(ctx, ref); err != nil {
		return err
	}
	if err := w.reshape(ctx, ref, map[string]any{"metadata": map[string]any{"annotations": map[string]any{surgeAnnotation: nil}}}); err != nil {
		return err
	}
	return w.handBack(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resourceOf(ref.Kind)}, ref.Namespace, ref.Name)
}

// cheapen lets the new pod be the one that goes, if old ones are there.
func (w *Writer) cheapen(ctx context.Context, ref mesh.Ref, rev string) error {
	r, err := w.rolledOut(ctx, ref)
	if err != nil || !r.there {
		return err
	}
	stale, err := w.stale(ctx, r, rev)
	if err != nil || len(stale) == 0 {
		return err
	}
	newest, err := w.newestOn(ctx, r, rev)
	if err != nil || newest == "" {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, deletionCost, lowestCost)
	if _, err := w.Kube.CoreV1().Pods(ref.Namespace).Patch(ctx, newest, types.MergePatchType, patch, patching()); ignoreGone(err) != nil {
		return asking("patch", "pods "+newest, err)
	}
	return nil
}

// newestOn is the workload's youngest pod on the revision.
func (w *Writer) newestOn(ctx context.Context, r rollout, rev string) (string, error) {
	sel, err := metav1.LabelSelectorAsSelector(r.selector)
	if err != nil {
		return "", fmt.Errorf("reading its selector: %w", err)
	}
	owners, err := w.controllers(ctx, r, sel)
	if err != nil {
		return "", err
	}
	name, born := "", metav1.Time{}
	err = each(ctx, "pods", metav1.ListOptions{LabelSelector: sel.String()}, w.Kube.CoreV1().Pods(r.Namespace).List, func(l *corev1.PodList) {
		for i := range l.Items {
			p := &l.Items[i]
			owner, f := metav1.GetControllerOfNoCopy(p), podOf(p)
			if owner == nil || !owners[owner.UID] || f.Leaving || f.Revision != rev || name != "" && p.CreationTimestamp.Before(&born) {
				continue
			}
			name, born = p.Name, p.CreationTimestamp
		}
	})
	return name, err
}

// surgeOf reads a Deployment's mark; nil where there is none.
func (w *Writer) surgeOf(ctx context.Context, ref mesh.Ref) (*surge, error) {
	if ref.Kind != mesh.KindDeployment {
		return nil, nil //nolint:nilnil // only Deployments surge so
	}
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is no workload
	}
	if err != nil {
		return nil, asking("get", "deployments.apps "+ref.Name, err)
	}
	text := d.Annotations[surgeAnnotation]
	if text == "" {
		return nil, nil //nolint:nilnil // it has no pod more
	}
	var m surge
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, refused("its annotation %s is not as serin wrote it: take it away, and scale by hand", surgeAnnotation)
	}
	return &m, nil
}
