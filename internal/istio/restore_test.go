package istio_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
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
			} else { // what was removed before Helm heard of it is gone in either case
				shelf.Kill("istiod-a", left)
				shelf.Torn = true
			}
			must(t, h.Keep(t.Context(), "istio-system", "istiod-a")) // a removal that is tried again
			write(t, filepath.Join(dir, "istiod-1.29.1"), map[string]string{"Chart.yaml": "gone: true"})
			first := shelf.First("istiod-a")
			for range 2 {
				must(t, h.Restore(t.Context(), "istio-system", "istiod-a", ""))
			}
			if shelf.First("istiod-a").Equal(first) {
				t.Error("it was not installed again")
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

// S-48: a record outlives its upgrade. What lives under the name by then is not the
// release that was kept, and stays; so does the kept one while nothing of it is gone.
func TestRestore_leavesWhatLives(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(*testing.T, *istio.Helm, *istio.Shelf)
		want      string
	}{
		"another installation": {meanwhile: func(t *testing.T, h *istio.Helm, _ *istio.Shelf) {
			t.Helper()
			must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
			must(t, h.Install(t.Context(), newer("a"), ""))
		}, want: "1.30.0 deployed"},
		"another one, of which some is gone": {meanwhile: func(t *testing.T, h *istio.Helm, s *istio.Shelf) {
			t.Helper()
			must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
			must(t, h.Install(t.Context(), newer("a"), ""))
			s.Torn = true
		}, want: "1.30.0 deployed"},
		"an upgrade of it": {meanwhile: func(t *testing.T, h *istio.Helm, _ *istio.Shelf) {
			t.Helper()
			must(t, h.Upgrade(t.Context(), newer("a")))
		}, want: "1.30.0 deployed"},
		"an upgrade of another that has failed": {meanwhile: func(t *testing.T, h *istio.Helm, s *istio.Shelf) {
			t.Helper()
			must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
			must(t, h.Install(t.Context(), istiod("a"), ""))
			must(t, h.Upgrade(t.Context(), newer("a")))
			s.Kill("istiod-a", "failed")
		}, want: "1.29.1 deployed"},
		"itself": {meanwhile: func(*testing.T, *istio.Helm, *istio.Shelf) {}, want: "1.29.1 deployed"},
	} {
		t.Run(name, func(t *testing.T) {
			h, shelf, dir := injecting(t)
			write(t, filepath.Join(dir, "istiod-1.30.0"), map[string]string{
				"Chart.yaml": chartYAML("istiod", "1.30.0"), "values.yaml": "{}", "templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: newer}\n",
			})
			must(t, h.Install(t.Context(), istiod("a"), ""))
			must(t, h.Keep(t.Context(), "istio-system", "istiod-a"))
			tt.meanwhile(t, h, shelf)
			history := shelf.History("istiod-a")
			first := shelf.First("istiod-a")
			for range 2 {
				must(t, h.Restore(t.Context(), "istio-system", "istiod-a", ""))
			}
			got, _, err := h.Get(t.Context(), "istio-system", "istiod-a")
			must(t, err)
			if is := got.Version + " " + got.Status; is != tt.want || !shelf.First("istiod-a").Equal(first) {
				t.Errorf("got %s, want %s", is, tt.want)
			}
			if d := cmp.Diff(history, shelf.History("istiod-a")); d != "" {
				t.Error(d)
			}
		})
	}
}

func newer(rev string) mesh.Release {
	r := istiod(rev)
	r.Version = "1.30.0"
	return r
}
