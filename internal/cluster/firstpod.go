package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// firstAnnotation marks a workload of which only the first pod has moved. It holds
// all that going on, or back, needs: the process that does so may be another.
const firstAnnotation = "serin.dev/first-pod"

// pauseTime is how long pausing a Deployment may take after its deed's own time.
const pauseTime = 30 * time.Second

// first is what the mark says of the workload as it was.
type first struct {
	Revision  string                     `json:"revision"`            // that its first pod goes to
	Restarted *string                    `json:"restarted,omitempty"` // the template's restart annotation
	Strategy  *appsv1.DeploymentStrategy `json:"strategy,omitempty"`  // of a Deployment
	MinReady  int32                      `json:"minReadySeconds,omitempty"`
	Partition *int32                     `json:"partition,omitempty"` // of a StatefulSet
}

// firstPods gives each workload one new pod, st.Pace workloads at once. A
// Deployment surges by one, if it may, and is paused as soon as that one has been
// made: the old pods all stay. A StatefulSet's partition lets its last pod go. One
// whose pods are detached has one of them replaced.
func (w *Writer) firstPods(ctx context.Context, st plan.Step, p plan.Plan) error {
	loose, err := w.detachable(ctx, st, p, st.To)
	if err != nil {
		return err
	}
	return eachWorkload(ctx, st, "making the first pod of", func(ctx context.Context, ref mesh.Ref) error {
		if d := loose[ref]; d != nil {
			d.most = 1
			return d.run(ctx)
		}
		return w.firstPod(ctx, ref, st.To)
	})
}

// firstPod leaves no Deployment rolling on, whatever stops it: another workload's
// refusal ends ctx, and nobody watches the pods that would follow (S-8).
func (w *Writer) firstPod(ctx context.Context, ref mesh.Ref, rev string) error {
	err := w.oneAhead(ctx, ref, rev)
	if err == nil || ref.Kind != mesh.KindDeployment {
		return err
	}
	if late := w.pauseAnyway(ctx, ref); late != nil {
		err = fmt.Errorf("%w; pausing it: %w", err, late)
	}
	return err
}

// pauseAnyway pauses a Deployment whose first pod was begun, or may have been: the
// answer to the patch may be what was missed.
func (w *Writer) pauseAnyway(ctx context.Context, ref mesh.Ref) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseTime)
	defer cancel()
	m, err := w.mark(ctx, ref)
	if err != nil || m == nil {
		return err
	}
	return w.hold(ctx, ref, true)
}

func (w *Writer) oneAhead(ctx context.Context, ref mesh.Ref, rev string) error {
	m, err := w.mark(ctx, ref)
	if err != nil {
		return err
	}
	if m == nil {
		if done, err := w.startFirst(ctx, ref, rev); err != nil || done {
			return err
		}
	}
	if ref.Kind == mesh.KindDeployment {
		return w.pauseAtFirst(ctx, ref)
	}
	return nil
}

// startFirst begins the rollout of the first pod, unless there is nothing to move.
func (w *Writer) startFirst(ctx context.Context, ref mesh.Ref, rev string) (bool, error) {
	r, err := w.rolledOut(ctx, ref)
	if err != nil || !r.there {
		return true, err
	}
	stale, err := w.stale(ctx, r, rev)
	if err != nil || len(stale) == 0 {
		return true, err
	}
	if why := r.unmovable(); why != "" {
		return false, refused("%s", why)
	}
	if err := w.budgeted(ctx, r); err != nil {
		return false, err
	}
	was, spec, err := w.asItIs(ctx, ref, rev)
	if err != nil {
		return false, err
	}
	text, err := json.Marshal(was)
	if err != nil {
		return false, fmt.Errorf("writing the mark: %w", err)
	}
	spec["template"] = template(fmt.Sprintf("%s.%d", rev, r.generation))
	return false, w.reshape(ctx, ref, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{firstAnnotation: string(text)}},
		"spec":     spec,
	})
}

// asItIs reads what the first pod changes, and what it changes that to.
func (w *Writer) asItIs(ctx context.Context, ref mesh.Ref, rev string) (first, map[string]any, error) {
	was := first{Revision: rev}
	if ref.Kind == mesh.KindDeployment {
		d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
		if err != nil {
			return was, nil, asking("get", "deployments.apps "+ref.Name, err)
		}
		was.Strategy, was.MinReady, was.Restarted = &d.Spec.Strategy, d.Spec.MinReadySeconds, restarted(d.Spec.Template.Annotations)
		return was, map[string]any{
			"minReadySeconds": unhurried(d),
			"strategy": map[string]any{
				"type": appsv1.RollingUpdateDeploymentStrategyType, "rollingUpdate": oneByOne(d),
			},
		}, nil
	}
	s, err := w.Kube.AppsV1().StatefulSets(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return was, nil, asking("get", "statefulsets.apps "+ref.Name, err)
	}
	var old int32
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		old = *u.Partition
	}
	was.Partition, was.Restarted = &old, restarted(s.Spec.Template.Annotations)
	return was, partition(orOne(s.Spec.Replicas) - 1), nil
}

// oneByOne lets one pod move: beside the others where the workload may surge. One
// that may not has its reasons (a host port, a volume, a quota): there an old pod
// makes room first, as in any rollout of it.
func oneByOne(d *appsv1.Deployment) map[string]any {
	if deploymentOf(d).MaxSurge == 0 {
		return map[string]any{"maxSurge": 0, "maxUnavailable": 1}
	}
	return map[string]any{"maxSurge": 1, "maxUnavailable": 0}
}

