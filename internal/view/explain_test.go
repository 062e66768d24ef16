package view_test

import (
	"bytes"
	"testing"

	"github.com/serin-mesh/serin/internal/explain"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/view"
)

// explained is bookinfo in the middle of a move to the tag prod, which leads to a canary.
func explained() explain.Look {
	w := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").ControlPlane("canary", "1.29.1").Tag("prod", "canary").
		Namespace("default", mesh.RevLabel, "prod").Namespace("plain").
		Deployment("default", "reviews-v1", meshtest.Service("reviews"), meshtest.On("default")).
		Deployment("default", "reviews-v2", meshtest.Service("reviews"), meshtest.Replicas(2)).
		Deployment("plain", "cart", meshtest.Labels(mesh.InjectLabel, "false")).
		Change(func(s *mesh.Snapshot) {
			s.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "default", Name: "edge"}}
		})
	s := w.Snapshot()
	l := explain.Look{Snapshot: s}
	for _, p := range s.Pods {
		if p.Name != "reviews-v2-1" {
			l.Proxies = append(l.Proxies, gate.Proxy{Namespace: p.Namespace, Name: p.Name, Revision: p.Revision, Istiod: mesh.IstiodName(p.Revision) + "-7d9", Version: p.Version})
		}
	}
	return l
}

func TestExplain(t *testing.T) {
	l := explained()
	for name, tt := range map[string]struct {
		kind   explain.Kind
		of     string
		format view.Format
	}{
		"explain-pod.txt":       {explain.Pod, "reviews-v1-0", view.Text},
		"explain-workload.txt":  {explain.Workload, "cart", view.Text},
		"explain-namespace.txt": {explain.Namespace, "default", view.Text},
		"explain-tag.txt":       {explain.Tag, "prod", view.Text},
		"explain-gateway.txt":   {explain.Gateway, "edge", view.Text},
		"explain-wide.out":      {explain.Workload, "reviews-v2", view.Wide},
		"explain.json":          {explain.Tag, "prod", view.JSON},
		"explain.yaml":          {explain.Workload, "cart", view.YAML},
	} {
		t.Run(name, func(t *testing.T) {
			found := explain.Find(l.Snapshot, explain.Query{Kind: tt.kind, Name: tt.of})
			if len(found) != 1 {
				t.Fatal(found)
			}
			golden(t, name, func(b *bytes.Buffer) error { return view.Explain(b, explain.Explain(l, found[0]), tt.format) })
		})
	}
	blind := l
	blind.ProxiesUnknown = "no istiod answered"
	blind.Snapshot = meshtest.New().ControlPlane("default", "1.27.0").Namespace("empty").Snapshot()
	golden(t, "explain-blind.txt", func(b *bytes.Buffer) error {
		return view.Explain(b, explain.Explain(blind, explain.Find(blind.Snapshot, explain.Query{Name: "empty"})[0]), view.Text)
	})
}
