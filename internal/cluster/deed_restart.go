package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// restartAnnotation is what a restart changes in a pod template. Its value names
// the revision and the generation it was made from, so that doing it again after
// a crash is seen to be done.
const restartAnnotation = "serin.dev/restarted"

// restart rolls the workloads that have a pod on another revision than rev,
// st.Pace at once, and waits until each is rolled out.
func (w *Writer) restart(ctx context.Context, st plan.Step, rev string) error {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("restarting %s: %w", st.Target, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(st.Pace, 1))
	for _, ref := range st.Workloads {
		g.Go(func() error {
			x, ok := now.Workload(ref)
			if !ok {
				return nil // it was removed meanwhile: nothing to restart
			}
			if x.Settled && len(wrong(now, ref, rev)) > 0 {
				if err := w.roll(ctx, ref, rev); err != nil {
					return err
				}
			}
			if err := w.rolled(ctx, ref); err != nil {
				return err
			}
			return w.again(ctx, ref, rev)
		})
	}
	return g.Wait() //nolint:wrapcheck // each says which workload
}

// again rolls once more a workload whose rollout was under way when the step
// began, and whose pods were therefore made too early.
func (w *Writer) again(ctx context.Context, ref mesh.Ref, rev string) error {
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("restarting %s: %w", ref, err)
	}
	if len(wrong(now, ref, rev)) == 0 {
		return nil
	}
	if err := w.roll(ctx, ref, rev); err != nil {
		return err
	}
	return w.rolled(ctx, ref)
}

// wrong lists the workload's pods that are on another revision.
func wrong(s mesh.Snapshot, ref mesh.Ref, rev string) []string {
	var out []string
	for _, p := range s.Pods {
		if p.Workload == ref && !p.Leaving && p.Revision != rev {
			out = append(out, p.Name)
		}
	}
	return out
}

// roll changes the pod template's annotation, as kubectl rollout restart does.
func (w *Writer) roll(ctx context.Context, ref mesh.Ref, rev string) error {
	o, err := w.get(ctx, ref)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{restartAnnotation: rev + "." + strconv.FormatInt(o.generation, 10)},
	}}}})
	if err != nil {
		return fmt.Errorf("restarting %s: %w", ref, err)
	}
	apps := w.kube.AppsV1()
	switch ref.Kind {
	case mesh.KindStatefulSet:
		_, err = apps.StatefulSets(ref.Namespace).Patch(ctx, ref.Name, types.StrategicMergePatchType, patch, options())
	case mesh.KindDaemonSet:
		_, err = apps.DaemonSets(ref.Namespace).Patch(ctx, ref.Name, types.StrategicMergePatchType, patch, options())
	case mesh.KindDeployment, mesh.KindJob, mesh.KindPod, mesh.KindOther:
		_, err = apps.Deployments(ref.Namespace).Patch(ctx, ref.Name, types.StrategicMergePatchType, patch, options())
	}
	if err != nil {
		return fmt.Errorf("restarting %s: %w", ref, err)
	}
	return nil
}

// rollout is how far a workload's pods are with its template.
type rollout struct {
	generation int64
	done       bool
	seen       string
	stuck      string // why it will not go on
}

// rolled waits until the workload's pods are all of its current template and available.
func (w *Writer) rolled(ctx context.Context, ref mesh.Ref) error {
	return poll(ctx, "the rollout of "+ref.String(), func(ctx context.Context) (bool, string, error) {
		o, err := w.get(ctx, ref)
		if err != nil {
			return false, "", err
		}
		if o.stuck != "" {
			return false, o.seen, fmt.Errorf("rolling out %s: %w: %s", ref, ErrRefused, o.stuck)
		}
		return o.done, o.seen, nil
	})
}

func (w *Writer) get(ctx context.Context, ref mesh.Ref) (rollout, error) {
	apps := w.kube.AppsV1()
	switch ref.Kind {
	case mesh.KindStatefulSet:
		o, err := apps.StatefulSets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return rollout{}, fmt.Errorf("reading statefulset %s: %w", ref, err)
		}
		want := replicas(o.Spec.Replicas)
		st := o.Status
		return rollout{
			generation: o.Generation, seen: fmt.Sprintf("%d of %d updated, %d available", st.UpdatedReplicas, want, st.AvailableReplicas),
			done: st.ObservedGeneration >= o.Generation && st.CurrentRevision == st.UpdateRevision && st.UpdatedReplicas >= want && st.AvailableReplicas >= want,
		}, nil
	case mesh.KindDaemonSet:
		o, err := apps.DaemonSets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return rollout{}, fmt.Errorf("reading daemonset %s: %w", ref, err)
		}
		st := o.Status
		return rollout{
			generation: o.Generation, seen: fmt.Sprintf("%d of %d updated, %d available", st.UpdatedNumberScheduled, st.DesiredNumberScheduled, st.NumberAvailable),
			done: st.ObservedGeneration >= o.Generation && st.UpdatedNumberScheduled >= st.DesiredNumberScheduled && st.NumberAvailable >= st.DesiredNumberScheduled,
		}, nil
	case mesh.KindDeployment:
		o, err := apps.Deployments(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return rollout{}, fmt.Errorf("reading deployment %s: %w", ref, err)
		}
		return deploymentRollout(o), nil
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
	}
	return rollout{}, fmt.Errorf("restarting %s: %w: nothing would make its pods again", ref, ErrRefused)
}

func deploymentRollout(o *appsv1.Deployment) rollout {
	want, st := replicas(o.Spec.Replicas), o.Status
	out := rollout{
		generation: o.Generation, seen: fmt.Sprintf("%d of %d updated, %d available", st.UpdatedReplicas, want, st.AvailableReplicas),
		done: st.ObservedGeneration >= o.Generation && st.UpdatedReplicas >= want && st.Replicas == st.UpdatedReplicas && st.AvailableReplicas >= want,
	}
	for _, c := range st.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" && st.ObservedGeneration >= o.Generation {
			out.stuck = c.Message
		}
	}
	return out
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
