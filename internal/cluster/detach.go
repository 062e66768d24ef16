package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
)

// detachedAnnotation marks a pod that its ReplicaSet has let go. It holds all that
// ending it, or giving it back, needs: the process that does so may be another.
const detachedAnnotation = "serin.dev/detached"

// detached is what the mark says of the pod as it was.
type detached struct {
	Deployment string `json:"deployment"`
	ReplicaSet string `json:"replicaSet"`
	Hash       string `json:"hash"` // the label that was taken off
	To         string `json:"to"`   // the revision that the pod in its place is to be of
	Plan       string `json:"plan"` // by its digest
	Step       int    `json:"step"`
}

// detachedOf reads a pod's mark. A pod that somebody controls again is not detached.
func detachedOf(p *corev1.Pod) (detached, bool) {
	var m detached
	text := p.Annotations[detachedAnnotation]
	if text == "" || p.Labels[mesh.HashLabel] != "" || json.Unmarshal([]byte(text), &m) != nil || m.Deployment == "" {
		return detached{}, false
	}
	return m, true
}

// Paces are how long deeds wait for what they cannot see. What was measured of
// detaching with real Envoy stands in the guide on restarts.
type Paces struct {
	Spread  time.Duration // from a new endpoint's being ready to every proxy's having it
	Drop    time.Duration // for which an old one is out of every list, without a break, before it goes
	Place   time.Duration // at most for the pod in its place to be available
	Deadman time.Duration // after which a pod that was let go ends by itself
	Retry   time.Duration // between two tries of an eviction that a budget holds
	Hear    time.Duration // for istiods to hear, each by watches of its own, of a label and of a tag
	Take    time.Duration // at most for an istiod to deploy what it claims
	Collect time.Duration // at most for the garbage collector to delete pods whose workload is gone
	Accept  time.Duration // for which a Gateway's Routes may be without its word while two revisions claim it
}

// DefaultPaces are those of a Writer that is not told others. A kubelet writes its
// own view of a pod back every ten seconds: Drop must be well below that (S-39).
func DefaultPaces() Paces {
	return Paces{Spread: 3 * time.Second, Drop: 4 * time.Second, Place: 5 * time.Minute, Deadman: 30 * time.Minute, Retry: 2 * time.Second, Hear: 3 * time.Second, Take: time.Minute, Collect: time.Minute, Accept: 10 * time.Second}
}

// detaching is a Deployment whose pods are replaced by letting them go (S-35 to S-43).
type detaching struct {
	*Writer

	ref  mesh.Ref
	rev  string // that its pods are to be of
	plan string
	step int
	most int // pods to replace; 0 is all

	services []string     // namespace/name of those that select its pods
	budget   *mesh.Budget // that its evictions ask
	turns    *turns       // of the step's workloads
}

// run replaces the workload's pods that are on another revision.
func (d *detaching) run(ctx context.Context) error {
	if d.ref.Kind != mesh.KindDeployment {
		return d.retire(ctx)
	}
	return d.detach(ctx)
}

// detach replaces a Deployment's pods that are on another revision. Its template is
// never touched. What was begun before, by whomever, is ended first.
//
// Order, of each pod: the label and the mark in one patch, so that its ReplicaSet
// makes another; that one available; the dead man's switch; the proxies know the
// new endpoint; the old one is unready, and out of every list; then it goes.
func (d *detaching) detach(ctx context.Context) error {
	done := d.turns.take(d.ref.Namespace, d.budget)
	defer done()
	if err := d.endOrphans(ctx); err != nil {
		return err
	}
	for {
		r, err := d.rolledOut(ctx, d.ref)
		if err != nil || !r.there {
			return err
		}
		own, err := d.ownPods(ctx, r)
		if err != nil {
			return err
		}
		stale, moved := apart(own, d.rev)
		if len(stale) == 0 || d.most > 0 && len(moved) >= d.most {
			return nil
		}
		if why := r.unmovable(); why != "" {
			return refused("%s", why)
		}
		batch := stale[:min(len(stale), d.batch(r), cmp.Or(d.most, len(stale)))]
		if err := d.replace(ctx, r, batch, len(stale)); err != nil {
			return err
		}
	}
}

