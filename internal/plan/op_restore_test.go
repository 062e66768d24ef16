package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// keptOp brings back a revision of Helm's that a run has removed.
func keptOp(rev, version string) plan.Operation {
	name := mesh.IstiodName(rev)
	return plan.Operation{Verb: plan.Install, Chart: "istiod", Revision: rev, FromRun: "run-1", Kept: &plan.Kept{
		Plane:   mesh.ControlPlane{Revision: rev, Version: version, Namespace: "istio-system", Name: name, Replicas: 1, Ready: 1, Owner: mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/" + name}},
		Release: &mesh.Release{Namespace: "istio-system", Name: name, Chart: "istiod", Version: version},
	}}
}

func TestRestore(t *testing.T) {
	only := func() *meshtest.World {
		return meshtest.New().Base("1.29.1", "1-29-1").ControlPlane("1-29-1", "1.29.1").Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart")
	}
	for name, tt := range map[string]struct {
		world *meshtest.World
		op    plan.Operation
		want  []string
		stops []string
	}{
		"beside what is there":                   {canary(), keptOp("old", "1.28.0"), []string{"restore-revision old"}, nil},
		"what is there already is not made":      {canary(), keptOp("1-29-1", "1.29.1"), []string{}, nil},
		"another version of it is in the way":    {canary(), keptOp("1-29-1", "1.28.0"), []string{}, []string{"SRN1206 revision 1-29-1"}},
		"S-1 the default behind its tag":         {only().Tag("default", "1-29-1"), keptOp("default", "1.27.0"), []string{"restore-revision default"}, nil},
		"its release's name is taken by another": {canary().Change(takenName), keptOp("old", "1.28.0"), []string{}, []string{"SRN1206 release istio-system/istiod-old"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.world.Snapshot()
			p := plan.Build(s, op(tt.op))
			if d := cmp.Diff(tt.want, kinds(p)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.stops, inTheWay(p), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			for _, st := range p.Steps {
				if more := added(s.Orphans(), plan.Simulate(s, st).Orphans()); len(more) > 0 {
					t.Errorf("with it %v", more)
				}
				if d := plan.Drift(plan.Simulate(s, st), plan.Simulate(s, st), p); len(d) > 0 {
					t.Error(d)
				}
			}
		})
	}
}

func takenName(s *mesh.Snapshot) {
	s.Releases = append(s.Releases, mesh.Release{Namespace: "istio-system", Name: "istiod-old", Chart: "istiod", Version: "1.20.0", Status: "deployed"})
}
