package test_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/fields"
	"sigs.k8s.io/yaml"
)

// The list of an IstioOperator's values is istioctl's: it knows each name on it,
// all at once, and none that only another release has, nor one that is spelt wrong
// anywhere.
func TestFields_areIstioctls(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs istioctl: not in -short")
	}
	all := map[string]bool{}
	for _, v := range fields.Releases() {
		for _, p := range fields.Paths(fields.Operator, v) {
			all[p] = true
		}
	}
	for _, version := range []string{"1.27.0", "1.29.1"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, version)
			paths := fields.Paths(fields.Operator, version)
			if len(paths) < 250 {
				t.Errorf("only %d paths are known", len(paths))
			}
			if _, err := o.asked(t, valuesCase(t, paths...)); err != nil {
				t.Errorf("istioctl does not know them all: %v", err)
			}
			wrong := map[string]bool{}
			for path := range all {
				if notRead(t, version, path) {
					wrong[path] = true
				}
			}
			for _, path := range paths { // beside each
				i := strings.LastIndex(path, ".")
				wrong[path[:i+1]+"nosuch"] = true
			}
			t.Logf("%d paths, %d that are wrong", len(paths), len(wrong))
			for i, path := range slices.Sorted(maps.Keys(wrong)) {
				if !notRead(t, version, path) {
					t.Errorf("serin takes %s", path)
				}
				if os.Getenv("SERIN_SWEEP") == "" && i%12 != 0 { // each is a run of istioctl
					continue
				}
				if _, err := o.asked(t, valuesCase(t, path)); err == nil || !strings.Contains(err.Error(), "could not unmarshal") {
					t.Errorf("istioctl takes %s: %v", path, err)
				}
			}
		})
	}
}

// values are paths with nothing at their ends.
func values(paths ...string) map[string]any {
	out := map[string]any{}
	for _, p := range paths {
		at := out
		keys := strings.Split(p, ".")
		for _, key := range keys[:len(keys)-1] {
			at = into(at, key)
		}
		at[keys[len(keys)-1]] = nil
	}
	return out
}

// into is the map at a key, or the only one of the list there.
func into(at map[string]any, key string) map[string]any {
	name, list := strings.CutSuffix(key, "[]")
	below := map[string]any{}
	switch is := at[name].(type) {
	case map[string]any:
		return is
	case []any:
		below, _ = is[0].(map[string]any)
	default:
		at[name] = below
		if list {
			at[name] = []any{below}
		}
	}
	return below
}

func notRead(t *testing.T, version, path string) bool {
	t.Helper()
	found, ok := fields.Unknown(fields.Operator, version, values(path))
	if !ok {
		t.Fatalf("nothing is known of %s", version)
	}
	return len(found) > 0
}

func valuesCase(t *testing.T, paths ...string) manifestCase {
	t.Helper()
	b, err := yaml.Marshal(map[string]any{
		"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": map[string]any{"profile": "empty", "values": values(paths...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return manifestCase{files: []string{string(b)}}
}
