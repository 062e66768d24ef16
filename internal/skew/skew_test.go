package skew_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

func TestReleases_theFileIsWhole(t *testing.T) {
	all := skew.Releases()
	if len(all) != 12 {
		t.Fatalf("1.20 to 1.31 are 12 releases, the file has %d", len(all))
	}
	for i, r := range all {
		if r.Minor != fmt.Sprintf("1.%d", 20+i) {
			t.Errorf("release %d is %s", i, r.Minor)
		}
		if _, err := skew.Parse(r.Kubernetes); err != nil {
			t.Errorf("%s: %v", r.Minor, err)
		}
		for _, c := range r.Changes {
			if c.What == "" || c.Source == "" {
				t.Errorf("%s: a change needs a text and a source: %+v", r.Minor, c)
			}
		}
	}
}

func TestBugs_59959(t *testing.T) {
	for version, has := range map[string]bool{
		"1.23.6": false, "1.24.6": true, "1.27.0": true, "1.29.1": true, "1.29.4": true, "1.29.5": false, "1.30.0": true, "1.30.1": true, "1.30.2": false,
		"1.31.0-rc.0": false, "1.30.0-rc.1": true, "nonsense": false,
	} {
		bugs := skew.Bugs(version)
		if (len(bugs) == 1) != has {
			t.Errorf("%s: %v, want it affected: %v", version, bugs, has)
		}
		for _, b := range bugs {
			if _, err := semver.NewConstraint(b.Affected); err != nil || b.Source == "" {
				t.Errorf("%+v: %v", b, err)
			}
		}
	}
}

func judged(from, to string, s mesh.Snapshot) []string {
	var out []string
	for _, r := range skew.Judge(from, to, s) {
		if r.Rule != skew.Changed {
			out = append(out, fmt.Sprintf("%s %s %s", r.Rule, r.Verdict, r.Object))
		}
	}
	return out
}

func TestJudge(t *testing.T) {
	cluster := mesh.Snapshot{KubernetesVersion: "v1.36.3"}
	cni := func(version string) mesh.Snapshot {
		return mesh.Snapshot{KubernetesVersion: "v1.36.3", Singletons: []mesh.Singleton{{Name: "istio-cni-node", Version: version}}}
	}
	for _, tt := range []struct {
		name     string
		from, to string
		s        mesh.Snapshot
		want     []string
	}{
		{"two minors", "1.27.0", "1.29.1", cluster, nil},
		{"a patch", "1.29.0", "1.29.1", cluster, nil},
		{"three minors", "1.26.0", "1.29.1", cluster, []string{"two-minors refused version 1.29.1"}},
		{"another major", "1.29.0", "2.0.0", cluster, []string{"two-minors refused version 2.0.0", "known unknown version 2.0.0"}},
		{"older", "1.29.1", "1.28.0", cluster, []string{"newer refused version 1.28.0"}},
		{"older by a patch", "1.29.1", "1.29.0", cluster, []string{"newer refused version 1.29.0"}},
		{"unreadable from", "latest", "1.29.1", cluster, []string{"readable refused version latest"}},
		{"unreadable to", "1.27.0", "x", cluster, []string{"readable refused version x"}},
		{"nobody knows it", "1.31.0", "1.32.0", cluster, []string{"known unknown version 1.32.0"}},
		{"Kubernetes just new enough", "1.27.0", "1.29.1", mesh.Snapshot{KubernetesVersion: "v1.30.1-eks-036c24b"}, nil},
		{"Kubernetes too old", "1.27.0", "1.29.1", mesh.Snapshot{KubernetesVersion: "v1.29.9"}, []string{"kubernetes refused Kubernetes"}},
		{"Kubernetes unreadable", "1.27.0", "1.29.1", mesh.Snapshot{}, []string{"kubernetes unknown Kubernetes"}},
		{"S-18: one behind", "1.28.0", "1.29.1", cni("1.28.4"), []string{"singletons note istio-cni-node"}},
		{"S-18: two behind", "1.27.0", "1.29.1", cni("1.27.0"), []string{"singletons refused istio-cni-node"}},
		{"S-18: unreadable", "1.28.0", "1.29.1", cni("latest"), []string{"singletons unknown istio-cni-node"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, judged(tt.from, tt.to, tt.s)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestJudge_saysWhatChangesOnTheWay(t *testing.T) {
	var got []string
	for _, c := range skew.Changes("1.26.3", "1.28.0") {
		got = append(got, c.What)
	}
	if len(got) < 3 || !strings.Contains(got[0], "native") || !strings.Contains(got[1], "tag is also a Service") {
		t.Errorf("from 1.26 to 1.28: %q", got)
	}
	if c := skew.Changes("1.29.0", "1.29.1"); len(c) != 0 {
		t.Errorf("within a minor: %v", c)
	}
	if c := skew.Changes("x", "1.29.1"); c != nil {
		t.Errorf("unreadable: %v", c)
	}
}

func TestShape(t *testing.T) {
	for version, want := range map[string][2]bool{
		"1.23.6": {false, false}, "1.24.0": {true, false}, "1.27.9": {true, false}, "1.28.0": {true, true}, "1.31.0-rc.0": {true, true},
		"1.40.0": {true, true}, "1.10.0": {false, false}, "x": {false, false},
	} {
		if got := [2]bool{skew.OwnsCRDs(version), skew.HasTagService(version)}; got != want {
			t.Errorf("%s: CRDs owned, tag Service: %v, want %v", version, got, want)
		}
	}
}

func TestSameOrOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"1.27.0", "1.29.1", true}, {"1.29.1", "1.29.1", true}, {"1.29.2", "1.29.1", false}, {"x", "1.29.1", false}, {"1.29.1", "x", false}, {"1.9.0", "1.10.0", true}} {
		if got := skew.SameOrOlder(tt.a, tt.b); got != tt.want {
			t.Errorf("%s <= %s: %v", tt.a, tt.b, got)
		}
	}
}
