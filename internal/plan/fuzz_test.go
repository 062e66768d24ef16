package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// FuzzBuild: whatever is asked for, there is a plan that carries its own digest, or
// findings that say why not; and each step can be simulated and taken back.
func FuzzBuild(f *testing.F) {
	for _, s := range []string{
		`{"to":"1.29.1"}`, `{"operation":{"verb":"tag-set"}}`, `{"to":"1.29.1","from":["x"],"waves":[{"namespaces":["default"]},{"percent":50}],"soak":"1s"}`,
		`{"to":"1.29.1","operation":{"verb":"tag-set","tags":["prod"],"revision":"default"}}`,
		`{"operation":{"verb":"uninstall","revision":"default","purge":true}}`, `{"operation":{"verb":"install","chart":"gateway","name":"x","namespace":"y"},"to":"1.29.1"}`,
		`{"operation":{"verb":"move","namespaces":["default"],"to":"canary"}}`, `{"to":"1.29.1","values":{"pilot":{"affinity":{"x":1}}},"windows":[{"days":["mon"],"from":"25:00"}]}`,
	} {
		f.Add(s)
	}
	meshes := []func() *meshtest.World{func() *meshtest.World { return meshtest.Bookinfo("1.27.0") }, canary}
	f.Fuzz(func(t *testing.T, text string) {
		var r plan.Request
		if json.Unmarshal([]byte(text), &r) != nil {
			t.Skip()
		}
		for _, w := range meshes {
			s := w().Snapshot()
			p := plan.Build(s, r)
			if err := plan.Verify(p); err != nil {
				t.Error(err)
			}
			now := s
			for _, st := range p.Steps {
				before := now
				now = plan.Simulate(now, st)
				_ = plan.SimulateUndo(now, st, before)
			}
		}
	})
}
