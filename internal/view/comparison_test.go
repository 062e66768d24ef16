package view_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/shadow"
	"github.com/serin-mesh/serin/internal/view"
)

func comparison() shadow.Report {
	cluster := func(more map[string]any) map[string]any {
		out := map[string]any{"circuitBreakers": map[string]any{"thresholds": []any{map[string]any{}}}}
		maps.Copy(out, more)
		return out
	}
	remaining := map[string]any{"circuitBreakers": map[string]any{"thresholds": []any{map[string]any{"trackRemaining": true}}}}
	return shadow.Compare([]shadow.Subject{
		{
			Workload: "shop/cart",
			Old:      shadow.Config{shadow.Clusters: {"outbound|80||a": remaining, "outbound|80||b": remaining}, shadow.Routes: {"80": map[string]any{"virtualHosts": []any{map[string]any{"name": "<b>:80"}}}}},
			New:      shadow.Config{shadow.Clusters: {"outbound|80||a": cluster(map[string]any{"connectTimeout": "5s"}), "outbound|80||b": cluster(nil)}, shadow.Routes: {"80": map[string]any{"virtualHosts": []any{}}}},
		},
		{Workload: "shop/till", Failed: "it has no ready pod on revision default"},
	}, shadow.Sides{Old: shadow.Side{Revision: "default", Version: "1.27.0"}, New: shadow.Side{Revision: "1-29-1", Version: "1.29.1"}}, nil)
}

func TestComparison(t *testing.T) {
	for name, f := range map[string]view.Format{"comparison.txt": view.Text, "comparison.json": view.JSON, "comparison.html": view.HTML} {
		golden(t, name, func(b *bytes.Buffer) error { return view.WriteComparison(b, f, comparison()) })
	}
}

// What comes from the mesh is text on the page, whatever it holds.
func TestComparisonPage_escapes(t *testing.T) {
	var b bytes.Buffer
	if err := view.WriteComparison(&b, view.HTML, comparison()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<b>") || strings.Contains(b.String(), "<script") {
		t.Errorf("page:\n%s", b.String())
	}
}

func TestComparison_nothing(t *testing.T) {
	var b bytes.Buffer
	if err := view.WriteComparison(&b, view.Text, shadow.Report{}); err != nil || !strings.Contains(b.String(), "No difference.") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}
