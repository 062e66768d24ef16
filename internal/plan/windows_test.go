package plan_test

import (
	"slices"
	"strings"
	"testing"
	_ "time/tzdata" // the zones, where the machine has none

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func windowed(waves ...plan.Wave) plan.Plan {
	return plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), plan.Request{
		To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}, Waves: waves,
		Windows: []gate.Hours{{Days: []string{"mon"}, From: "09:00", To: "17:00", Zone: "Europe/Berlin"}},
	})
}

func TestWindows_whatMovesSomethingWaitsForThem(t *testing.T) {
	waits := []plan.Kind{plan.MoveNamespace, plan.FirstPods, plan.Restart, plan.MoveTag, plan.RemoveRevision}
	seen := map[plan.Kind]bool{}
	for _, st := range windowed().Steps {
		seen[st.Kind] = true
		if got, want := slices.Contains(st.Needs, gate.Within), slices.Contains(waits, st.Kind); got != want {
			t.Errorf("step %d, %s: %v", st.Number, st.Kind, st.Needs)
		}
		if slices.Contains(st.Proof, gate.Within) {
			t.Errorf("step %d, %s: its proof waits for a window", st.Number, st.Kind)
		}
		if got, want := len(st.Question.Windows) > 0, slices.Contains(waits, st.Kind); got != want {
			t.Errorf("step %d, %s: asked about %v", st.Number, st.Kind, st.Question.Windows)
		}
	}
	if !seen[plan.MoveNamespace] || !seen[plan.Restart] || !seen[plan.PinDefault] || !seen[plan.InstallRevision] {
		t.Errorf("the plan is not the one that is meant: %v", seen)
	}
}

func TestWindows_aWavesOwnComeInsteadOfTheRequests(t *testing.T) {
	night := []gate.Hours{{From: "22:00", To: "04:00"}}
	p := windowed(plan.Wave{Workloads: []string{"default/details-v1"}, Windows: night})
	for _, st := range p.Steps {
		if !slices.Contains(st.Needs, gate.Within) {
			continue
		}
		own := st.Kind == plan.MoveNamespace || st.Target == "Deployment default/details-v1" || st.Target == "default/details-v1"
		if d := cmp.Diff(night, st.Question.Windows); (d == "") != own {
			t.Errorf("step %d, %s %s: %v", st.Number, st.Kind, st.Target, st.Question.Windows)
		}
	}
}

func TestWindows_whatCannotBeReadStopsThePlan(t *testing.T) {
	p := windowed(plan.Wave{Namespaces: []string{"default"}, Windows: []gate.Hours{{From: "22:00", To: "04:00"}, {From: "22:00", To: "04:00", Zone: "Berlin"}}})
	if len(p.Steps) > 0 {
		t.Errorf("%d steps", len(p.Steps))
	}
	if !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool {
		return f.Code == "SRN1071" && f.Object == "wave 1" && strings.HasPrefix(f.Reason, `window 2 cannot be read: "Berlin" is no time zone`)
	}) {
		t.Errorf("%+v", p.Findings)
	}
}

func TestBudget_withoutAProbeItIsRefused(t *testing.T) {
	n := 5
	p := plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), plan.Request{To: "1.29.1", Budget: &n, IgnoreChecks: []string{"SRN1060"}})
	if len(p.Steps) > 0 || !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1070" }) {
		t.Errorf("%d steps, %+v", len(p.Steps), p.Findings)
	}
}
