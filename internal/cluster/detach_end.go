package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
)

// spread waits until the workload's own pods, those that leave aside, are ready in
// every endpoint list, and for as long as proxies need to learn of it.
func (d *detaching) spread(ctx context.Context, leaving ...types.UID) error {
	r, err := d.rolledOut(ctx, d.ref)
	if err != nil || !r.there {
		return err
	}
	own, err := d.ownPods(ctx, r)
	if err != nil {
		return err
	}
	for _, p := range own {
		if slices.Contains(leaving, p.UID) {
			continue
		}
		if err := d.listedAs(ctx, p, true); err != nil {
			return err
		}
	}
	if err := clock.Wait(ctx, d.paces.Spread); err != nil {
		return fmt.Errorf("waiting for proxies to learn of the new pod: %w", err)
	}
	return nil
}

// listedAs waits until every Service that selects the pod lists it as ready, or none does.
func (d *detaching) listedAs(ctx context.Context, p *corev1.Pod, ready bool) error { //nolint:revive // what is waited for
	if len(d.services) == 0 {
		return nil
	}
	api := d.Kube.DiscoveryV1().EndpointSlices(p.Namespace)
	src := source[*discoveryv1.EndpointSliceList]{what: "endpointslices.discovery.k8s.io", of: d.Kube, list: api.List, watch: api.Watch}
	why := "pod " + p.Name + " to be in its endpoints"
	if !ready {
		why = "pod " + p.Name + " to be out of its endpoints"
	}
	return await(ctx, why, src, &discoveryv1.EndpointSlice{}, func(list []*discoveryv1.EndpointSlice) (bool, string, error) {
		in := map[string]bool{}
		for _, s := range list {
			if slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return isReady(e, p) }) {
				in[s.Namespace+"/"+s.Labels[discoveryv1.LabelServiceName]] = true
			}
		}
		var wrong []string
		for _, s := range d.services {
			if in[s] != ready {
				wrong = append(wrong, s)
			}
		}
		return len(wrong) == 0, "not so yet: service " + strings.Join(wrong, ", "), nil
	})
}

// isReady says whether an endpoint is the pod's, and ready.
func isReady(e discoveryv1.Endpoint, p *corev1.Pod) bool {
	return e.TargetRef != nil && e.TargetRef.Kind == "Pod" && e.TargetRef.Name == p.Name && (e.Conditions.Ready == nil || *e.Conditions.Ready)
}

// end takes the pod out of every endpoint list, sees that it stays out, and evicts
// it. A budget that holds the eviction is waited for, the pod serving or not.
func (d *detaching) end(ctx context.Context, p *corev1.Pod) error {
	err := d.patiently(ctx, p, func() error {
		if gone, err := d.heldOut(ctx, p); err != nil || gone {
			return err
		}
		return d.evict(ctx, p)
	})
	if ignoreGone(err) != nil {
		return fmt.Errorf("ending pod %s: %w", p.Name, err)
	}
	return nil
}

// patiently does what ends in an eviction again for as long as a budget holds that.
func (d *detaching) patiently(ctx context.Context, p *corev1.Pod, deed func() error) error {
	for {
		err := deed()
		if !apierrors.IsTooManyRequests(err) {
			return err
		}
		if err := clock.Wait(ctx, d.paces.Retry); err != nil {
			return fmt.Errorf("evicting pod %s: a disruption budget holds it: %w", p.Name, err)
		}
	}
}

// evict lets the pod go by the Eviction API, which asks its budget (S-38).
func (d *detaching) evict(ctx context.Context, p *corev1.Pod, dry ...string) error {
	e := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}, DryRun: dry},
	}
	err := d.Kube.CoreV1().Pods(p.Namespace).EvictV1(ctx, e)
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // a namesake: this one is gone
		return nil
	case apierrors.IsTooManyRequests(err):
		return err
	}
	return asking("create", "pods/eviction "+p.Name, err)
}

// mostBreaks is how often the kubelet may say again that the pod is ready within
// what would be an uninterrupted time. It does so every ten seconds.
const mostBreaks = 10

// fate is what becomes of a pod that is kept out of its endpoints.
type fate int

const (
	undecided fate = iota
	stayedOut      // for as long as proxies need
	cameBack       // its kubelet has said that it is ready
	hasGone
)

// heldOut keeps the pod unready until it has been out of every endpoint list for as
// long as proxies need, without a break: the kubelet writes its own view back, and
// each time the proxies have the pod again (S-39). It says whether the pod is gone.
func (d *detaching) heldOut(ctx context.Context, p *corev1.Pod) (bool, error) {
	for range mostBreaks {
		f, err := d.outOnce(ctx, p)
		if err != nil || f == stayedOut || f == hasGone {
			return f == hasGone, err
		}
	}
	return false, refused("its kubelet said %d times that it is ready before it was out of the endpoints for %s", mostBreaks, d.paces.Drop)
}

