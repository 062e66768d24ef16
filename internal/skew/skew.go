package skew

import (
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Verdict is what a rule says of a jump.
type Verdict string

// The verdicts. What is Allowed is not reported.
const (
	Refused Verdict = "refused"
	Unknown Verdict = "unknown" // the data does not say
	Note    Verdict = "note"
)

// Rule names a rule.
type Rule string

// The rules.
const (
	Readable   Rule = "readable"   // versions can be read
	Newer      Rule = "newer"      // the target is newer
	Known      Rule = "known"      // versions.json has both
	TwoMinors  Rule = "two-minors" // no more than two minors at once (R§8)
	Singletons Rule = "singletons" // istio-cni and ztunnel: one minor behind at most (S-18)
	Kubernetes Rule = "kubernetes" // new enough for the target
	Changed    Rule = "changed"    // something behaves differently on the way
)

// MaxMinors is how many minor releases one upgrade may cross (R§8).
const MaxMinors = 2

// Result is what a rule found.
type Result struct {
	Rule    Rule
	Verdict Verdict
	Object  string // what it is about
	Reason  string
	Remedy  string
}

// Judge evaluates every rule for a jump of the mesh from one version to another.
func Judge(from, to string, s mesh.Snapshot) []Result {
	a, err := Parse(from)
	if err != nil {
		return []Result{{Readable, Refused, "version " + from, err.Error(), "the control plane's image needs a version for a tag"}}
	}
	b, err := Parse(to)
	if err != nil {
		return []Result{{Readable, Refused, "version " + to, err.Error(), "give a version such as 1.29.1"}}
	}
	if b.LessThan(a) {
		return []Result{{
			Newer, Refused, "version " + to, "it is older than " + from + ": the data plane would be ahead of its control plane",
			"to go back, take the run back: serin rollback",
		}}
	}
	out := minors(a, b)
	out = append(out, known(from, to)...)
	out = append(out, singletons(b, s)...)
	out = append(out, kubernetes(to, s)...)
	for _, c := range Changes(from, to) {
		out = append(out, Result{Changed, Note, "version " + to, c.What + " (" + c.Source + ")", ""})
	}
	return out
}

func minors(a, b *semver.Version) []Result {
	if a.Major() == b.Major() && b.Minor()-a.Minor() <= MaxMinors {
		return nil
	}
	if a.Major() != b.Major() {
		return []Result{{TwoMinors, Refused, "version " + b.String(), "it is another major release than " + a.String(), "this serin does not know how to cross it"}}
	}
	return []Result{{
		TwoMinors, Refused, "version " + b.String(),
		fmt.Sprintf("it is %d minor releases ahead of %s; Istio supports %d", b.Minor()-a.Minor(), a, MaxMinors),
		fmt.Sprintf("upgrade to %d.%d first", a.Major(), a.Minor()+MaxMinors),
	}}
}

func known(from, to string) []Result {
	var out []Result
	for _, v := range []string{from, to} {
		if _, ok := Lookup(v); !ok {
			out = append(out, Result{
				Known, Unknown, "version " + v, "serin has no facts about this release",
				"update serin, or accept the risk",
			})
		}
	}
	return out
}

func singletons(to *semver.Version, s mesh.Snapshot) []Result {
	var out []Result
	for _, c := range s.Singletons {
		v, err := Parse(c.Version)
		switch {
		case err != nil:
			out = append(out, Result{Singletons, Unknown, c.Name, fmt.Sprintf("its version %q cannot be read", c.Version), "its owner should say which release it is"})
		case v.Major() != to.Major() || to.Minor() > v.Minor()+1:
			out = append(out, Result{
				Singletons, Refused, c.Name,
				fmt.Sprintf("it is at %s: Istio supports it one minor release behind the control plane, not %s", c.Version, to),
				fmt.Sprintf("upgrade in two: to %d.%d, then %s by its owner, then on", v.Major(), v.Minor()+1, c.Name),
			})
		default:
			out = append(out, Result{
				Singletons, Note, c.Name, "it has no revision and stays at " + c.Version,
				"its owner upgrades it to " + to.String() + " after the control plane",
			})
		}
	}
	return out
}

// Cluster judges the cluster alone, for a first installation.
func Cluster(to string, s mesh.Snapshot) []Result {
	if _, err := Parse(to); err != nil {
		return []Result{{Readable, Refused, "version " + to, err.Error(), "give a version such as 1.29.1"}}
	}
	if _, ok := Lookup(to); !ok {
		return []Result{{Known, Unknown, "version " + to, "serin has no facts about this release", "update serin, or accept the risk"}}
	}
	return kubernetes(to, s)
}

func kubernetes(to string, s mesh.Snapshot) []Result {
	r, ok := Lookup(to)
	if !ok {
		return nil // said by known
	}
	have, err := Parse(s.KubernetesVersion)
	if err != nil {
		return []Result{{Kubernetes, Unknown, "Kubernetes", fmt.Sprintf("its version %q cannot be read", s.KubernetesVersion), "check that it is " + r.Kubernetes + " or newer"}}
	}
	need, err := Parse(r.Kubernetes)
	if err != nil || have.Major() > need.Major() || have.Minor() >= need.Minor() {
		return nil
	}
	return []Result{{
		Kubernetes, Refused, "Kubernetes", fmt.Sprintf("it is %s; Istio %s needs %s or newer", s.KubernetesVersion, to, r.Kubernetes),
		"upgrade the cluster first",
	}}
}

// HasTagService says whether a tag of that version's charts has a Service.
func HasTagService(version string) bool { return shape(version).TagService }

// OwnsCRDs says whether that version's base chart owns the CRDs.
func OwnsCRDs(version string) bool { return shape(version).CRDTemplates }

// shape is the release whose objects look like the version's: a release newer
// than the data is taken to look like the newest one known.
func shape(version string) Release {
	if r, ok := Lookup(version); ok {
		return r
	}
	all := Releases()
	v, err := Parse(version)
	if err != nil || len(all) == 0 {
		return Release{}
	}
	newest := all[len(all)-1]
	if n, err := Parse(newest.Minor); err == nil && v.GreaterThan(n) {
		return newest
	}
	return Release{}
}

// SameOrOlder says whether version a is not newer than b; false if either cannot be read.
func SameOrOlder(a, b string) bool {
	x, errX := Parse(a)
	y, errY := Parse(b)
	return errX == nil && errY == nil && !x.GreaterThan(y)
}
