package istio_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/serin-mesh/serin/internal/istio"
)

// write puts files under a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func chartYAML(name, version string) string {
	return fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version)
}

func TestChartsFromADirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		at, chart, version string
		wrong              string // part of the error
	}{
		"a chart in a directory of its name":      {at: "base", chart: "base", version: "1.29.1"},
		"one of several versions":                 {at: "base-1.29.1", chart: "base", version: "1.29.1"},
		"a directory for each version":            {at: "1.29.1/gateway", chart: "gateway", version: "1.29.1"},
		"istiod where Istio's own archive has it": {at: "istio-control/istio-discovery", chart: "istiod", version: "1.29.1"},
		"another version than is there":           {at: "base", chart: "base", version: "1.30.0", wrong: "it has base 1.29.1 in base"},
		"a name that is not there":                {at: "base", chart: "gateway", version: "1.29.1", wrong: "no such chart"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			is := tc.chart
			if tc.wrong != "" {
				is = "base"
			}
			write(t, filepath.Join(dir, tc.at), map[string]string{"Chart.yaml": chartYAML(is, "1.29.1"), "values.yaml": "a: 1"})
			ch, err := istio.NewCharts(dir).Load(t.Context(), tc.chart, tc.version)
			switch {
			case tc.wrong != "":
				if !errors.Is(err, istio.ErrNoChart) || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("got %v, want %q", err, tc.wrong)
				}
			case err != nil:
				t.Error(err)
			case ch.Metadata.Name != tc.chart || ch.Metadata.Version != tc.version:
				t.Errorf("got %s %s", ch.Metadata.Name, ch.Metadata.Version)
			}
		})
	}
}

// archived packs a chart as a repository serves it.
func archived(t *testing.T, name, version string) []byte {
	t.Helper()
	c := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: name, Version: version},
		Raw:      []*common.File{{Name: "values.yaml", Data: []byte("a: {b: chart's}")}},
	}
	path, err := chartutil.Save(c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// repository serves one chart and counts the requests for it.
func repository(t *testing.T, name, version string, digest func([]byte) string) (string, *atomic.Int32) {
	t.Helper()
	raw := archived(t, name, version)
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/charts/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "entries:\n  %s:\n  - {version: %s, digest: %s, urls: [%s-%s.tgz]}\n", name, version, digest(raw), name, version)
	})
	mux.HandleFunc("/charts/"+name+"-"+version+".tgz", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(raw)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/charts", &asked
}

func sum(raw []byte) string {
	s := sha256.Sum256(raw)
	return hex.EncodeToString(s[:])
}

func TestChartsFromARepository(t *testing.T) {
	url, asked := repository(t, "base", "1.29.1", sum)
	charts := istio.NewCharts(url + "/")
	first, err := charts.Load(t.Context(), "base", "1.29.1")
	if err != nil {
		t.Fatal(err)
	}
	inner, ok := first.Values["a"].(map[string]any)
	if !ok {
		t.Fatalf("got values %v", first.Values)
	}
	inner["b"] = "changed, as Helm does when it merges"
	second, err := charts.Load(t.Context(), "base", "1.29.1")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(second.Values); got != "map[a:map[b:chart's]]" {
		t.Errorf("the second caller sees what the first did: %s", got)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the archive was read %d times", n)
	}
	_, err = charts.Load(t.Context(), "base", "1.28.0")
	if !errors.Is(err, istio.ErrNoChart) || !strings.Contains(err.Error(), "1.29.1") {
		t.Errorf("got %v, want the versions there are", err)
	}
}

func TestChartsRefusesWhatTheIndexDoesNotName(t *testing.T) {
	url, _ := repository(t, "base", "1.29.1", func([]byte) string { return strings.Repeat("0", 64) })
	if _, err := istio.NewCharts(url).Load(t.Context(), "base", "1.29.1"); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("got %v", err)
	}
}

func TestChartsEndsWithItsContext(t *testing.T) {
	url, _ := repository(t, "base", "1.29.1", sum)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := istio.NewCharts(url).Load(ctx, "base", "1.29.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
