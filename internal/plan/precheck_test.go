package plan_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// thousand is a mesh of 1,000 workloads in 200 namespaces, with 4,000 pods, that
// somebody looked at closely: 200 EnvoyFilters, annotations everywhere.
func thousand() mesh.Snapshot {
	w := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0")
	for i := range 200 {
		ns := fmt.Sprintf("ns-%03d", i)
		w.Namespace(ns, mesh.InjectionLabel, "enabled")
		for j := range 5 {
			name := fmt.Sprintf("app-%d", j)
			w.Deployment(ns, name, meshtest.Service(name), meshtest.Replicas(4))
		}
	}
	s := w.Snapshot()
	s.Survey = &mesh.Survey{
		Nodes:       &mesh.Nodes{Count: 100, OldestKubelet: "v1.33.1", Free: slices.Repeat([]mesh.Room{{CPU: 4000, Memory: 8192}}, 8)},
		Istiods:     map[string]mesh.Istiod{"default": {Requests: mesh.Room{CPU: 500, Memory: 2048}, Env: map[string]string{}}},
		MeshConfigs: map[string]map[string]any{"default": {}}, Services: []string{"istio-system/istiod"},
		Kinds: []string{"serviceentries.networking.istio.io", "sidecars.networking.istio.io"},
		Texts: map[string][]string{}, Annotations: map[string][]string{},
	}
	for i, n := range s.Namespaces {
		s.Survey.EnvoyFilters = append(s.Survey.EnvoyFilters, mesh.EnvoyFilter{
			Namespace: n.Name, Name: "lua", ProxyVersions: []string{fmt.Sprintf(`^1\.%d.*`, 27+i%4)}, Relative: []string{"INSERT_BEFORE"},
			Types: []string{"envoy.extensions.filters.http.lua.v3.Lua"}, Filters: []string{"envoy.filters.http.lua"},
		})
		s.Survey.Annotations["sidecar.istio.io/logLevel"] = append(s.Survey.Annotations["sidecar.istio.io/logLevel"], "workload "+n.Name+"/app-0")
		for key := range 5 {
			s.Survey.Texts["virtualservices.networking.istio.io mirror"] = append(s.Survey.Texts["virtualservices.networking.istio.io mirror"], fmt.Sprintf("%s/vs-%d", n.Name, key))
		}
	}
	return s
}

func TestPrecheck_aLargeMesh(t *testing.T) {
	p := plan.Precheck(thousand(), plan.PrecheckRequest{Request: plan.Request{To: "1.29.1"}})
	filters := 0
	for _, f := range p.Findings {
		if f.Code == "SRN1305" {
			filters++
		}
	}
	if filters != 51 || len(p.Notes) == 0 { // of 202 namespaces every fourth, and the first
		t.Errorf("%d EnvoyFilters that stop matching, %d notes", filters, len(p.Notes))
	}
	again := plan.Precheck(thousand(), plan.PrecheckRequest{Request: plan.Request{To: "1.29.1"}})
	if len(again.Findings) != len(p.Findings) || !slices.Equal(again.Findings, p.Findings) {
		t.Error("the same mesh is judged the same way")
	}
}

// A mesh of 1,000 workloads, judged: the time, and the memory that is allocated.
//
//	go test ./internal/plan -run '^$' -bench Precheck -benchmem
func BenchmarkPrecheck(b *testing.B) {
	s, req := thousand(), plan.PrecheckRequest{Request: plan.Request{To: "1.29.1"}}
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		plan.Precheck(s, req)
	}
}
