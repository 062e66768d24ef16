package skew_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/skew"
)

// surveyed is a small mesh of the revision default that somebody looked at
// closely: nothing of what the notes ask about is there.
func surveyed() mesh.Snapshot {
	s := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").Snapshot()
	s.Survey = &mesh.Survey{
		Nodes:   &mesh.Nodes{OldestKubelet: "v1.30.0"},
		Istiods: map[string]mesh.Istiod{"default": {Env: map[string]string{}}}, MeshConfigs: map[string]map[string]any{"default": {}},
		Texts: map[string][]string{}, Annotations: map[string][]string{},
	}
	return s
}

// show makes the mesh show a sign.
func show(s *mesh.Snapshot, g skew.Sign) {
	switch {
	case g.MeshConfig != "":
		s.Survey.MeshConfigs["default"] = nested(g.MeshConfig)
	case g.Value != "":
		i := slices.IndexFunc(s.Releases, func(r mesh.Release) bool { return r.Chart == "istiod" })
		s.Releases[i].Values = nested(g.Value)
	case g.Env != "":
		name, value, _ := strings.Cut(g.Env, "=")
		s.Survey.Istiods["default"].Env[name] = value
	case g.Annotation != "":
		s.Survey.Annotations[g.Annotation] = []string{"namespace shop"}
	case g.Kind != "":
		s.Survey.Kinds = append(s.Survey.Kinds, g.Kind)
	case g.Text != "":
		s.Survey.Texts[g.Text] = []string{"shop/one"}
	case g.Singleton != "":
		s.Singletons = append(s.Singletons, mesh.Singleton{Name: g.Singleton, Version: "1.27.0"})
	case g.Unsupported != "":
		s.Unsupported = append(s.Unsupported, mesh.Object{Kind: g.Unsupported, Name: "x"})
	case g.Service != "":
		s.Survey.Services = append(s.Survey.Services, g.Service)
	case g.Kubelet != "":
		s.Survey.Nodes.OldestKubelet = "v" + g.Kubelet + ".2"
	case g.Workloads == "managed":
		s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Name: "g"})
	case g.Workloads != "":
		s.Workloads = append(s.Workloads, meshtest.Bookinfo("1.27.0").Snapshot().Workloads...)
	case g.ForeignCRDs:
		s.CRDs = append(s.CRDs, mesh.CRD{Name: "telemetries.telemetry.istio.io"})
	}
}

// nested is a value at a dotted path; "*" is the one element of a list.
func nested(path string) map[string]any {
	var v any = map[string]any{"service": "x"}
	parts := strings.Split(path, ".")
	for i := len(parts) - 1; i > 0; i-- {
		if parts[i] == "*" {
			v = []any{v}
			continue
		}
		v = map[string]any{parts[i]: v}
	}
	return map[string]any{parts[0]: v}
}

func answer(t *testing.T, n skew.UpgradeNote, s mesh.Snapshot) skew.Noted {
	t.Helper()
	var minor int
	if _, err := fmt.Sscanf(n.Minor, "1.%d", &minor); err != nil {
		t.Fatal(err)
	}
	for _, got := range skew.Notes(fmt.Sprintf("1.%d.0", minor-1), n.Minor+".0", []string{"default"}, s) {
		if got.Code == n.Code {
			return got
		}
	}
	t.Fatalf("%s is not among the notes of %s", n.Code, n.Minor)
	return skew.Noted{}
}

