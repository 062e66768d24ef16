package plan_test

import (
	"slices"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func unread(p plan.Plan) []plan.Finding {
	return slices.DeleteFunc(slices.Clone(p.Findings), func(f plan.Finding) bool { return f.Code != "SRN1027" })
}

// What is given now is refused by name, with what may be meant; what a release
// that is there carries is a warning, and blocks no upgrade.
func TestValues_thatNobodyReads(t *testing.T) {
	wrong := map[string]any{"pilot": map[string]any{"replicaCont": 3}}
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	given := plan.Build(s, ask(func(r *plan.Request) { r.Values = wrong }))
	fs := unread(given)
	if len(given.Steps) > 0 || len(fs) != 1 || fs[0].Severity != plan.Overridable || fs[0].Reason != "its value pilot.replicaCont is not read by istiod 1.29.1" ||
		fs[0].Remedy != "did you mean pilot.replicaCount? If a chart of your own reads it: --ignore-check SRN1027" {
		t.Errorf("given: %+v", fs)
	}
	meant := plan.Build(s, ask(func(r *plan.Request) { r.Values, r.IgnoreChecks = wrong, []string{"SRN1027"} }))
	if fs := unread(meant); len(meant.Steps) == 0 || len(fs) != 1 || fs[0].Severity != plan.Warning {
		t.Errorf("meant: %+v", meant.Findings)
	}
	release(&s, "istiod").Values = wrong
	carried := plan.Build(s, ask(func(*plan.Request) {}))
	if fs := unread(carried); len(carried.Steps) == 0 || len(fs) != 1 || fs[0].Severity != plan.Warning || fs[0].Object != "release istio-system/istiod" {
		t.Errorf("carried: %+v", carried.Findings)
	}
	for chart, wants := range map[string]int{"istiod": 1, "base": 1} {
		o := plan.Operation{Verb: plan.Install, Chart: chart, Revision: "1-29-1"}
		p := plan.Build(meshtest.New().Change(func(s *mesh.Snapshot) { s.CRDs = nil }).Snapshot(), ask(func(r *plan.Request) { r.Operation, r.Values = &o, wrong }))
		if got := unread(p); len(got) != wants || got[0].Severity != plan.Overridable {
			t.Errorf("install %s: %+v", chart, p.Findings)
		}
	}
}

// Of a release whose sources were not read nothing is claimed, but that is said.
func TestValues_ofAReleaseThatWasNotRead(t *testing.T) {
	s := meshtest.Bookinfo("1.29.1").Snapshot()
	p := plan.Build(s, ask(func(r *plan.Request) { r.To, r.Values = "1.30.0", map[string]any{"nosuch": 1} }))
	fs := unread(p)
	if len(fs) == 0 {
		t.Fatalf("nothing is said: %+v", p.Findings)
	}
	for _, f := range fs {
		if f.Severity != plan.Info {
			t.Errorf("%+v", f)
		}
	}
}

// What a chart hands on to Kubernetes must be a field of Kubernetes'. A cluster that
// is newer than serin's list may have it: there it is a warning.
func TestValues_thatKubernetesDoesNotHave(t *testing.T) {
	wrong := map[string]any{"affinity": map[string]any{"nodeAffinityy": map[string]any{}}, "env": []any{}}
	for version, wants := range map[string]struct {
		severity plan.Severity
		reason   string
	}{
		"v1.34.0":      {plan.Overridable, "its value affinity.nodeAffinityy is no field of Kubernetes', to which istiod 1.29.1 hands it on"},
		"v1.37.9-eks1": {plan.Overridable, "its value affinity.nodeAffinityy is no field of Kubernetes', to which istiod 1.29.1 hands it on"},
		"v1.38.0":      {plan.Warning, "its value affinity.nodeAffinityy is not known to serin, whose list is that of Kubernetes 1.37, and this one is newer"},
		"v2.0.0":       {plan.Warning, "its value affinity.nodeAffinityy is not known to serin, whose list is that of Kubernetes 1.37, and this one is newer"},
	} {
		s := meshtest.Bookinfo("1.27.0").Snapshot()
		s.KubernetesVersion = version
		fs := unread(plan.Build(s, ask(func(r *plan.Request) { r.Values = wrong })))
		for _, w := range []plan.Finding{{Severity: wants.severity, Reason: wants.reason}, {Severity: plan.Overridable, Reason: "its value env is a list, and a map is read there"}} {
			if !slices.ContainsFunc(fs, func(f plan.Finding) bool { return f.Severity == w.Severity && f.Reason == w.Reason }) || len(fs) != 2 {
				t.Errorf("%s: %+v, want %s %s", version, fs, w.Severity, w.Reason)
			}
		}
	}
}
