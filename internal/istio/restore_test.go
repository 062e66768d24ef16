package istio_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/istio"
)

// injecting is a chart with an injector, as istiod's has one.
func injecting(t *testing.T) (*istio.Helm, *istio.Shelf, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "istiod-1.29.1"), map[string]string{
		"Chart.yaml": chartYAML("istiod", "1.29.1"), "values.yaml": "{}",
		"templates/all.yaml": `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector}
webhooks:
- name: namespace.sidecar-injector.istio.io
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: 'istio-{{ .Values.revision }}'}
`,
	})
	h, shelf := istio.HelmInMemory(istio.NewCharts(dir))
	return h, shelf, dir
}

// A release comes back from its record alone, also after a removal that did not end.
func TestS54_whatWasRemovedComesBack(t *testing.T) {
	for _, left := range []string{"nothing", "uninstalling", "deployed"} {
		t.Run(left, func(t *testing.T) {
			h, shelf, dir := injecting(t)
			must(t, h.Install(t.Context(), istiod("a"), ""))
			before := shelf.Manifest("istiod-a")
			must(t, h.Keep(t.Context(), "istio-system", "istiod-a"))
			if left == "nothing" {
				must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
			} else {
				shelf.Kill("istiod-a", left)
			}
			must(t, h.Keep(t.Context(), "istio-system", "istiod-a")) // a removal that is tried again
			write(t, filepath.Join(dir, "istiod-1.29.1"), map[string]string{"Chart.yaml": "gone: true"})
			for range 2 {
				must(t, h.Restore(t.Context(), "istio-system", "istiod-a", ""))
			}
			got, ok, err := h.Get(t.Context(), "istio-system", "istiod-a")
			must(t, err)
			want := istiod("a")
			if want.Status = "deployed"; !ok || got.Version != want.Version || got.Status != want.Status || got.Values["revision"] != "a" {
				t.Errorf("got %+v", got)
			}
			if d := cmp.Diff(before, shelf.Manifest("istiod-a")); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestS1_anInjectorThatATagStandsInForComesBackSwitchedOff is about the instant
// in which both would inject, for different revisions.
func TestS1_anInjectorThatATagStandsInForComesBackSwitchedOff(t *testing.T) {
	h, shelf, _ := injecting(t)
	must(t, h.Install(t.Context(), istiod("a"), ""))
	must(t, h.Keep(t.Context(), "istio-system", "istiod-a"))
	must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
	must(t, h.Restore(t.Context(), "istio-system", "istiod-a", "injector"))
	m := shelf.Manifest("istiod-a")
	if strings.Contains(m, "istio-injection") || strings.Count(m, "never-match") != 2 {
		t.Errorf("got %s", m)
	}
}

func TestRestoreRefusesWhatWasNotKept(t *testing.T) {
	h, _, _ := injecting(t)
	must(t, h.Keep(t.Context(), "istio-system", "istiod-a")) // there is none
	err := h.Restore(t.Context(), "istio-system", "istiod-a", "")
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "istio-system/istiod-a") {
		t.Errorf("got %v", err)
	}
}
