package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// leftAt is a mesh of two revisions in which a run was left: a Gateway of the tag
// prod, frozen, under its private tag, its pods on a revision.
func leftAt(on string, claims ...string) *meshtest.World {
	w := managed(meshtest.Bookinfo("1.27.0").ControlPlane("1-29-1", "1.29.1").Tag("prod", "default").Namespace("edge"), "edge", "public", "prod", on)
	return w.Change(func(s *mesh.Snapshot) {
		tag := mesh.PrivateTag("edge", "public")
		for i := range s.Edge.Gateways {
			if s.Edge.Gateways[i].Name == "public" {
				s.Edge.Gateways[i].Revision, s.Edge.Gateways[i].Frozen, s.Edge.Gateways[i].Stamp = tag, tag, ""
			}
		}
		for i := range s.ManagedGateways {
			s.ManagedGateways[i].Revision = tag
		}
		for _, rev := range claims {
			s.Claims = append(s.Claims, mesh.ClaimOf(tag, rev))
		}
	})
}

func repaired(s mesh.Snapshot, left ...plan.Left) plan.Plan {
	return plan.Build(s, op(plan.Operation{Verb: plan.Repair, Left: left}))
}

func prod() plan.Left {
	own := "prod"
	return plan.Left{Gateway: "edge/public", From: "default", To: "1-29-1", Before: &own, Last: &own}
}

// S-27: what a run has left is mended, whichever part it was left at, and then there
// is nothing to mend.
func TestS27_repair(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    mesh.Snapshot
		left []plan.Left
		want []string
	}{
		{"its pods are where its label leads: it is returned", leftAt("default", "default").Snapshot(), []plan.Left{prod()}, []string{"return-gateway edge/public"}},
		{"the other revision's claim goes, too", leftAt("default", "default", "1-29-1").Snapshot(), []plan.Left{prod()}, []string{"return-gateway edge/public", "drop-claims 1 claim"}},
		{"its pods are elsewhere: they are brought back first", leftAt("1-29-1", "1-29-1").Snapshot(), []plan.Left{prod()}, []string{"move-gateway edge/public", "return-gateway edge/public", "drop-claims 1 claim"}},
		{"claims that nothing follows go", leftAt("default", "default").Change(func(s *mesh.Snapshot) {
			for i := range s.Edge.Gateways {
				s.Edge.Gateways[i].Frozen = ""
				if s.Edge.Gateways[i].Name == "public" {
					s.Edge.Gateways[i].Revision = "prod"
				}
			}
		}).Snapshot(), nil, []string{"drop-claims 1 claim"}},
		{"a freeze that is not serin's stays", leftAt("default").Change(func(s *mesh.Snapshot) {
			for i := range s.Edge.Gateways {
				if s.Edge.Gateways[i].Name == "public" {
					s.Edge.Gateways[i].Revision, s.Edge.Gateways[i].Frozen = "prod", "by-hand"
				}
			}
		}).Snapshot(), nil, nil},
		{
			"S-24: it followed the default, which two revisions claim", leftAt("default", "default").Tag("default", "1-29-1").Snapshot(),
			[]plan.Left{{Gateway: "edge/public", From: "default", To: "1-29-1"}},
			nil,
		},
		{"nobody knows of it, and its pods have no label of its own", leftAt("default", "default").Snapshot(), nil, []string{"return-gateway edge/public"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := repaired(tt.s, tt.left...)
			if d := cmp.Diff(slices.Concat([]string{}, tt.want), kinds(p)); d != "" && len(tt.want)+len(p.Steps) > 0 {
				t.Fatalf("%s\n%+v", d, p.Findings)
			}
			now := tt.s
			for _, st := range p.Steps {
				before := now
				now = plan.Simulate(now, st)
				if m := plan.Missing(now, st); len(m) > 0 {
					t.Errorf("after %s: %v", st.Kind, m)
				}
				if by := programmedAs(before); st.Kind == plan.ReturnGateway && !slices.Contains(by, st.To) {
					t.Errorf("before its return %v program it, not %s", by, st.To)
				}
			}
			if again := repaired(now, tt.left...); len(again.Steps) > 0 {
				t.Errorf("done again: %v", kinds(again))
			}
			if len(tt.want) == 0 && len(p.Findings) == 0 {
				t.Error("that nothing is done has no reason")
			}
		})
	}
}

