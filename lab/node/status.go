package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// report writes the pod's status if it has changed since it was last written.
func (w *worker) report(ctx context.Context) {
	pod := w.current()
	var b strings.Builder
	for _, s := range w.slots {
		b.WriteString(s.key())
	}
	if w.isStalled() {
		b.WriteString("stalled;")
	}
	for _, g := range pod.Spec.ReadinessGates {
		b.WriteString(string(gate(pod, g.ConditionType)))
	}
	key := b.String()
	if w.contradicted(pod) {
		w.sent = ""
	}
	if key == w.sent || time.Now().Before(w.retry) {
		return
	}
	patch, err := statusPatch(pod.UID, w.status(pod))
	if err == nil {
		_, err = w.k.opts.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		w.sent = key
		return
	}
	w.retry = time.Now().Add(500 * time.Millisecond)
	if ctx.Err() == nil {
		w.k.say("pod %s/%s: writing its status: %v", pod.Namespace, pod.Name, err)
	}
}

// resync is how often a kubelet compares what the API server says of its pods with
// its own view, and writes that back where it differs.
const resync = 10 * time.Second

// contradicted says whether somebody else has written another Ready condition than
// this node's, and it is time to look.
func (w *worker) contradicted(pod *corev1.Pod) bool {
	every := resync
	if w.insists(pod) {
		every = time.Second
	}
	if time.Since(w.synced) < every {
		return false
	}
	w.synced = time.Now()
	if pod.DeletionTimestamp != nil || w.sent == "" {
		return false
	}
	mine := w.changed[corev1.PodReady].status
	theirs := gate(pod, corev1.PodReady)
	return theirs != corev1.ConditionUnknown && theirs != mine
}

func (w *worker) insists(pod *corev1.Pod) bool {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	return bornUnder(w.k.insists, pod) != ""
}

// outlived says whether the pod is past its active deadline.
func (w *worker) outlived() bool {
	pod := w.current()
	d := pod.Spec.ActiveDeadlineSeconds
	return d != nil && pod.DeletionTimestamp == nil && time.Since(w.born) > time.Duration(*d)*time.Second
}

// fail is a kubelet's end of a pod that is past its deadline: its containers are
// killed, and it stays, failed, until somebody removes it.
func (w *worker) fail(ctx context.Context) {
	w.kill()
	w.wg.Wait()
	w.k.opts.Fabric.Detach(w.ip)
	pod := w.current()
	st := w.status(pod)
	st.Phase, st.Reason, st.Message = corev1.PodFailed, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
	for i, c := range st.Conditions {
		if c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
			st.Conditions[i].Status = corev1.ConditionFalse
		}
	}
	patch, err := statusPatch(pod.UID, st)
	if err == nil {
		_, err = w.k.opts.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		w.k.say("pod %s/%s: writing that it has failed: %v", pod.Namespace, pod.Name, err)
	}
}

// statusPatch names the pod by UID, so that it never lands on a namesake, and
// clears reasons explicitly: a merge keeps what it is not told of.
func statusPatch(uid types.UID, st corev1.PodStatus) ([]byte, error) {
	raw, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encoding a pod's status: %w", err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("encoding a pod's status: %w", err)
	}
	var conditions []map[string]any
	for _, c := range st.Conditions {
		entry := map[string]any{"type": c.Type, "status": c.Status, "lastTransitionTime": c.LastTransitionTime, "reason": nil}
		if c.Reason != "" {
			entry["reason"] = c.Reason
		}
		conditions = append(conditions, entry)
	}
	m["conditions"] = conditions
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": m})
	if err != nil {
		return nil, fmt.Errorf("encoding a pod's status: %w", err)
	}
	return patch, nil
}

func (w *worker) isStalled() bool {
	if w.stalled == "" {
		return false
	}
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	return w.k.stalls[w.stalled]
}

// status is what the API server is told of the pod.
func (w *worker) status(pod *corev1.Pod) corev1.PodStatus {
	host := w.k.nodes[pod.Spec.NodeName]
	born := metav1.NewTime(w.born)
	st := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: host, HostIPs: []corev1.HostIP{{IP: host}}, PodIP: w.ip, PodIPs: []corev1.PodIP{{IP: w.ip}},
		StartTime: &born,
	}
	allReady, initialised := true, true
	stalled := w.isStalled()
	sidecars := map[string]corev1.ContainerStatus{}
	for _, s := range w.slots {
		ready := s.isReady() && !stalled
		allReady = allReady && ready
		if s.sidecar {
			sidecars[s.spec.Name] = s.status(ready)
			initialised = initialised && (ready || s.restarts > 0)
			continue
		}
		cs := s.status(ready)
		if s.starts == 0 {
			st.Phase = corev1.PodPending
		}
		st.ContainerStatuses = append(st.ContainerStatuses, cs)
	}
	st.InitContainerStatuses = initStatuses(pod, sidecars, born)
	ready := allReady
	for _, g := range pod.Spec.ReadinessGates {
		ready = ready && gate(pod, g.ConditionType) == corev1.ConditionTrue
	}
	st.Conditions = []corev1.PodCondition{
		w.condition(corev1.PodReadyToStartContainers, true, ""),
		w.condition(corev1.PodInitialized, initialised, "ContainersNotInitialized"),
		w.condition(corev1.ContainersReady, allReady, "ContainersNotReady"),
		w.condition(corev1.PodReady, ready, "ContainersNotReady"),
	}
	return st
}

// initStatuses are the sidecars', and those of containers that ran at once.
func initStatuses(pod *corev1.Pod, sidecars map[string]corev1.ContainerStatus, born metav1.Time) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for i := range pod.Spec.InitContainers {
		c := pod.Spec.InitContainers[i]
		if s, ok := sidecars[c.Name]; ok {
			all = append(all, s)
			continue
		}
		all = append(all, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true, ContainerID: "serin-lab://" + c.Name,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: born, FinishedAt: born}},
		})
	}
	return all
}

func gate(pod *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// condition keeps the time of a condition's last change.
func (w *worker) condition(t corev1.PodConditionType, is bool, reason string) corev1.PodCondition { //nolint:revive // the condition's value
	status := corev1.ConditionFalse
	if is {
		status, reason = corev1.ConditionTrue, ""
	}
	prev := w.changed[t]
	if prev.status != status {
		prev = transition{status, metav1.Now()}
		w.changed[t] = prev
	}
	return corev1.PodCondition{Type: t, Status: status, Reason: reason, LastTransitionTime: prev.at, ObservedGeneration: 0}
}
