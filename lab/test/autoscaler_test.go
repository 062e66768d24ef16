package test_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
)

// podMetrics is what a metrics server serves, as a custom resource: the autoscaler's
// controller cannot tell.
const podMetrics = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pods.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, for a test"}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {kind: PodMetrics, listKind: PodMetricsList, plural: pods, singular: pod}
  versions:
  - {name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

const scaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: details, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: details-v1}
  minReplicas: 1
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 50m}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`

// An autoscaler counts pods by their labels, so that one that was let go is counted
// too: of pods that use 40m each, where 50m are wanted, it wants as many as there are,
// two, and three as soon as a third serves that is nobody's. What it sizes is rolled
// out therefore, and the plan says so. S-41.
func TestDetach_besideAnAutoscaler(t *testing.T) {
	w := beside(t)
	w.object(podMetrics)
	w.metered("app=details", "40m")
	w.replicas("details-v1", 2)
	w.object(scaler)
	w.sized("at rest", 2)

	if _, said := w.ran("restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s"); !strings.Contains(strings.Join(strings.Fields(said), " "), "horizontalpodautoscaler details sizes it") {
		t.Error("detaching what an autoscaler sizes is not refused by its name")
	}
	w.tally()
	if _, said := w.ran("restart", "-n", "default", "details-v1", "--soak", "1s"); !strings.Contains(said, "SRN1066") || strings.Contains(said, "restart, detached") {
		t.Error("it is not said why it is rolled out")
	}
	t.Logf("lost by its rollout: %d", w.tally())
	if now := w.pods("details", "v1"); len(now["1-29-1"]) != 2 {
		t.Errorf("got %v", now)
	}
	w.sized("after its rollout", 2)

	nobodys := w.disown()
	w.sized("with a third that is nobody's", 3)
	if err := w.kube.CoreV1().Pods("default").Delete(t.Context(), nobodys, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// replicas scales a Deployment and waits for its pods.
func (w *world) replicas(name string, n int) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	if _, err := w.kube.AppsV1().Deployments("default").Patch(w.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.until(fmt.Sprintf("%d pods of %s", n, name), func() string {
		d, err := w.kube.AppsV1().Deployments("default").Get(w.t.Context(), name, metav1.GetOptions{})
		if err != nil || int(d.Status.AvailableReplicas) != n {
			return fmt.Sprintf("%v, %d", err, d.Status.AvailableReplicas)
		}
		return ""
	})
}

// sized waits until the autoscaler wants so many, by metrics that it could read.
func (w *world) sized(when string, want int) {
	w.t.Helper()
	var said []string
	err := wait.PollUntilContextTimeout(w.t.Context(), time.Second, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		h, err := w.kube.AutoscalingV2().HorizontalPodAutoscalers("default").Get(ctx, "details", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if len(h.Status.CurrentMetrics) == 0 || h.Status.CurrentMetrics[0].Resource == nil {
			return false, nil
		}
		said = append(said, fmt.Sprintf("%s each of %d, wants %d", h.Status.CurrentMetrics[0].Resource.Current.AverageValue, h.Status.CurrentReplicas, h.Status.DesiredReplicas))
		return int(h.Status.DesiredReplicas) == want, nil
	})
	w.t.Logf("%s the autoscaler says: %s", when, strings.Join(slices.Compact(said), "; "))
	if err != nil {
		w.t.Errorf("%s: want %d: %v", when, want, err)
	}
}

// disown lets one of the pods go by hand, as detaching does: its Deployment makes
// another in its place.
func (w *world) disown() string {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=details,version=v1"})
	if err != nil || len(list.Items) == 0 {
		w.t.Fatalf("no pods: %v", err)
	}
	name := list.Items[0].Name
	none := []byte(`{"metadata":{"labels":{"pod-template-hash":null}}}`)
	if _, err := w.kube.CoreV1().Pods("default").Patch(w.t.Context(), name, types.MergePatchType, none, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// metered is a metrics server of pods that use so much each, whatever they are asked.
func (w *world) metered(selector, usage string) {
	w.t.Helper()
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	metrics := client.Resource(schema.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}).Namespace("default")
	w.until("the metrics' API", func() string {
		if _, err := metrics.List(w.t.Context(), metav1.ListOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	pods, err := w.kube.CoreV1().Pods("default").Watch(w.t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pods.Stop)
	go func() {
		for e := range pods.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || p.Status.Phase != corev1.PodRunning {
				continue
			}
			if err := measure(w.t.Context(), metrics, p, usage); err != nil && w.t.Context().Err() == nil {
				w.t.Errorf("metrics of pod %s: %v", p.Name, err)
			}
		}
	}()
}

// measure says what a pod uses. Metrics from long after its start are none of a pod
// that has just started, which the autoscaler would leave out.
func measure(ctx context.Context, metrics dynamic.ResourceInterface, p *corev1.Pod, usage string) error {
	var containers []any
	for _, c := range p.Spec.Containers {
		of := "0m"
		if len(containers) == 0 {
			of = usage
		}
		containers = append(containers, map[string]any{"name": c.Name, "usage": map[string]any{"cpu": of, "memory": "1Mi"}})
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
		"timestamp": "2100-01-01T00:00:00Z", "window": "1s", "containers": containers,
	}}
	o.SetName(p.Name)
	o.SetLabels(p.Labels)
	if _, err := metrics.Create(ctx, o, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": p.Labels}})
	if err != nil {
		return err
	}
	_, err = metrics.Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
