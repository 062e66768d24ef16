package cluster_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// The parts of a tag as files, for a revision that is not installed yet: all
// lead there, none carries a tool's mark, and the CA bundle is the one that is
// there. S-2, S-45.
func TestS45_contentOfTags(t *testing.T) {
	old := injector("default", "bundle")
	old.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "istio:x", "kept": "yes"}
	w := newWorld(t, namespace(istioSystem), old, defaultValidator("default"), istiodService("default"))
	writer := cluster.WriterOf(w.Clients, istioSystem, &helmFake{}, nil)
	before := mesh.Snapshot{ControlPlanes: []mesh.ControlPlane{{Revision: "default", Version: "1.27.0", Namespace: istioSystem, Name: "istiod"}}}
	text := func(st plan.Step) string {
		t.Helper()
		c, err := writer.Content(t.Context(), st, plan.Plan{}, before)
		if err != nil {
			t.Fatal(err)
		}
		b, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	pin := text(plan.Step{Number: 1, Kind: plan.PinDefault, Tag: "default", To: "default", Version: "1.27.0"})
	for _, want := range []string{"name: istio-revision-tag-default", "istio.io/deactivated: never-match", "caBundle:", "kept: \"yes\""} {
		if !strings.Contains(pin, want) {
			t.Errorf("no %s in\n%s", want, pin)
		}
	}
	move := text(plan.Step{Number: 7, Kind: plan.MoveTag, Tag: "default", From: "default", To: "1-29-1", Version: "1.29.1"})
	for _, want := range []string{"name: istiod-1-29-1", "istio.io/rev: 1-29-1", "name: istiod-revision-tag-default", "name: istiod-default-validator", "defaultRevision: 1-29-1", "caBundle:"} {
		if !strings.Contains(move, want) {
			t.Errorf("no %s in\n%s", want, move)
		}
	}
	for _, not := range []string{"argocd", "resourceVersion", "managedFields", "status:", "istio.io/rev: default", "name: istiod\n"} {
		if strings.Contains(move, not) || not != "istio.io/rev: default" && not != "name: istiod\n" && strings.Contains(pin, not) {
			t.Errorf("%s is in\n%s\n%s", not, pin, move)
		}
	}
}

// Values that look like secrets are hidden, and nothing is rendered from them. S-45.
func TestS45_contentHoldsNoSecret(t *testing.T) {
	w := newWorld(t, namespace(istioSystem))
	writer := cluster.WriterOf(w.Clients, istioSystem, &helmFake{}, nil)
	p := plan.Plan{Request: plan.Request{Values: map[string]any{"pilot": map[string]any{"apiToken": "hunter2"}}}}
	c, err := writer.Content(t.Context(), plan.Step{Number: 3, Kind: plan.InstallRevision, To: "1-29-1", Version: "1.29.1"}, p, mesh.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(b); strings.Contains(text, "hunter2") || !strings.Contains(text, mesh.Hidden) || len(c.Apply) > 0 {
		t.Errorf("%s", text)
	}
}