// batch is how many pods are let go at once (S-38, S-41).
func (d *detaching) batch(r rollout) int {
	if d.budget != nil || r.Replicas <= 10 {
		return 1
	}
	return max(1, min(r.MaxSurge, r.Replicas/10))
}

// replace lets a few pods go and ends them once there are others in their place.
func (d *detaching) replace(ctx context.Context, r rollout, batch []*corev1.Pod, stale int) error {
	var orphans []*corev1.Pod
	for _, p := range batch {
		o, err := d.letGo(ctx, p)
		if err != nil {
			return err
		}
		orphans = append(orphans, o)
	}
	err := d.inPlace(ctx, orphans)
	if err == nil {
		err = d.rightRevision(ctx, r, stale-len(batch))
	}
	if err != nil {
		return d.giveBack(ctx, orphans, err)
	}
	return d.endAll(ctx, orphans)
}

// rightRevision wants no more pods on another revision than were left.
func (d *detaching) rightRevision(ctx context.Context, r rollout, left int) error {
	own, err := d.ownPods(ctx, r)
	if err != nil {
		return err
	}
	if stale, _ := apart(own, d.rev); len(stale) > left {
		var on []string
		for _, p := range stale {
			on = append(on, p.Name+" on "+cmp.Or(podOf(p).Revision, "none"))
		}
		return refused("its new pods are not on revision %s: %s", d.rev, strings.Join(on, ", "))
	}
	return nil
}

// letGo takes the label off that makes the pod its ReplicaSet's, and marks it, in
// one patch (S-36).
func (d *detaching) letGo(ctx context.Context, p *corev1.Pod) (*corev1.Pod, error) {
	patch, err := d.letGoPatch(p)
	if err != nil {
		return nil, err
	}
	out, err := d.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, patching())
	if err != nil {
		return nil, asking("patch", "pods "+p.Name, err)
	}
	return out, nil
}

func (d *detaching) letGoPatch(p *corev1.Pod) ([]byte, error) {
	owner := metav1.GetControllerOfNoCopy(p)
	if owner == nil {
		return nil, refused("pod %s is nobody's", p.Name)
	}
	mark, err := json.Marshal(detached{
		Deployment: d.ref.Name, ReplicaSet: owner.Name, Hash: p.Labels[mesh.HashLabel], To: d.rev, Plan: d.plan, Step: d.step,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the mark: %w", err)
	}
	return patchOf(p, map[string]any{
		"labels":      map[string]any{mesh.HashLabel: nil},
		"annotations": map[string]any{detachedAnnotation: string(mark)},
	}, nil)
}

// patchOf changes a pod that is this very one.
func patchOf(p *corev1.Pod, meta, spec map[string]any) ([]byte, error) {
	if meta == nil {
		meta = map[string]any{}
	}
	meta["uid"] = p.UID
	body := map[string]any{"metadata": meta}
	if spec != nil {
		body["spec"] = spec
	}
	out, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the patch: %w", err)
	}
	return out, nil
}

// inPlace waits until the ReplicaSet has let the pods go and the Deployment has as
// many of its own, available, as it wants.
func (d *detaching) inPlace(ctx context.Context, orphans []*corev1.Pod) error {
	dep, err := d.Kube.AppsV1().Deployments(d.ref.Namespace).Get(ctx, d.ref.Name, reading())
	if apierrors.IsNotFound(err) {
		return nil // nobody will make another: these end
	}
	if err != nil {
		return asking("get", "deployments.apps "+d.ref.Name, err)
	}
	limit, slow := d.paces.Place, time.Duration(dep.Spec.MinReadySeconds)*time.Second
	if p := dep.Spec.ProgressDeadlineSeconds; p != nil {
		limit = min(limit, time.Duration(*p)*time.Second)
	}
	within, cancel := context.WithTimeout(ctx, limit+slow)
	defer cancel()
	let := map[types.UID]bool{}
	for _, o := range orphans {
		let[o.UID] = true
	}
	ready := func(pods []*corev1.Pod) (bool, string) {
		n := 0
		for _, p := range pods {
			if let[p.UID] {
				return false, "its ReplicaSet has not let " + p.Name + " go"
			}
			if condition(p, corev1.PodReady) {
				n++
			}
		}
		return n >= int(orOne(dep.Spec.Replicas)), fmt.Sprintf("%d of %d pods ready%s", n, orOne(dep.Spec.Replicas), waitingFor(pods))
	}
	if err := d.podsAre(within, d.ref, "a pod in its place", ready); err != nil {
		return err
	}
	if slow > 0 { // a status that has not been counted anew may still say available
		if err := clock.Wait(within, slow); err != nil {
			return fmt.Errorf("waiting for minReadySeconds: %w", err)
		}
		if err := d.podsAre(within, d.ref, "a pod in its place", ready); err != nil {
			return err
		}
	}
	_, err = d.rolledOut(within, d.ref)
	return err
}

