package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// restartAnnotation is what a restart changes in a pod template. It stays: taking
// it away would be one more restart (S-44).
const restartAnnotation = "serin.dev/restarted"

// eachWorkload does something to each of the step's workloads, st.Pace at once.
// The first error ends the others; it says what was being done, and to which.
func eachWorkload(ctx context.Context, st plan.Step, doing string, do func(context.Context, mesh.Ref) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(st.Pace, 1))
	for _, ref := range st.Workloads {
		g.Go(func() error {
			if err := do(ctx, ref); err != nil {
				return fmt.Errorf("%s %s: %w", doing, ref, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// restart gives the workloads new pods, wherever one is on another revision than
// rev, and waits until all are rolled out, or replaced.
func (w *Writer) restart(ctx context.Context, st plan.Step, p plan.Plan, rev string) error {
	loose, err := w.detachable(ctx, st, p, rev)
	if err != nil {
		return err
	}
	return eachWorkload(ctx, st, "restarting", func(ctx context.Context, ref mesh.Ref) error {
		err := w.leaveFirst(ctx, ref, rev)
		if err == nil {
			err = w.replaceOrRestart(ctx, loose[ref], ref, rev)
		}
		if err == nil {
			err = w.endSurge(ctx, ref) // the pod more has helped to replace the others
		}
		return err
	})
}

// replaceOrRestart is the workload's method: its pods one by one, if it is given how.
// What an earlier restart has let go and never ended is ended first.
func (w *Writer) replaceOrRestart(ctx context.Context, d *detaching, ref mesh.Ref, rev string) error {
	if d != nil {
		return d.run(ctx)
	}
	if err := w.endLeftOver(ctx, ref, rev); err != nil {
		return err
	}
	return w.restartOne(ctx, ref, rev)
}

// restartOne restarts a workload unless its pods are on the revision already: so
// it does after a crash, whichever side of the patch it was on. A rollout that is
// under way is let end first, ours from before the crash or somebody's.
func (w *Writer) restartOne(ctx context.Context, ref mesh.Ref, rev string) error {
	r, err := w.rolledOut(ctx, ref)
	if err != nil || !r.there {
		return err // a workload that is gone has nothing to restart
	}
	stale, err := w.stale(ctx, r, rev)
	if err != nil || len(stale) == 0 {
		return err
	}
	if why := r.unmovable(); why != "" {
		return refused("%s", why)
	}
	if err := w.budgeted(ctx, r); err != nil {
		return err
	}
	if err := w.roll(ctx, r, rev); err != nil {
		return err
	}
	if r, err = w.rolledOut(ctx, ref); err != nil || !r.there {
		return err
	}
	if stale, err = w.stale(ctx, r, rev); err != nil {
		return err
	}
	if len(stale) > 0 {
		// Doing it again would only end the same way.
		return refused("its new pods are not on revision %s: %s", rev, strings.Join(stale, ", "))
	}
	return nil
}

// unmovable says why a change of the template would not give the workload new pods.
func (r rollout) unmovable() string {
	switch {
	case r.Strategy == "OnDelete":
		return "its strategy is OnDelete: delete its pods one by one"
	case r.Paused:
		return "it is paused: resume it"
	case r.Partition > 0:
		return fmt.Sprintf("its partition %d keeps pods on the old template", r.Partition)
	}
	return ""
}

// stale lists the workload's pods that are on another revision, as "name on revision".
func (w *Writer) stale(ctx context.Context, r rollout, rev string) ([]string, error) {
	sel, err := metav1.LabelSelectorAsSelector(r.selector)
	if err != nil {
		return nil, fmt.Errorf("reading its selector: %w", err)
	}
	owners, err := w.controllers(ctx, r, sel)
	if err != nil {
		return nil, err
	}
	var out []string
	opts := metav1.ListOptions{LabelSelector: sel.String()}
	err = each(ctx, "pods", opts, w.Kube.CoreV1().Pods(r.Namespace).List, func(l *corev1.PodList) {
		for i := range l.Items {
			p := &l.Items[i]
			ref := metav1.GetControllerOfNoCopy(p)
			f := podOf(p)
			ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
			if ref == nil || !owners[ref.UID] || f.Leaving || ended || f.Revision == rev {
				continue
			}
			on := f.Revision
			if on == "" {
				on = "none"
			}
			out = append(out, p.Name+" on "+on)
		}
	})
	return out, err
}

// controllers are the UIDs of what owns the workload's pods: itself, or the
// ReplicaSets of a Deployment. Labels alone may also match a stranger's pods.
func (w *Writer) controllers(ctx context.Context, r rollout, sel labels.Selector) (map[types.UID]bool, error) {
	if r.Kind != mesh.KindDeployment {
		return map[types.UID]bool{r.uid: true}, nil
	}
	sets, err := w.Kube.AppsV1().ReplicaSets(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: sel.String()})
	if err != nil {
		return nil, asking("list", "replicasets.apps", err)
	}
	out := map[types.UID]bool{}
	for i := range sets.Items {
		if ref := metav1.GetControllerOfNoCopy(&sets.Items[i]); ref != nil && ref.UID == r.uid {
			out[sets.Items[i].UID] = true
		}
	}
	return out, nil
}

// budgeted waits until the workload's disruption budget allows the restart.
// Rollouts do not ask budgets, so this does. Where new pods come first and none
// may be missing, the budget is kept by itself, also one that never allows a
// disruption: then it is enough that it is met now.
func (w *Writer) budgeted(ctx context.Context, r rollout) error {
	api := w.Kube.PolicyV1().PodDisruptionBudgets(r.Namespace)
	src := source[*policyv1.PodDisruptionBudgetList]{what: "poddisruptionbudgets.policy", of: w.Kube, list: api.List, watch: api.Watch}
	return await(ctx, "its disruption budget", src, &policyv1.PodDisruptionBudget{}, func(list []*policyv1.PodDisruptionBudget) (bool, string, error) {
		for _, b := range list {
			sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
			if err != nil || b.Spec.Selector == nil || !sel.Matches(labels.Set(r.TemplateLabels)) {
				continue
			}
			s := b.Status
			switch surges := r.MaxSurge > 0 && r.MaxUnavailable == 0; {
			case s.ObservedGeneration < b.Generation:
				return false, b.Name + " has not been counted yet", nil
			case surges && s.CurrentHealthy < s.DesiredHealthy:
				return false, fmt.Sprintf("%s wants %d healthy pods, there are %d", b.Name, s.DesiredHealthy, s.CurrentHealthy), nil
			case !surges && s.DisruptionsAllowed < 1:
				return false, b.Name + " allows no disruption", nil
			}
		}
		return true, "", nil
	})
}

// roll changes the pod template's annotation. The value names the revision and
// the generation it was made from: it differs each time without a clock.
func (w *Writer) roll(ctx context.Context, r rollout, rev string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{restartAnnotation: fmt.Sprintf("%s.%d", rev, r.generation)},
	}}}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	apps := w.Kube.AppsV1()
	switch r.Kind {
	case mesh.KindDeployment:
		_, err = apps.Deployments(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, patching())
	case mesh.KindStatefulSet:
		_, err = apps.StatefulSets(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, patching())
	case mesh.KindDaemonSet:
		_, err = apps.DaemonSets(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, patching())
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
		return refused("nothing would make its pods again")
	}
	if err != nil {
		return asking("patch", strings.ToLower(string(r.Kind))+"s.apps", err)
	}
	return nil
}