// unhurried is the minReadySeconds under which a Deployment does not go on to its
// second pod before it has been paused. It is the new ReplicaSet's alone; the API
// server wants it below the progress deadline. Should serin never return before
// it is over, the rollout goes on, a pod at a time.
func unhurried(d *appsv1.Deployment) int32 {
	guard := max(d.Spec.MinReadySeconds, 300)
	if p := d.Spec.ProgressDeadlineSeconds; p != nil {
		guard = min(guard, *p-1)
	}
	return guard
}

func partition(n int32) map[string]any {
	return map[string]any{"updateStrategy": map[string]any{"rollingUpdate": map[string]any{"partition": n}}}
}

func restarted(annotations map[string]string) *string {
	if v, ok := annotations[restartAnnotation]; ok {
		return &v
	}
	return nil
}

// template is the part of a patch that sets the restart annotation; nil takes it away.
func template(value any) map[string]any {
	return map[string]any{"metadata": map[string]any{"annotations": map[string]any{restartAnnotation: value}}}
}

// pauseAtFirst pauses a Deployment once its first new pod has been made. One that was
// paused before that is let go on first.
func (w *Writer) pauseAtFirst(ctx context.Context, ref mesh.Ref) error {
	paused, made, err := w.firstMade(ctx, ref)
	if err == nil && paused && !made {
		if err = w.hold(ctx, ref, false); err == nil {
			paused, _, err = w.firstMade(ctx, ref)
		}
	}
	if err != nil || paused {
		return err
	}
	return w.hold(ctx, ref, true)
}

// firstMade waits until a Deployment has its first new pod, or is paused.
func (w *Writer) firstMade(ctx context.Context, ref mesh.Ref) (bool, bool, error) {
	api := w.Kube.AppsV1().Deployments(ref.Namespace)
	src := source[*appsv1.DeploymentList]{what: "deployments.apps", of: w.Kube, opts: named(ref.Name), list: api.List, watch: api.Watch}
	paused, made := false, false
	err := await(ctx, "its first new pod", src, &appsv1.Deployment{}, func(list []*appsv1.Deployment) (bool, string, error) {
		d, ok := only(list, ref.Name)
		if !ok {
			return true, "", nil
		}
		seen := d.Status.ObservedGeneration >= d.Generation
		paused, made = d.Spec.Paused, d.Status.UpdatedReplicas > 0
		return seen && (paused || made), fmt.Sprintf("%d of %d pods updated", d.Status.UpdatedReplicas, orOne(d.Spec.Replicas)), nil
	})
	return paused, made, err
}

// hold pauses a Deployment, or lets it go on.
func (w *Writer) hold(ctx context.Context, ref mesh.Ref, paused bool) error {
	return w.reshape(ctx, ref, map[string]any{"spec": map[string]any{"paused": paused}})
}

// leaveFirst ends the state in which only the first pod has moved, if the workload
// is in it: onwards to the revision that the first pod is on, else back to the
// template of the old pods, which then have never gone.
func (w *Writer) leaveFirst(ctx context.Context, ref mesh.Ref, rev string) error {
	m, err := w.mark(ctx, ref)
	if err != nil || m == nil {
		return err
	}
	spec := map[string]any{}
	if ref.Kind == mesh.KindDeployment {
		spec["paused"], spec["strategy"], spec["minReadySeconds"] = false, m.Strategy, m.MinReady
	} else if m.Partition != nil {
		spec = partition(*m.Partition)
	}
	if rev != m.Revision {
		var was any
		if m.Restarted != nil {
			was = *m.Restarted
		}
		spec["template"] = template(was)
	}
	err = w.reshape(ctx, ref, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{firstAnnotation: nil}},
		"spec":     spec,
	})
	if err != nil {
		return err
	}
	return w.handBack(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resourceOf(ref.Kind)}, ref.Namespace, ref.Name)
}

// mark reads a workload's mark; nil where there is none, or no workload.
func (w *Writer) mark(ctx context.Context, ref mesh.Ref) (*first, error) {
	var o metav1.Object
	var err error
	switch ref.Kind {
	case mesh.KindDeployment:
		o, err = w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	case mesh.KindStatefulSet:
		o, err = w.Kube.AppsV1().StatefulSets(ref.Namespace).Get(ctx, ref.Name, reading())
	case mesh.KindDaemonSet, mesh.KindJob, mesh.KindPod, mesh.KindOther:
		return nil, nil //nolint:nilnil // their pods go all together
	}
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is no workload
	}
	if err != nil {
		return nil, asking("get", resourceOf(ref.Kind)+".apps "+ref.Name, err)
	}
	text := o.GetAnnotations()[firstAnnotation]
	if text == "" {
		return nil, nil //nolint:nilnil // it is not in that state
	}
	var m first
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, refused("its annotation %s is not as serin wrote it: take it away, and resume the rollout by hand", firstAnnotation)
	}
	return &m, nil
}

// reshape patches a workload in one request.
func (w *Writer) reshape(ctx context.Context, ref mesh.Ref, change map[string]any) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	if ref.Kind == mesh.KindDeployment {
		_, err = w.Kube.AppsV1().Deployments(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, patch, patching())
	} else {
		_, err = w.Kube.AppsV1().StatefulSets(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, patch, patching())
	}
	if err != nil {
		return asking("patch", resourceOf(ref.Kind)+".apps "+ref.Name, err)
	}
	return nil
}

func resourceOf(kind mesh.WorkloadKind) string {
	switch kind {
	case mesh.KindDeployment:
		return "deployments"
	case mesh.KindStatefulSet:
		return "statefulsets"
	case mesh.KindDaemonSet:
		return "daemonsets"
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
	}
	return string(kind)
}
