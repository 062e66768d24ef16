package skew_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// rules is the file as it stands, so that no rule of it goes untried.
type rules struct {
	Releases         []skew.Release
	GatewayAPI       []skew.Bundle
	Gone             []skew.Gone
	AlphaAnnotations []string
}

func written(t *testing.T) rules {
	t.Helper()
	b, err := os.ReadFile("versions.json")
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Releases) < 12 || len(r.GatewayAPI) == 0 || len(r.Gone) == 0 || len(r.AlphaAnnotations) == 0 {
		t.Fatalf("the file has lost something: %+v", r)
	}
	return r
}

// near are the minor releases before and after one.
func near(t *testing.T, minor string, by int) string {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(minor, "1.%d", &n); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("1.%d", n+by)
}

// Of each release: a cluster that is one minor too old is refused, the oldest that
// will do is not.
func TestReleases_eachAsksForItsKubernetes(t *testing.T) {
	for _, r := range written(t).Releases {
		for by, refused := range map[int]bool{-1: true, 0: false, 1: false} {
			s := mesh.Snapshot{KubernetesVersion: "v" + near(t, r.Kubernetes, by) + ".3"}
			got := slices.Contains(judged(near(t, r.Minor, -1)+".0", r.Minor+".0", s), "kubernetes refused Kubernetes")
			if got != refused {
				t.Errorf("%s on Kubernetes %s: refused %v, want %v", r.Minor, s.KubernetesVersion, got, refused)
			}
		}
	}
}

// Of each release: what changes is said on the way into it, and neither before nor after.
func TestReleases_eachSaysItsChanges(t *testing.T) {
	for _, r := range written(t).Releases {
		for _, c := range r.Changes {
			said := func(from, to string) bool { return slices.Contains(skew.Changes(from, to), c) }
			before, after := near(t, r.Minor, -1), near(t, r.Minor, 1)
			if !said(before+".7", r.Minor+".0") || !said(before+".0", after+".0") {
				t.Errorf("%s: %q is not said on the way into it", r.Minor, c.What)
			}
			if said(r.Minor+".0", r.Minor+".9") || said(r.Minor+".0", after+".0") || said(near(t, r.Minor, -2)+".0", before+".9") {
				t.Errorf("%s: %q is said elsewhere", r.Minor, c.What)
			}
		}
	}
}

// Each bundle that is asked for: the nearest version outside it is not read and the
// one at its edge is, by the first release that asks and not by the one before.
func TestBundles_eachHasItsEdge(t *testing.T) {
	for _, b := range written(t).GatewayAPI {
		first := regexp.MustCompile(`>=(\d+\.\d+\.\d+)`).FindStringSubmatch(b.Istio)
		if first == nil || b.Source == "" || (b.Min == "") == (b.Max == "") {
			t.Errorf("a bundle has a first release, a source and one edge: %+v", b)
			continue
		}
		asked := func(istio string) bool { return slices.Contains(skew.Bundles(istio), b) }
		if !asked(first[1]) {
			t.Errorf("%s does not ask for %+v", first[1], b)
		}
		if before := justBefore(t, first[1]); asked(before) {
			t.Errorf("%s asks for %+v", before, b)
		}
		edge, outside := b.Min+b.Max, b.Max+".99"
		if b.Min != "" {
			outside = justBefore(t, b.Min)
		} else {
			outside = strings.TrimSuffix(outside, ".99")
			outside = outside[:strings.LastIndex(outside, ".")] + ".99"
		}
		for bundle, want := range map[string]bool{edge: true, outside: false} {
			if got, err := b.Reads(bundle); got != want || err != nil {
				t.Errorf("%s of bundle %s: read %v (%v), want %v", b.CRD, bundle, got, err, want)
			}
		}
		if _, err := b.Reads("x"); err == nil {
			t.Errorf("%s of bundle x is read", b.CRD)
		}
	}
}

