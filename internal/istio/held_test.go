package istio_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
)

// gatewayChart renders a Deployment with a number of pods, at two versions.
func gatewayChart(t *testing.T, deployments string) *istio.Charts {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"1.27.0", "1.29.1"} {
		write(t, filepath.Join(dir, "gateway-"+v), map[string]string{"Chart.yaml": chartYAML("gateway", v), "values.yaml": "{}", "templates/all.yaml": deployments})
	}
	return istio.NewCharts(dir)
}

const oneDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: {{ .Values.replicaCount }}
  template:
    metadata: {labels: {of: '{{ .Chart.Version }}'}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: '{{ .Release.Name }}'}
`

func edge(version string) mesh.Release {
	return mesh.Release{Namespace: "edge", Name: "edge", Chart: "gateway", Version: version, Values: map[string]any{"replicaCount": 3}}
}

// S-29: the second release has the first one's values under its own, and its pods the gate.
func TestS29_aHeldReleaseHasItsGate(t *testing.T) {
	h, shelf := istio.HelmInMemory(gatewayChart(t, oneDeployment))
	must(t, h.Install(t.Context(), edge("1.27.0"), ""))
	if strings.Contains(shelf.Manifest("edge"), mesh.ProvenGate) {
		t.Error("the first one has a gate")
	}
	second := mesh.Release{Namespace: "edge", Name: "edge-2", Chart: "gateway", Version: "1.29.1", Values: map[string]any{"own": "yes"}}
	for range 2 {
		must(t, h.InstallHeld(t.Context(), second, "edge"))
	}
	m := shelf.Manifest("edge-2")
	if strings.Count(m, mesh.ProvenGate) != 1 || !strings.Contains(m, "readinessGates") || !strings.Contains(m, "replicas: 3") || !strings.Contains(m, "1.29.1") {
		t.Errorf("got %s", m)
	}
	// Removed and restored from its record, it is held again.
	must(t, h.Keep(t.Context(), "edge", "edge-2"))
	must(t, h.Uninstall(t.Context(), "edge", "edge-2"))
	must(t, h.Restore(t.Context(), "edge", "edge-2", ""))
	if m := shelf.Manifest("edge-2"); strings.Count(m, mesh.ProvenGate) != 1 {
		t.Errorf("restored: %s", m)
	}
	second.Name = "edge-3"
	if err := h.InstallHeld(t.Context(), second, "nobody"); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("with nobody's values: %v", err)
	}
}

// A chart that renders no Deployment, or two, is not held: it is refused.
func TestS29_whatCannotBeHeldIsRefused(t *testing.T) {
	for _, text := range []string{"apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\n", oneDeployment + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '{{ .Release.Name }}-b'}\n"} {
		h, _ := istio.HelmInMemory(gatewayChart(t, text))
		must(t, h.Install(t.Context(), edge("1.27.0"), ""))
		second := mesh.Release{Namespace: "edge", Name: "edge-2", Chart: "gateway", Version: "1.29.1"}
		if err := h.InstallHeld(t.Context(), second, "edge"); err == nil || !strings.Contains(err.Error(), "Deployments, want one") {
			t.Errorf("got %v", err)
		}
	}
}

// S-32: renewed at rest, a gateway's number of pods is not the chart's; and it goes
// back with the chart that Helm has kept, wherever charts come from by then.
func TestS32_renewedAtRest(t *testing.T) {
	for name, onServer := range map[string]bool{"applied on the server": true, "merged on the client": false} {
		t.Run(name, func(t *testing.T) {
			h, shelf := istio.HelmInMemory(gatewayChart(t, oneDeployment))
			must(t, h.Install(t.Context(), edge("1.27.0"), ""))
			shelf.Applied("edge", onServer)
			for range 2 {
				must(t, h.UpgradeResting(t.Context(), edge("1.29.1")))
			}
			m := shelf.Manifest("edge")
			if strings.Contains(m, "replicas: 0") == onServer || strings.Contains(m, "replicas: 3") || !strings.Contains(m, "1.29.1") {
				t.Errorf("got %s", m)
			}
			h.Charts(istio.NewCharts(t.TempDir()))
			must(t, h.UpgradeResting(t.Context(), edge("1.27.0")))
			if m := shelf.Manifest("edge"); !strings.Contains(m, "1.27.0") || strings.Contains(m, "replicas: 3") {
				t.Errorf("back: %s", m)
			}
		})
	}
}
