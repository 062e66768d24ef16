package test_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
)

// Three pods that stop at SIGTERM behind a Service, and beside a headless one, which
// may not be two: a StatefulSet's, and a DaemonSet's on three nodes. By rollout requests
// are lost, retiring loses none, there and back, and the template is never touched.
// S-39, S-42.
func TestRetire_losesNothing(t *testing.T) {
	nightly(t)
	three := int32(3)
	for _, c := range []struct {
		kind, ref string
		make      func(w *world, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) error
		is        func(w *world) (available int32, generation int64, err error)
	}{
		{"StatefulSet", "sts/details", func(w *world, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) error {
			s := &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &three, ServiceName: "details-peers", Selector: selector, Template: template}}
			_, err := w.kube.AppsV1().StatefulSets("default").Create(w.t.Context(), s, metav1.CreateOptions{})
			return err
		}, func(w *world) (int32, int64, error) {
			s, err := w.kube.AppsV1().StatefulSets("default").Get(w.t.Context(), "details", metav1.GetOptions{})
			return s.Status.AvailableReplicas, s.Generation, err
		}},
		{"DaemonSet", "ds/details", func(w *world, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) error {
			s := &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}
			_, err := w.kube.AppsV1().DaemonSets("default").Create(w.t.Context(), s, metav1.CreateOptions{})
			return err
		}, func(w *world) (int32, int64, error) {
			s, err := w.kube.AppsV1().DaemonSets("default").Get(w.t.Context(), "details", metav1.GetOptions{})
			return s.Status.NumberAvailable, s.Generation, err
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			w := newWorldIn(t, lab.Options{Istio: []string{"1.27.0", "1.29.1"}, Nodes: 3}, nil, bookinfo.Options{})
			w.secondPlane()
			w.instead(func(meta metav1.ObjectMeta, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) {
				if err := c.make(w, meta, selector, template); err != nil {
					t.Fatal(err)
				}
				w.until("the "+c.kind, func() string {
					if n, _, err := c.is(w); err != nil || n < 3 {
						return fmt.Sprintf("%d of 3: %v", n, err)
					}
					return ""
				})
			})
			_, before, err := c.is(w)
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"default", "1-29-1"} {
				w.run(0, "move", "default", "--to", to, "--labels-only")
				out := w.run(0, "restart", "-n", "default", c.ref, "--method", "auto", "--soak", "2s")
				if !strings.Contains(out, "SRN1067") {
					t.Error("it is not said that one fewer serves")
				}
				if now := w.pods("details", "v1"); len(now[to]) != 3 {
					t.Errorf("got %v", now)
				}
				if lost := w.tally(); lost > 0 {
					t.Errorf("to %s: retiring lost %d requests", to, lost)
				}
			}
			if _, now, err := c.is(w); err != nil || now != before {
				t.Errorf("its generation was %d, is %d: %v", before, now, err)
			}
			w.run(0, "move", "default", "--to", "default", "--labels-only")
			w.run(0, "restart", "-n", "default", c.ref, "--method", "rollout", "--soak", "2s")
			t.Logf("lost by its rollout: %d", w.tally())
		})
	}
}

// instead lets other pods answer for details, made by what it is given.
func (w *world) instead(create func(metav1.ObjectMeta, *metav1.LabelSelector, corev1.PodTemplateSpec)) {
	w.t.Helper()
	ctx := w.t.Context()
	d, err := w.kube.AppsV1().Deployments("default").Get(ctx, "details-v1", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	peers := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "details-peers"},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Selector: map[string]string{"as": "set"}, Ports: []corev1.ServicePort{{Name: "http", Port: 9080}}},
	}
	if _, err := w.kube.CoreV1().Services("default").Create(ctx, peers, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	labels := map[string]string{"app": "details", "version": "v1", "as": "set"}
	template := *d.Spec.Template.DeepCopy()
	template.Labels = labels
	create(metav1.ObjectMeta{Namespace: "default", Name: "details"}, &metav1.LabelSelector{MatchLabels: labels}, template)
	w.run(0, "restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s")
	w.tally()
	none := []byte(`{"spec":{"replicas":0}}`)
	if _, err := w.kube.AppsV1().Deployments("default").Patch(ctx, "details-v1", types.StrategicMergePatchType, none, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.until("the others alone", func() string {
		list, err := w.kube.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=details,as!=set"})
		if err != nil || len(list.Items) > 0 {
			return fmt.Sprintf("%v, %d of the Deployment", err, len(list.Items))
		}
		return ""
	})
	w.t.Logf("lost by scaling to zero: %d", w.tally())
}