// Every rule fires on a mesh that shows what it asks for, and not on the next,
// which shows nothing or shows what it is taken back by.
func TestNotes_eachFiresAndDoesNot(t *testing.T) {
	for _, n := range skew.AllNotes() {
		t.Run(n.Code, func(t *testing.T) {
			if n.What == "" || n.Source == "" || n.Code[:5] != "SRN"+strings.TrimPrefix(n.Minor, "1.")[:2] {
				t.Errorf("a note has a code of its release, a fact and a source: %+v", n)
			}
			concerned := surveyed()
			for _, g := range n.All {
				show(&concerned, g)
			}
			if len(n.Any) > 0 {
				show(&concerned, n.Any[0])
			}
			want := skew.Fires
			switch {
			case n.Addition:
				want = skew.DoesNotApply
			case n.ByHand != "":
				want = skew.CannotTell
			case n.Remedy == "":
				t.Error("a note that can fire says what to do")
			}
			if got := answer(t, n, concerned); got.Answer != want || got.Why == "" {
				t.Errorf("on a mesh that shows it: %s (%s), want %s", got.Answer, got.Why, want)
			}
			for _, g := range n.Unless {
				kept := surveyed()
				for _, shown := range slices.Concat(n.All, n.Any, []skew.Sign{g}) {
					show(&kept, shown)
				}
				if got := answer(t, n, kept); got.Answer != skew.DoesNotApply {
					t.Errorf("with %+v it still %s (%s)", g, got.Answer, got.Why)
				}
			}
			if len(n.Any)+len(n.All) > 0 {
				if got := answer(t, n, surveyed()); got.Answer != skew.DoesNotApply {
					t.Errorf("on a mesh that shows nothing: %s (%s)", got.Answer, got.Why)
				}
			}
			if n.Profile {
				old := concerned.Clone()
				i := slices.IndexFunc(old.Releases, func(r mesh.Release) bool { return r.Chart == "istiod" })
				old.Releases[i].Values = map[string]any{"compatibilityVersion": "1.20"}
				if got := answer(t, n, old); got.Answer != skew.DoesNotApply {
					t.Errorf("compatibilityVersion keeps the old way, and it %s", got.Answer)
				}
			}
		})
	}
}

// No news is not good news: what was not looked at cannot be told.
func TestNotes_withoutASurveyNothingIsDenied(t *testing.T) {
	bare := surveyed()
	bare.Survey = nil
	for _, n := range skew.AllNotes() {
		asksSurvey := slices.ContainsFunc(slices.Concat(n.Any, n.All), func(g skew.Sign) bool { return g.Kind+g.Text+g.Env+g.MeshConfig+g.Annotation+g.Service != "" })
		if !asksSurvey || len(n.All) > 0 || n.Unless != nil {
			continue
		}
		if got := answer(t, n, bare); got.Answer != skew.CannotTell {
			t.Errorf("%s: %s (%s), without a survey", n.Code, got.Answer, got.Why)
		}
	}
	unread := surveyed()
	unread.Survey.Unseen = []string{"telemetries.telemetry.istio.io: not permitted"}
	unread.Survey.MeshConfigs, unread.Survey.Nodes = nil, nil
	for _, code := range []string{"SRN2405", "SRN2506", "SRN2704"} {
		i := slices.IndexFunc(skew.AllNotes(), func(n skew.UpgradeNote) bool { return n.Code == code })
		s := unread.Clone()
		show(&s, skew.Sign{Workloads: "any"})
		if got := answer(t, skew.AllNotes()[i], s); got.Answer != skew.CannotTell {
			t.Errorf("%s: %s (%s), although it could not be looked at", code, got.Answer, got.Why)
		}
	}
}

func TestNotes_areThoseBetweenTheVersions(t *testing.T) {
	count := func(from, to string) map[string]int {
		out := map[string]int{}
		for _, n := range skew.Notes(from, to, []string{"default"}, surveyed()) {
			out[n.Minor]++
		}
		return out
	}
	if got := count("1.27.0", "1.29.0"); len(got) != 2 || got["1.28"] == 0 || got["1.29"] == 0 {
		t.Errorf("1.27.0 -> 1.29.0: %v", got)
	}
	for _, pair := range [][2]string{{"1.29.1", "1.29.2"}, {"1.29.1", "1.27.0"}, {"x", "1.29.1"}, {"1.29.1", "x"}, {"", "1.29.1"}} {
		if got := count(pair[0], pair[1]); len(got) != 0 {
			t.Errorf("%v: %v", pair, got)
		}
	}
	for minor := 24; minor <= 31; minor++ {
		if got := count(fmt.Sprintf("1.%d.0", minor-1), fmt.Sprintf("1.%d.0", minor)); len(got) != 1 {
			t.Errorf("1.%d has no notes of its own: %v", minor, got)
		}
	}
}

