package skew

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Setting is a variable of istiod's or of the proxies', or a Helm value, that a
// release no longer reads. One of the two names is set.
type Setting struct {
	Env    string `json:"env,omitempty"`
	Value  string `json:"value,omitempty"` // a path
	Since  string `json:"since"`           // the minor release that does not have it
	Source string `json:"source"`
}

// Name is what the user knows the setting by.
func (g Setting) Name() string {
	if g.Env != "" {
		return "variable " + g.Env
	}
	return "value " + g.Value
}

// Dropped returns the settings that one version reads and the other no longer does.
func Dropped(from, to string) []Setting {
	var out []Setting
	for _, g := range load().Settings {
		if MinorsBetween(from, g.Since+".0") > 0 && SameOrOlder(g.Since+".0-0", to) {
			out = append(out, g)
		}
	}
	return out
}

// SetIn says whether the revision has the setting: istiod's environment, what it
// gives to proxies, or the values of its Helm release. What was not looked at has nothing.
func (g Setting) SetIn(s mesh.Snapshot, revision string) bool {
	c, _ := s.ControlPlane(revision)
	if g.Value != "" {
		r, ok := s.Release(c.Owner)
		return ok && has(r.Values, strings.Split(g.Value, "."))
	}
	if s.Survey == nil {
		return false
	}
	if _, ok := s.Survey.Istiods[revision].Env[g.Env]; ok {
		return true
	}
	return has(s.Survey.MeshConfigs[revision], []string{"defaultConfig", "proxyMetadata", g.Env})
}

// Settings returns every setting that went, for the manual and the tests.
func Settings() []Setting { return slices.Clone(load().Settings) }