// outOnce makes the pod unready and watches what becomes of it.
func (d *detaching) outOnce(ctx context.Context, p *corev1.Pod) (fate, error) {
	// Order: the watch first, so that nothing that comes after the patch is missed.
	w, err := d.Kube.CoreV1().Pods(p.Namespace).Watch(ctx, named(p.Name))
	if err != nil {
		return undecided, asking("watch", "pods", err)
	}
	defer w.Stop()
	if err := d.unready(ctx, p); apierrors.IsNotFound(err) {
		return hasGone, nil
	} else if err != nil {
		return undecided, err
	}
	if out, err := d.leftLists(ctx, p); err != nil || !out {
		return cameBack, err
	}
	return d.watchOut(ctx, p, w.ResultChan())
}

// watchOut waits until the pod has been out for long enough, or is so no more.
func (d *detaching) watchOut(ctx context.Context, p *corev1.Pod, events <-chan watch.Event) (fate, error) {
	timer := time.NewTimer(d.paces.Drop)
	defer timer.Stop()
	last := undecided
	for {
		select {
		case <-ctx.Done():
			return undecided, fmt.Errorf("keeping it out of its endpoints: %w", ctx.Err())
		case <-timer.C:
			return d.stillOut(ctx, p)
		case e, open := <-events:
			if !open {
				return cameBack, nil // what it was meanwhile nobody knows
			}
			if last = fateIn(e, p, last); last == cameBack || last == hasGone {
				return last, nil
			}
		}
	}
}

// fateIn reads an event. What came before the pod was first seen unready is older
// than the patch, and says nothing.
func fateIn(e watch.Event, p *corev1.Pod, last fate) fate {
	now, ok := e.Object.(*corev1.Pod)
	switch {
	case !ok || now.UID != p.UID:
		return last
	case e.Type == watch.Deleted || now.DeletionTimestamp != nil:
		return hasGone
	case !condition(now, corev1.PodReady):
		return stayedOut
	case last == stayedOut:
		return cameBack
	}
	return last
}

// leftLists waits for the pod to be out of every endpoint list. Should the kubelet
// have been quicker, it never will be.
func (d *detaching) leftLists(ctx context.Context, p *corev1.Pod) (bool, error) {
	within, cancel := context.WithTimeout(ctx, 2*d.paces.Drop)
	defer cancel()
	err := d.listedAs(within, p, false)
	if within.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// stillOut looks once more: a watch may lag.
func (d *detaching) stillOut(ctx context.Context, p *corev1.Pod) (fate, error) {
	now, err := d.Kube.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, reading())
	switch {
	case apierrors.IsNotFound(err):
		return hasGone, nil
	case err != nil:
		return undecided, asking("get", "pods "+p.Name, err)
	case now.UID != p.UID || now.DeletionTimestamp != nil:
		return hasGone, nil
	case condition(now, corev1.PodReady):
		return cameBack, nil
	}
	return stayedOut, nil
}

// unready says of the pod that it is not ready.
func (d *detaching) unready(ctx context.Context, p *corev1.Pod, dry ...string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": corev1.PodReady, "status": corev1.ConditionFalse, "lastTransitionTime": metav1.Now(), "reason": "SerinDetached",
			"message": "serin lets it go: another pod is in its place",
		}}},
	})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	opts := patching()
	opts.DryRun = dry
	_, err = d.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, opts, "status")
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err): // a namesake
		return apierrors.NewNotFound(corev1.Resource("pods"), p.Name)
	case apierrors.IsNotFound(err):
		return err
	}
	return asking("patch", "pods/status "+p.Name, err)
}

// tried says why the API server would not let a pod be detached: each write that it
// takes is tried dry (S-43). Empty is that it would.
func (d *detaching) tried(ctx context.Context, p *corev1.Pod) (string, error) {
	opts := patching()
	opts.DryRun = []string{metav1.DryRunAll}
	type write struct {
		what string
		do   func() error
	}
	writes := []write{
		{"its label may not be taken off", func() error {
			patch, err := d.letGoPatch(p)
			if err != nil {
				return err
			}
			_, err = d.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, opts)
			return err
		}},
		{"its status may not be patched", func() error { return d.unready(ctx, p, metav1.DryRunAll) }},
		{"it may not be evicted", func() error { return d.evict(ctx, p, metav1.DryRunAll) }},
		{"endpoints may not be seen", func() error {
			_, err := d.Kube.DiscoveryV1().EndpointSlices(p.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
			return err
		}},
	}
	if d.ref.Kind != mesh.KindDeployment {
		writes = writes[1:] // its pods keep their labels
	}
	for _, try := range writes {
		if err := try.do(); refusedByServer(err) {
			return try.what + ": " + err.Error(), nil
		} else if err != nil && !apierrors.IsTooManyRequests(err) && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return "", err
		}
	}
	return "", nil
}

// refusedByServer says whether the server has refused what was asked, by itself or
// by a policy: asking again is no use.
func refusedByServer(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsUnauthorized(err) || apierrors.IsInternalError(err)
}
