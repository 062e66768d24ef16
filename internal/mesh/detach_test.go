package mesh_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

// loose is a Deployment whose pods may be detached, on a mesh that was looked at.
func loose() (mesh.Snapshot, mesh.Workload) {
	w := mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}, Replicas: 1, Ready: 1, Strategy: "RollingUpdate", MaxSurge: 1, Settled: true,
		TemplateLabels: map[string]string{"app": "cart"}, Services: []string{"shop/cart"}, Owner: mesh.Owner{Kind: mesh.OwnerNone},
	}
	return mesh.Snapshot{IstioNamespace: "istio-system", Survey: &mesh.Survey{Selectors: &mesh.Selectors{}}}, w
}

func TestDetachable(t *testing.T) {
	if s, w := loose(); s.Detachable(w) != "" {
		t.Fatalf("nothing stands in the way, got %q", s.Detachable(w))
	}
	object := func(kind, ns, name string) mesh.Object {
		return mesh.Object{Kind: kind, Namespace: ns, Name: name}
	}
	for _, tc := range []struct {
		name, why string
		spoil     func(*mesh.Snapshot, *mesh.Workload)
	}{
		{"S-35: a StatefulSet", "only a Deployment", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Kind = mesh.KindStatefulSet }},
		{"S-35: an Argo Rollout", "only a Deployment", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Kind = mesh.KindOther }},
		{"S-35: Flagger's primary", "made by Canary cart", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.MadeBy = "Canary cart" }},
		{"S-35: a rollout is under way", "is under way", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Settled = false }},
		{"S-35: it is paused", "paused", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Paused = true }},
		{"S-35: Recreate", "Recreate", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Strategy = "Recreate" }},
		{"S-35: the label is the template's own", "sets the label", func(_ *mesh.Snapshot, w *mesh.Workload) { w.TemplateLabels[mesh.HashLabel] = "x" }},
		{"S-37: Argo CD's label", "app.kubernetes.io/instance", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Marks = []string{"app.kubernetes.io/instance"} }},
		{"S-37: nobody has looked", "nobody has looked", func(s *mesh.Snapshot, _ *mesh.Workload) { s.Survey = nil }},
		{"S-37: not permitted to look", "networkpolicies", func(s *mesh.Snapshot, _ *mesh.Workload) {
			s.Survey.Selectors.Unseen = []string{"networkpolicies.networking.k8s.io: not permitted"}
		}},
		{"S-37: a Service selects on the label", "service shop/pinned names", func(s *mesh.Snapshot, _ *mesh.Workload) {
			s.Survey.Selectors.Hash = []mesh.Object{object("Service", "shop", "pinned")}
		}},
		{"S-37: a policy of another namespace", "networkpolicy db/only-cart names", func(s *mesh.Snapshot, _ *mesh.Workload) {
			s.Survey.Selectors.Hash = []mesh.Object{object("NetworkPolicy", "db", "only-cart")}
		}},
		{"S-37: a ReplicationController would take it", "replicationcontroller shop/old would take", func(s *mesh.Snapshot, _ *mesh.Workload) {
			s.Survey.Selectors.Adopters = []mesh.Adopter{{Object: object("ReplicationController", "shop", "old"), Selector: mesh.Selector{MatchLabels: map[string]string{"app": "cart"}}}}
		}},
		{"S-38: two budgets", "two PodDisruptionBudgets", func(s *mesh.Snapshot, w *mesh.Workload) { s.Survey.TwoBudgets = []mesh.Ref{w.Ref} }},
		{"S-39: a LoadBalancer", "shop/cart is of type LoadBalancer", func(_ *mesh.Snapshot, w *mesh.Workload) {
			w.Exposed = []mesh.Exposure{{Service: "shop/cart", How: "is of type LoadBalancer"}}
		}},
		{"S-39: a gateway", "it is a gateway", func(_ *mesh.Snapshot, w *mesh.Workload) {
			w.TemplateAnnotations = map[string]string{mesh.TemplatesAnnotation: "gateway"}
		}},
		{"S-39: a readiness gate", "target-health", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Gates = []string{"target-health.example.com"} }},
		{"S-41: an HPA", "horizontalpodautoscaler cart", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Scaler = "cart" }},
		{"S-41: a VPA", "VerticalPodAutoscaler", func(s *mesh.Snapshot, w *mesh.Workload) { s.Survey.Selectors.Sized = []mesh.Ref{w.Ref} }},
		{"S-41: it may not surge", "may not surge", func(_ *mesh.Snapshot, w *mesh.Workload) { w.MaxSurge = 0 }},
		{"S-41: anti-affinity", "not be on one node", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.AntiAffinity = true }},
		{"S-41: spread", "topology spread", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Spread = true }},
		{"S-41: a GPU", "nvidia.com/gpu", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Devices = []string{"nvidia.com/gpu"} }},
		{"S-41: a claim", "the claim data", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Claims = []string{"data"} }},
		{"S-41: host ports", "ports of their node", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.HostPorts = true }},
		{"S-42: a DaemonSet", "only a Deployment", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Kind = mesh.KindDaemonSet }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, w := loose()
			tc.spoil(&s, &w)
			if why := s.Detachable(w); !strings.Contains(why, tc.why) {
				t.Errorf("got %q, want %q", why, tc.why)
			}
		})
	}
}

// What another namespace's Service or controller selects is no matter of this one's pods.
func TestDetachable_othersNamespaces(t *testing.T) {
	s, w := loose()
	s.Survey.Selectors.Hash = []mesh.Object{{Kind: "Service", Namespace: "db", Name: "pinned"}}
	s.Survey.Selectors.Adopters = []mesh.Adopter{
		{Object: mesh.Object{Kind: "DaemonSet", Namespace: "db", Name: "log"}, Selector: mesh.Selector{MatchLabels: map[string]string{"app": "cart"}}},
		{Object: mesh.Object{Kind: "DaemonSet", Namespace: "shop", Name: "log"}, Selector: mesh.Selector{MatchLabels: map[string]string{"app": "log"}}},
	}
	if why := s.Detachable(w); why != "" {
		t.Errorf("got %q", why)
	}
}
