package plan_test

import (
	"fmt"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// large is a mesh of 500 namespaces, 2,500 workloads and 10,000 pods.
func large() mesh.Snapshot {
	w := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0")
	for i := range 500 {
		ns := fmt.Sprintf("ns-%03d", i)
		w.Namespace(ns, mesh.InjectionLabel, "enabled")
		for j := range 5 {
			name := fmt.Sprintf("app-%d", j)
			w.Deployment(ns, name, meshtest.Service(name), meshtest.Replicas(4))
		}
	}
	return w.Snapshot()
}

func TestBuild_aLargeMesh(t *testing.T) {
	p := plan.Build(large(), probed())
	if want := 3 + 500 + 2*501 + 1 + 500 + 1; len(p.Steps) != want || p.Counts.Proxies != 10000 {
		t.Errorf("%d steps for %+v, want %d", len(p.Steps), p.Counts, want)
	}
}

func BenchmarkBuild(b *testing.B) {
	s, req := large(), probed()
	for b.Loop() {
		plan.Build(s, req)
	}
}

func BenchmarkOrphans(b *testing.B) {
	s := large()
	for b.Loop() {
		s.Orphans()
	}
}