// waitingFor says why a pod that is not ready is not.
func waitingFor(pods []*corev1.Pod) string {
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return ": " + p.Name + " is not scheduled: " + c.Message
			}
		}
	}
	return ""
}

// endOrphans ends what was let go before and is there still: by this deed before a
// crash, or by one that was given up.
func (d *detaching) endOrphans(ctx context.Context) error {
	orphans, err := d.orphans(ctx)
	if err != nil || len(orphans) == 0 {
		return err
	}
	if back, err := d.comeBack(ctx, orphans); back || err != nil {
		return err
	}
	if err := d.inPlace(ctx, orphans); err != nil {
		return d.giveBack(ctx, orphans, err)
	}
	return d.endAll(ctx, orphans)
}

// comeBack gives pods back that are where the workload is to go, on the way back,
// as long as none that is ready has come in their place.
func (d *detaching) comeBack(ctx context.Context, orphans []*corev1.Pod) (bool, error) {
	for _, o := range orphans {
		if podOf(o).Revision != d.rev || o.Spec.ActiveDeadlineSeconds != nil {
			return false, nil
		}
	}
	dep, err := d.Kube.AppsV1().Deployments(d.ref.Namespace).Get(ctx, d.ref.Name, reading())
	if err != nil {
		return false, ignoreGone(err)
	}
	list, err := d.Kube.CoreV1().Pods(d.ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(dep.Spec.Selector)})
	if err != nil {
		return false, asking("list", "pods", err)
	}
	there := 0
	for i := range list.Items {
		if p := &list.Items[i]; p.DeletionTimestamp == nil && metav1.GetControllerOfNoCopy(p) != nil && condition(p, corev1.PodReady) {
			there++
		}
	}
	if there >= int(orOne(dep.Spec.Replicas)) {
		return false, nil
	}
	if err := d.giveBack(ctx, orphans, errNoPlace); !errors.Is(err, errGivenBack) {
		return false, err
	}
	return true, nil
}

// orphans are the Deployment's pods that were let go, whoever did it.
func (d *detaching) orphans(ctx context.Context) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	err := each(ctx, "pods", metav1.ListOptions{LabelSelector: "!" + mesh.HashLabel}, d.Kube.CoreV1().Pods(d.ref.Namespace).List, func(l *corev1.PodList) {
		for i := range l.Items {
			p := &l.Items[i]
			if m, ok := detachedOf(p); ok && m.Deployment == d.ref.Name && p.DeletionTimestamp == nil {
				out = append(out, p)
			}
		}
	})
	return out, err
}

// ownPods are the pods of the Deployment's ReplicaSets that are not leaving, the oldest first.
func (d *detaching) ownPods(ctx context.Context, r rollout) ([]*corev1.Pod, error) {
	sel, err := metav1.LabelSelectorAsSelector(r.selector)
	if err != nil {
		return nil, fmt.Errorf("reading its selector: %w", err)
	}
	owners, err := d.controllers(ctx, r, sel)
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	err = each(ctx, "pods", metav1.ListOptions{LabelSelector: sel.String()}, d.Kube.CoreV1().Pods(r.Namespace).List, func(l *corev1.PodList) {
		for i := range l.Items {
			p := &l.Items[i]
			owner := metav1.GetControllerOfNoCopy(p)
			ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
			if owner != nil && owners[owner.UID] && p.DeletionTimestamp == nil && !ended {
				out = append(out, p)
			}
		}
	})
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return out, err
}

// apart are the pods on another revision, and those on it.
func apart(pods []*corev1.Pod, rev string) ([]*corev1.Pod, []*corev1.Pod) {
	var stale, moved []*corev1.Pod
	for _, p := range pods {
		if podOf(p).Revision == rev {
			moved = append(moved, p)
		} else {
			stale = append(stale, p)
		}
	}
	return stale, moved
}

