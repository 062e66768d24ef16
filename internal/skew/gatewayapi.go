package skew

import (
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Bundle is which bundles of the Gateway API an istiod reads one of its kinds from.
// A definition outside them is ignored, and with it every object of the kind.
type Bundle struct {
	CRD    string `json:"crd"`
	Istio  string `json:"istio"` // a constraint on versions
	Min    string `json:"min,omitempty"`
	Max    string `json:"max,omitempty"`
	Source string `json:"source"`
}

// Bundles returns what a version of Istio asks of Gateway API definitions.
func Bundles(version string) []Bundle {
	v, err := Parse(version)
	if err != nil {
		return nil
	}
	var out []Bundle
	for _, b := range load().GatewayAPI {
		if c, err := semver.NewConstraint(b.Istio); err == nil {
			c.IncludePrerelease = true
			if c.Check(v) {
				out = append(out, b)
			}
		}
	}
	return out
}

// Reads says whether the bundle's version is within what istiod reads.
func (b Bundle) Reads(version string) (bool, error) {
	v, err := Parse(version)
	if err != nil {
		return false, err
	}
	lowest, err := Parse(b.Min)
	if b.Min != "" && (err != nil || v.LessThan(lowest)) {
		return false, err
	}
	highest, err := Parse(b.Max)
	if b.Max != "" && (err != nil || v.GreaterThan(highest)) {
		return false, err
	}
	return true, nil
}

// Alpha says whether an annotation of Istio's is of an alpha feature.
func Alpha(annotation string) bool { return slices.Contains(load().AlphaAnnotations, annotation) }

// Gone is a type or filter that Envoy no longer has.
type Gone struct {
	Name    string `json:"name"` // or the beginning of it, if it ends in a dot
	Since   string `json:"since"`
	Instead string `json:"instead"`
	Source  string `json:"source"`
}

// Removed says whether a type or filter is gone in a version.
func Removed(name, version string) (Gone, bool) {
	v, err := Parse(version)
	if err != nil {
		return Gone{}, false
	}
	for _, g := range load().Gone {
		since, err := Parse(g.Since)
		is := name == g.Name || strings.HasSuffix(g.Name, ".") && strings.HasPrefix(name, g.Name)
		if err == nil && is && (v.Major() > since.Major() || v.Minor() >= since.Minor()) {
			return g, true
		}
	}
	return Gone{}, false
}

// MinorsBetween is how many minor releases lie from a to b; zero where one cannot be read.
func MinorsBetween(a, b string) int {
	x, errX := Parse(a)
	y, errY := Parse(b)
	if errX != nil || errY != nil || x.Major() != y.Major() || y.LessThan(x) {
		return 0
	}
	return int(y.Minor() - x.Minor()) //nolint:gosec // minors are small
}
