package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
)

// retire replaces the pods of a StatefulSet or a DaemonSet that are on another
// revision, one by one, the last of a StatefulSet first, as its controller would:
// each is out of every endpoint list before it goes, and there again, ready and
// known to the proxies, before the next one leaves (S-39, S-42). The template is
// never touched: it is the injector that gives the pod another revision.
//
// Nothing is kept of it anywhere: whoever comes after a crash finds a pod that its
// kubelet has made ready again, or one that its controller is about to make.
func (d *detaching) retire(ctx context.Context) error {
	done := d.turns.take(d.ref.Namespace, d.budget)
	defer done()
	for {
		stale, done, err := d.toRetire(ctx)
		if err != nil || done {
			return err
		}
		if p := broken(stale, d.paces.Drop); p != nil { // it serves nobody: to wait for it would be for ever
			if err := d.sendOff(ctx, p); err != nil {
				return err
			}
			continue
		}
		r, err := d.rolledOut(ctx, d.ref)
		if err != nil || !r.there {
			return err
		}
		if why := r.unmovable(); why != "" {
			return refused("%s", why)
		}
		if err := d.retireOne(ctx, r, nextOf(r.Kind, stale), len(stale)); err != nil {
			return err
		}
	}
}

// toRetire are the workload's pods that are on another revision, as it is now; done
// where there are no more, or as many have moved as are to.
func (d *detaching) toRetire(ctx context.Context) ([]*corev1.Pod, bool, error) {
	r, err := d.now(ctx)
	if err != nil || !r.there {
		return nil, true, err
	}
	own, err := d.ownPods(ctx, r)
	if err != nil {
		return nil, true, err
	}
	stale, moved := apart(own, d.rev)
	if len(stale) > 0 && (d.most == 0 || len(moved) < d.most) {
		return stale, false, nil
	}
	_, err = d.rolledOut(ctx, d.ref) // the last of them, after a crash
	return nil, true, err
}

// now is the workload as it is, rolled out or not.
func (d *detaching) now(ctx context.Context) (rollout, error) {
	var r rollout
	var err error
	if d.ref.Kind == mesh.KindStatefulSet {
		var s *appsv1.StatefulSet
		if s, err = d.Kube.AppsV1().StatefulSets(d.ref.Namespace).Get(ctx, d.ref.Name, reading()); err == nil {
			r = rolloutOfStatefulSet(s)
		}
	} else {
		var s *appsv1.DaemonSet
		if s, err = d.Kube.AppsV1().DaemonSets(d.ref.Namespace).Get(ctx, d.ref.Name, reading()); err == nil {
			r = rolloutOfDaemonSet(s)
		}
	}
	if apierrors.IsNotFound(err) {
		return rollout{}, nil
	}
	if err != nil {
		return rollout{}, asking("get", resourceOf(d.ref.Kind)+".apps "+d.ref.Name, err)
	}
	return r, nil
}

// broken is a pod whose containers have not been ready for longer than proxies need to
// drop it. One that serin has taken out of the endpoints has containers that are.
func broken(pods []*corev1.Pod, slow time.Duration) *corev1.Pod {
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.ContainersReady && c.Status != corev1.ConditionTrue && clock.Now().Sub(c.LastTransitionTime.Time) > slow {
				return p
			}
		}
	}
	return nil
}

// nextOf is the pod that goes next: one that is out of its endpoints already, from
// before a crash, else the one that the controller would replace, of a StatefulSet
// that of the highest number.
func nextOf(kind mesh.WorkloadKind, pods []*corev1.Pod) *corev1.Pod {
	next := pods[0]
	for _, p := range pods {
		if !condition(p, corev1.PodReady) {
			return p
		}
		if kind == mesh.KindStatefulSet && ordinal(p) > ordinal(next) {
			next = p
		}
	}
	return next
}

func ordinal(p *corev1.Pod) int {
	n, err := strconv.Atoi(p.Name[strings.LastIndex(p.Name, "-")+1:])
	if err != nil {
		return -1
	}
	return n
}

// retireOne replaces a pod. Order: the budget allows it, and every other pod is known
// to the proxies, before it leaves; it is there again before anything else goes.
func (d *detaching) retireOne(ctx context.Context, r rollout, p *corev1.Pod, stale int) error {
	if err := d.budgeted(ctx, bySubstitution(r)); err != nil {
		return err
	}
	if err := d.spread(ctx, p.UID); err != nil {
		return err
	}
	if err := d.end(ctx, p); err != nil {
		return err
	}
	if err := d.again(ctx, r, p); err != nil {
		return err
	}
	return d.rightRevision(ctx, r, stale-1)
}

// bySubstitution is the workload as one that takes a pod away before the next one comes.
func bySubstitution(r rollout) rollout {
	r.MaxSurge, r.MaxUnavailable = 0, 1
	return r
}

// again waits until the pod has gone and there are as many as before, all ready.
func (d *detaching) again(ctx context.Context, r rollout, gone *corev1.Pod) error {
	limit := d.paces.Place
	if g := gone.Spec.TerminationGracePeriodSeconds; g != nil {
		limit += time.Duration(*g) * time.Second
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	api := d.Kube.CoreV1().Pods(r.Namespace)
	src := source[*corev1.PodList]{
		what: "pods", of: d.Kube, opts: metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(r.selector)}, list: api.List, watch: api.Watch,
	}
	err := await(within, "pod "+gone.Name+" to be made again", src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		var there []*corev1.Pod
		ready := 0
		for _, p := range list {
			if o := metav1.GetControllerOfNoCopy(p); o == nil || o.UID != r.uid {
				continue
			}
			if p.UID == gone.UID {
				return false, p.Name + " is leaving", nil
			}
			there = append(there, p)
			if p.DeletionTimestamp == nil && condition(p, corev1.PodReady) {
				ready++
			}
		}
		return ready >= r.Replicas, fmt.Sprintf("%d of %d pods ready%s", ready, r.Replicas, waitingFor(there)), nil
	})
	if err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			return refused("pod %s has gone and is not there again after %s: %s", gone.Name, limit, strings.TrimSuffix(err.Error(), ": "+within.Err().Error()))
		}
		return err
	}
	_, err = d.rolledOut(ctx, d.ref) // minReadySeconds, too
	return err
}

// sendOff evicts a pod that serves nobody, and waits until it is gone.
func (d *detaching) sendOff(ctx context.Context, p *corev1.Pod) error {
	if err := d.patiently(ctx, p, func() error { return d.evict(ctx, p) }); err != nil {
		return err
	}
	return d.left(ctx, p)
}

// left waits until the pod is gone, or another of its name is there.
func (d *detaching) left(ctx context.Context, p *corev1.Pod) error {
	api := d.Kube.CoreV1().Pods(p.Namespace)
	src := source[*corev1.PodList]{what: "pods", of: d.Kube, opts: named(p.Name), list: api.List, watch: api.Watch}
	return await(ctx, "pod "+p.Name+" to be gone", src, &corev1.Pod{}, func(list []*corev1.Pod) (bool, string, error) {
		now, ok := only(list, p.Name)
		return !ok || now.UID != p.UID, "it is leaving", nil
	})
}