// endAll ends pods that others stand in for.
func (d *detaching) endAll(ctx context.Context, orphans []*corev1.Pod) error {
	for _, o := range orphans {
		if err := d.deadman(ctx, o); err != nil {
			return err
		}
	}
	if err := d.spread(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range orphans {
		g.Go(func() error { return d.end(ctx, o) })
	}
	return g.Wait()
}

// deadman lets the pod end by itself should nobody come back for it (S-36). The
// deadline counts from its start, and can be set once.
func (d *detaching) deadman(ctx context.Context, p *corev1.Pod) error {
	if p.Spec.ActiveDeadlineSeconds != nil {
		return nil
	}
	started := p.CreationTimestamp
	if p.Status.StartTime != nil {
		started = *p.Status.StartTime
	}
	age := max(clock.Now().Sub(started.Time), 0)
	patch, err := patchOf(p, nil, map[string]any{"activeDeadlineSeconds": int64((age + d.paces.Deadman) / time.Second)})
	if err != nil {
		return err
	}
	if _, err := d.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, patching()); ignoreGone(err) != nil {
		return asking("patch", "pods "+p.Name, err)
	}
	return nil
}

// giveBack takes a pod back to its ReplicaSet because none came in its place (S-40).
// The one that did not become ready goes. A pod whose ReplicaSet is no longer the
// current one, or whose dead man's switch is set, cannot come back.
func (d *detaching) giveBack(ctx context.Context, orphans []*corev1.Pod, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // the patience may be over: this must be done all the same
	defer cancel()
	for _, o := range orphans {
		m, _ := detachedOf(o)
		set, err := d.Kube.AppsV1().ReplicaSets(o.Namespace).Get(ctx, m.ReplicaSet, reading())
		switch {
		case err != nil:
			return fmt.Errorf("%w; pod %s was let go and cannot come back: %w", cause, o.Name, asking("get", "replicasets.apps "+m.ReplicaSet, err))
		case orOne(set.Spec.Replicas) == 0 || o.Spec.ActiveDeadlineSeconds != nil:
			return fmt.Errorf("%w; pod %s was let go and serves still", cause, o.Name)
		}
		if err := d.cheapenNewest(ctx, set.Name, o.Namespace, len(orphans)); err != nil {
			return fmt.Errorf("%w; giving pod %s back: %w", cause, o.Name, err)
		}
		patch, err := patchOf(o, map[string]any{
			"labels": map[string]any{mesh.HashLabel: m.Hash}, "annotations": map[string]any{detachedAnnotation: nil},
		}, nil)
		if err != nil {
			return err
		}
		if _, err := d.Kube.CoreV1().Pods(o.Namespace).Patch(ctx, o.Name, types.StrategicMergePatchType, patch, patching()); ignoreGone(err) != nil {
			return fmt.Errorf("%w; giving pod %s back: %w", cause, o.Name, asking("patch", "pods "+o.Name, err))
		}
	}
	return fmt.Errorf("%w: %w", errGivenBack, cause)
}

// How a pod that was let go comes back: to those who restart it is a refusal.
var (
	errNoPlace   = errors.New("no pod came in its place")
	errGivenBack = refused("no pod came in the place of one that was let go, which is its Deployment's again and was never away")
)

// cheapenNewest lets the ReplicaSet's newest pods, those in the place of what comes
// back, be the ones that go.
func (d *detaching) cheapenNewest(ctx context.Context, set, namespace string, n int) error {
	list, err := d.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: mesh.HashLabel})
	if err != nil {
		return asking("list", "pods", err)
	}
	own := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		o := metav1.GetControllerOfNoCopy(&p)
		return o == nil || o.Name != set || p.DeletionTimestamp != nil
	})
	slices.SortFunc(own, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, deletionCost, lowestCost)
	for _, p := range own[:min(n, len(own))] {
		if _, err := d.Kube.CoreV1().Pods(namespace).Patch(ctx, p.Name, types.MergePatchType, patch, patching()); ignoreGone(err) != nil {
			return asking("patch", "pods "+p.Name, err)
		}
	}
	return nil
}
