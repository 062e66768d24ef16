package mesh_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

// ordered is a StatefulSet of three pods behind a Service with an address and its
// headless one, on a mesh that was looked at.
func ordered() (mesh.Snapshot, mesh.Workload) {
	s, w := loose()
	w.Kind, w.Name, w.Replicas, w.Ready, w.MaxSurge, w.MaxUnavailable = mesh.KindStatefulSet, "db", 3, 3, 0, 1
	w.Services = []string{"shop/db", "shop/db-peers"}
	w.Exposed = []mesh.Exposure{{Service: "shop/db-peers", How: "is headless", Headless: true}}
	return s, w
}

func TestRetirable(t *testing.T) {
	for _, tc := range []struct {
		name  string
		allow func(*mesh.Snapshot, *mesh.Workload)
	}{
		{"a StatefulSet", func(*mesh.Snapshot, *mesh.Workload) {}},
		{"a DaemonSet", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Kind = mesh.KindDaemonSet }},
		{"S-41: claims, devices and anti-affinity are no hindrance: no pod comes beside another", func(_ *mesh.Snapshot, w *mesh.Workload) {
			w.Template.Claims, w.Template.Devices, w.Template.AntiAffinity = []string{"data"}, []string{"nvidia.com/gpu"}, true
		}},
		{"S-41: an HPA counts what there is", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Scaler = "db" }},
		{"S-37: nobody loses sight of a pod that keeps its labels", func(s *mesh.Snapshot, w *mesh.Workload) {
			w.Template.Marks = []string{"app.kubernetes.io/instance"}
			s.Survey.Selectors.Hash = []mesh.Object{{Kind: "Service", Namespace: "shop", Name: "pinned"}}
		}},
	} {
		s, w := ordered()
		tc.allow(&s, &w)
		if why := s.Retirable(w); why != "" {
			t.Errorf("%s: got %q", tc.name, why)
		}
	}
	for _, tc := range []struct {
		name, why string
		spoil     func(*mesh.Snapshot, *mesh.Workload)
	}{
		{"S-42: one pod", "it has one pod: whichever way", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Replicas = 1 }},
		{"S-42: a Deployment", "only pods of a StatefulSet", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Kind = mesh.KindDeployment }},
		{"S-42: an operator made it", "made by Kafka bus", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.MadeBy = "Kafka bus" }},
		{"OnDelete", "OnDelete", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Strategy = "OnDelete" }},
		{"a partition", "partition", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Partition = 1 }},
		{"a rollout under way", "is under way", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Settled = false }},
		{"S-39: no Service with an address", "leaving the endpoints first tells them nothing", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Services = w.Services[1:] }},
		{"S-39: a LoadBalancer", "shop/db is of type LoadBalancer", func(_ *mesh.Snapshot, w *mesh.Workload) {
			w.Exposed = append(w.Exposed, mesh.Exposure{Service: "shop/db", How: "is of type LoadBalancer"})
		}},
		{"S-39: a gateway", "it is a gateway", func(_ *mesh.Snapshot, w *mesh.Workload) {
			w.TemplateAnnotations = map[string]string{mesh.TemplatesAnnotation: "gateway"}
		}},
		{"S-39: a readiness gate", "target-health", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.Gates = []string{"target-health"} }},
		{"S-39: host ports", "ports of their node", func(_ *mesh.Snapshot, w *mesh.Workload) { w.Template.HostPorts = true }},
		{"S-38: nobody has looked", "nobody has looked", func(s *mesh.Snapshot, _ *mesh.Workload) { s.Survey = nil }},
		{"S-38: two budgets", "two PodDisruptionBudgets", func(s *mesh.Snapshot, w *mesh.Workload) { s.Survey.TwoBudgets = []mesh.Ref{w.Ref} }},
		{"S-41: a VPA", "VerticalPodAutoscaler", func(s *mesh.Snapshot, w *mesh.Workload) { s.Survey.Selectors.Sized = []mesh.Ref{w.Ref} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, w := ordered()
			tc.spoil(&s, &w)
			if why := s.Retirable(w); !strings.Contains(why, tc.why) {
				t.Errorf("got %q, want %q", why, tc.why)
			}
		})
	}
}

func TestListed(t *testing.T) {
	_, w := ordered()
	if got := w.Listed(); !slices.Equal(got, []string{"shop/db"}) || len(w.Services) != 2 {
		t.Errorf("got %v of %v", got, w.Services)
	}
}
