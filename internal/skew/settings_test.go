package skew_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/skew"
)

func TestDropped(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		name     string
		want     bool
	}{
		{"1.25.0", "1.26.0", "variable ENABLE_AUTO_SNI", true},
		{"1.25.5", "1.27.0", "variable ENABLE_AUTO_SNI", true},
		{"1.26.0", "1.27.0", "variable ENABLE_AUTO_SNI", false}, // it was not read before either
		{"1.24.0", "1.25.0", "variable ENABLE_AUTO_SNI", false}, // it still is
		{"1.25.0", "1.26.0-rc.0", "variable ENABLE_AUTO_SNI", true},
		{"1.23.0", "1.24.0", "value istio_cni", true},
		{"x", "1.26.0", "variable ENABLE_AUTO_SNI", false},
	} {
		got := slices.ContainsFunc(skew.Dropped(tt.from, tt.to), func(g skew.Setting) bool { return g.Name() == tt.name })
		if got != tt.want {
			t.Errorf("%s -> %s: %s dropped %v, want %v", tt.from, tt.to, tt.name, got, tt.want)
		}
	}
}

// Every setting that went fires on a control plane that has it, and not on the next.
func TestSettings_eachIsSeen(t *testing.T) {
	for _, g := range skew.Settings() {
		if (g.Env == "") == (g.Value == "") || !strings.Contains(g.Source, g.Since) {
			t.Errorf("a setting is a variable or a value, and has a source: %+v", g)
		}
		s := surveyed()
		if g.SetIn(s, "default") {
			t.Errorf("%s is not set", g.Name())
		}
		show(&s, skew.Sign{Env: g.Env, Value: g.Value})
		if !g.SetIn(s, "default") {
			t.Errorf("%s is set", g.Name())
		}
		s.Survey = nil
		if g.Env != "" && g.SetIn(s, "default") {
			t.Errorf("%s: nobody looked", g.Name())
		}
	}
}

func TestReleases_haveASource(t *testing.T) {
	for _, r := range skew.Releases() {
		if !strings.Contains(r.Source, r.Minor+".") {
			t.Errorf("%s: the oldest Kubernetes has no source: %q", r.Minor, r.Source)
		}
	}
}