func programmedAs(s mesh.Snapshot) []string {
	g, _ := s.GatewayObject("edge", "public")
	return s.Programmers(g)
}

// A repair learns the labels from the plans of stored runs.
func TestS27_whatARunLeaves(t *testing.T) {
	p := plan.Build(three().Snapshot(), renderedRequest(nil))
	left := plan.LeftOf(p)
	if len(left) != 3 {
		t.Fatalf("%+v %+v", left, p.Findings)
	}
	for _, l := range left {
		if l.From != "default" || l.To != "1-29-1" {
			t.Errorf("%+v", l)
		}
	}
}

// S-32: a release is renewed by itself where it rests, and not while it serves.
func TestS32_aDrainedGatewayIsRenewed(t *testing.T) {
	rest := func(n int) mesh.Snapshot {
		return twoGateways().Change(func(s *mesh.Snapshot) {
			for i := range s.Workloads {
				if s.Workloads[i].Name == "istio-ingress" {
					s.Workloads[i].Replicas, s.Workloads[i].Ready = n, n
				}
			}
			for i := range s.Releases {
				if s.Releases[i].Name == "istio-ingress" {
					s.Releases[i].Values = map[string]any{"revision": "default"}
				}
			}
		}).Snapshot()
	}
	o := plan.Operation{Verb: plan.GatewayRenew, Namespace: "istio-ingress", Name: "istio-ingress", Revision: "1-29-1"}
	p := plan.Build(rest(0), plan.Request{Operation: &o})
	if len(p.Steps) != 1 || p.Steps[0].Kind != plan.RenewGateway || p.Steps[0].Version != "1.29.1" || p.Steps[0].Release.Values["revision"] != "1-29-1" {
		t.Fatalf("%+v %+v", p.Steps, p.Findings)
	}
	if p := plan.Build(rest(1), plan.Request{Operation: &o}); len(p.Steps) > 0 {
		t.Errorf("it serves: %+v", p.Steps)
	} else if f, ok := code(p, "SRN1404"); !ok || f.Severity != plan.Mandatory {
		t.Errorf("%+v", p.Findings)
	}
}

// S-34: what a killed gateway logs has left is removed, that one and no other; one
// whose command runs stays.
func TestS34_whatAKilledCommandLeavesIsRemoved(t *testing.T) {
	s := leftAt("default").Snapshot()
	s.Edge.Gateways, s.ManagedGateways, s.Claims = nil, nil, nil
	s.Telemetries = []mesh.Telemetry{
		{Namespace: "edge", Name: "serin-logs-a", UID: "1", Left: true},
		{Namespace: "edge", Name: "serin-logs-b", UID: "2"},
		{Namespace: "shop", Name: "serin-logs-a", UID: "3", Left: true},
	}
	p := repaired(s)
	if d := cmp.Diff([]string{"drop-telemetry 2 Telemetries"}, kinds(p)); d != "" {
		t.Fatalf("%s\n%+v", d, p.Findings)
	}
	if m := plan.Missing(s, p.Steps[0]); len(m) != 2 {
		t.Errorf("before: %v", m)
	}
	after := plan.Simulate(s, p.Steps[0])
	if len(after.Telemetries) != 1 || after.Telemetries[0].UID != "2" || len(plan.Missing(after, p.Steps[0])) > 0 {
		t.Errorf("after: %+v", after.Telemetries)
	}
	s.Telemetries[0].UID = "4" // made again meanwhile, by a command that runs
	if later := plan.Simulate(s, p.Steps[0]); len(later.Telemetries) != 2 {
		t.Errorf("another of its name went, too: %+v", later.Telemetries)
	}
	if again := repaired(after); len(again.Steps) > 0 {
		t.Errorf("done again: %v", kinds(again))
	}
}