// justBefore is a version that is a little older: 1.28.9 for 1.28.10, 1.27.99 for 1.28.0.
func justBefore(t *testing.T, version string) string {
	t.Helper()
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatal(err)
	}
	if patch > 0 {
		return fmt.Sprintf("%d.%d.%d", major, minor, patch-1)
	}
	return fmt.Sprintf("%d.%d.99", major, minor-1)
}

// Each type that is gone: in the release that has lost it, and not in the one before;
// and no type that only begins alike.
func TestRemoved_each(t *testing.T) {
	for _, g := range written(t).Gone {
		name := g.Name
		if strings.HasSuffix(name, ".") {
			name += "Something"
		}
		if g.Instead == "" || g.Source == "" {
			t.Errorf("%s: what to write instead, or the source, is missing", g.Name)
		}
		if got, gone := skew.Removed(name, g.Since+".0"); !gone || got != g {
			t.Errorf("%s is not gone in %s: %+v", name, g.Since, got)
		}
		if _, gone := skew.Removed(name, near(t, g.Since, -1)+".9"); gone {
			t.Errorf("%s is gone before %s", name, g.Since)
		}
		if _, gone := skew.Removed("x"+name, g.Since+".0"); gone {
			t.Errorf("x%s is gone", name)
		}
	}
}

// Each setting that went: on the way into the release that does not read it.
func TestDropped_each(t *testing.T) {
	for _, g := range skew.Settings() {
		dropped := func(from, to string) bool {
			return slices.ContainsFunc(skew.Dropped(from, to), func(d skew.Setting) bool { return d.Name() == g.Name() })
		}
		before, after := near(t, g.Since, -1), near(t, g.Since, 1)
		if !dropped(before+".0", g.Since+".0") || dropped(g.Since+".0", after+".0") || dropped(near(t, g.Since, -2)+".0", before+".0") {
			t.Errorf("%s goes with %s: %v, with the next: %v, with the one before: %v", g.Name(), g.Since,
				dropped(before+".0", g.Since+".0"), dropped(g.Since+".0", after+".0"), dropped(near(t, g.Since, -2)+".0", before+".0"))
		}
	}
}

func TestAlpha_each(t *testing.T) {
	for _, a := range written(t).AlphaAnnotations {
		if !skew.Alpha(a) || skew.Alpha(a+"x") {
			t.Errorf("%s: %v, and with a letter more %v", a, skew.Alpha(a), skew.Alpha(a+"x"))
		}
	}
}

// Each sign by which a note fires does so by itself, and where several are needed
// none may be missing.
func TestNotes_eachSign(t *testing.T) {
	for _, n := range skew.AllNotes() {
		if n.Addition || n.ByHand != "" {
			continue
		}
		for _, g := range n.Any {
			s := surveyed()
			for _, always := range append(slices.Clone(n.All), g) {
				show(&s, always)
			}
			if got := answer(t, n, s); got.Answer != skew.Fires {
				t.Errorf("%s with %+v: %s (%s)", n.Code, g, got.Answer, got.Why)
			}
		}
		for i := range n.All {
			s := surveyed()
			for _, g := range slices.Concat(n.All[:i], n.All[i+1:], n.Any) {
				show(&s, g)
			}
			if got := answer(t, n, s); got.Answer == skew.Fires {
				t.Errorf("%s without %+v fires (%s)", n.Code, n.All[i], got.Why)
			}
		}
	}
}

// The releases that this serin is for have rules, each of them.
func TestNotes_coverTheReleases(t *testing.T) {
	for minor := 24; minor <= 31; minor++ {
		release := fmt.Sprintf("1.%d", minor)
		if !slices.ContainsFunc(skew.AllNotes(), func(n skew.UpgradeNote) bool { return n.Minor == release }) {
			t.Errorf("no note of %s", release)
		}
		if _, ok := skew.Lookup(release + ".0"); !ok {
			t.Errorf("nothing is known of %s", release)
		}
	}
}