// A note that was brought back to patches of older releases concerns who comes
// from before the patch, and nobody who has it already.
func TestNotes_broughtBack(t *testing.T) {
	for _, tt := range []struct {
		code, from, to string
		want           bool
	}{
		{"SRN3005", "1.27.0", "1.29.1", true},
		{"SRN3005", "1.27.0", "1.29.0", false},
		{"SRN3005", "1.27.8", "1.29.1", false},
		{"SRN3005", "1.28.5", "1.30.0", false},
		{"SRN3005", "1.29.0", "1.29.1", true},
		{"SRN2904", "1.27.5", "1.27.6", true},
		{"SRN2904", "1.28.4", "1.29.0", false},
		{"SRN3102", "1.29.5", "1.30.3", true},
		{"SRN2503", "1.23.5", "1.24.2", false},
		{"SRN2503", "1.23.5", "1.24.3", true},
	} {
		got := slices.ContainsFunc(skew.Notes(tt.from, tt.to, []string{"default"}, surveyed()), func(n skew.Noted) bool { return n.Code == tt.code })
		if got != tt.want {
			t.Errorf("%s, %s -> %s: listed %v, want %v", tt.code, tt.from, tt.to, got, tt.want)
		}
	}
	for _, n := range skew.AllNotes() {
		for _, p := range n.Backport {
			if _, err := skew.Parse(p); err != nil || !strings.Contains(n.Source, p) {
				t.Errorf("%s: %s is in no source (%v)", n.Code, p, err)
			}
		}
	}
}

func TestBundles(t *testing.T) {
	for _, tt := range []struct {
		istio, crd, bundle string
		reads              bool
	}{
		{"1.29.1", "grpcroutes", "1.0.0", false},
		{"1.29.1", "grpcroutes", "1.1.0", true},
		{"1.27.0", "backendtlspolicies", "1.2.0", true},
		{"1.28.0", "backendtlspolicies", "1.3.0", false},
		{"1.29.6", "tlsroutes", "1.5.0", false},
		{"1.29.6", "tlsroutes", "1.4.1", true},
		{"1.30.0", "tlsroutes", "1.4.1", false},
		{"1.31.0-rc.0", "tcproutes", "1.5.0", false},
	} {
		got := true
		for _, b := range skew.Bundles(tt.istio) {
			if b.CRD == tt.crd+".gateway.networking.k8s.io" {
				reads, err := b.Reads(tt.bundle)
				if err != nil {
					t.Fatal(err)
				}
				got = got && reads
			}
		}
		if got != tt.reads {
			t.Errorf("Istio %s, %s of bundle %s: read %v, want %v", tt.istio, tt.crd, tt.bundle, got, tt.reads)
		}
	}
	if skew.Bundles("x") != nil {
		t.Error("an unreadable version asks for nothing")
	}
}

func TestRemovedAndAlpha(t *testing.T) {
	if _, gone := skew.Removed("envoy.api.v2.Listener", "1.29.1"); !gone {
		t.Error("API v2 is gone")
	}
	if _, gone := skew.Removed("envoy.config.trace.v3.OpenCensusConfig", "1.24.0"); gone {
		t.Error("1.24 still has it")
	}
	if _, gone := skew.Removed("envoy.config.trace.v3.OpenCensusConfig", "1.25.0"); !gone {
		t.Error("1.25 does not have it")
	}
	if !skew.Alpha("proxy.istio.io/overrides") || skew.Alpha("proxy.istio.io/config") {
		t.Error("alpha annotations")
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"1.24.3", "1.27.0", 3}, {"1.27.0", "1.24.0", 0}, {"x", "1.2.0", 0}} {
		if got := skew.MinorsBetween(tt.a, tt.b); got != tt.want {
			t.Errorf("%s to %s: %d", tt.a, tt.b, got)
		}
	}
}
