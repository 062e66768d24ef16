package cluster_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// S-29: a gateway whose template has no readiness gate would be in the Service at
// once: it is refused, and nothing is waited for.
func TestS29_aSecondGatewayWithoutItsGateIsRefused(t *testing.T) {
	w, h, writer := shop(t)
	if err := w.kube.Tracker().Add(deployment("shop", "edge-2", 1, "istio-proxy", "auto")); err != nil {
		t.Fatal(err)
	}
	h.ungated = true
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "edge-2"}
	open := plan.Step{Kind: plan.OpenGateway, Target: "shop/edge-2", Workloads: []mesh.Ref{ref}, Pods: &plan.Pods{From: 0, To: 1}}
	if err := writer.Apply(t.Context(), open, plan.Plan{}, mesh.Snapshot{}); err == nil || !strings.Contains(err.Error(), "no readiness gate") {
		t.Errorf("opening pods that have no gate: %v", err)
	}
	add := plan.Step{
		Kind: plan.AddGateway, Target: "shop/edge-2", Like: "edge", Workloads: []mesh.Ref{ref},
		Release: &mesh.Release{Namespace: "shop", Name: "edge-2", Chart: "gateway", Version: "1.27.0"},
	}
	if err := writer.Apply(t.Context(), add, plan.Plan{}, mesh.Snapshot{}); err == nil || !strings.Contains(err.Error(), "no readiness gate") {
		t.Errorf("adding it: %v", err)
	}
	if err := writer.Revert(t.Context(), add, plan.Plan{}, mesh.Snapshot{}); err != nil || !h.did("uninstall edge-2") {
		t.Errorf("taking it back: %v; Helm was asked: %v", err, h.calls)
	}
	pods, err := w.kube.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == mesh.ProvenGate && c.Status == corev1.ConditionTrue {
				t.Errorf("pod %s was opened", p.Name)
			}
		}
	}
}
