package skew

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/Masterminds/semver/v3"
)

//go:embed versions.json
var file []byte

// Release is what is known of one minor release of Istio.
type Release struct {
	Minor        string   `json:"minor"`        // "1.29"
	Kubernetes   string   `json:"kubernetes"`   // the oldest it supports
	Source       string   `json:"source"`       // of that
	CRDTemplates bool     `json:"crdTemplates"` // the base chart owns the CRDs (R§11.1)
	TagService   bool     `json:"tagService"`   // a tag has a Service (R§2.1)
	Changes      []Change `json:"changes"`
}

// Change is something that behaves differently from a release on.
type Change struct {
	What   string `json:"what"`
	Source string `json:"source"`
}

// Bug is a defect that serin must step around.
type Bug struct {
	ID       string `json:"id"`
	What     string `json:"what"`
	Affected string `json:"affected"` // a constraint on versions
	Source   string `json:"source"`
}

type facts struct {
	Releases []Release `json:"releases"`
	Bugs     []Bug     `json:"bugs"`

	GatewayAPI       []Bundle `json:"gatewayAPI"`
	AlphaAnnotations []string `json:"alphaAnnotations"`
	Gone             []Gone   `json:"gone"`

	Settings []Setting `json:"settings"`
}

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var load = sync.OnceValue(func() facts {
	var f facts
	if err := json.Unmarshal(file, &f); err != nil {
		return facts{} // everything is Unknown then; a test reads the file
	}
	return f
})

// Releases returns what is known, oldest first.
func Releases() []Release { return load().Releases }

// Lookup returns what is known of the minor release that a version belongs to.
func Lookup(version string) (Release, bool) {
	v, err := Parse(version)
	if err != nil {
		return Release{}, false
	}
	for _, r := range load().Releases {
		if r.Minor == fmt.Sprintf("%d.%d", v.Major(), v.Minor()) {
			return r, true
		}
	}
	return Release{}, false
}

// Bugs returns the known bugs that a version has.
func Bugs(version string) []Bug {
	v, err := Parse(version)
	if err != nil {
		return nil
	}
	var bugs []Bug
	for _, b := range load().Bugs {
		c, err := semver.NewConstraint(b.Affected)
		if err != nil {
			continue // a test parses them all
		}
		c.IncludePrerelease = true
		if c.Check(v) {
			bugs = append(bugs, b)
		}
	}
	return bugs
}

// Changes returns what changes on the way from one version to the other, oldest first.
func Changes(from, to string) []Change {
	a, errA := Parse(from)
	b, errB := Parse(to)
	if errA != nil || errB != nil {
		return nil
	}
	var out []Change
	for _, r := range load().Releases {
		m, err := Parse(r.Minor)
		if err == nil && m.Major() == b.Major() && m.Minor() > a.Minor() && m.Minor() <= b.Minor() {
			out = append(out, r.Changes...)
		}
	}
	return out
}

// Parse reads a version of Istio or of Kubernetes: "1.29.1", "v1.36.3-eks-1", "1.29".
func Parse(version string) (*semver.Version, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return nil, fmt.Errorf("reading version %q: %w", version, err)
	}
	return v, nil
}
