package plan_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// Outside istio-system the default tag's injector has a suffix that elections do not
// look for: whoever makes it is told that it claims no locks (R§4).
func TestS04_theDefaultTagClaimsNoLocksOutsideIstioSystem(t *testing.T) {
	const words = "claims no locks"
	tagless := func(ns string) mesh.Snapshot {
		return meshtest.New().In(ns).Base("1.27.0", mesh.DefaultRevision).ControlPlane(mesh.DefaultRevision, "1.27.0").
			Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Service("cart")).Snapshot()
	}
	for ns, want := range map[string]bool{"istio-system": false, "mesh-system": true} {
		p := plan.Build(tagless(ns), probed())
		if pin := stepOf(p, plan.PinDefault); pin.Kind == "" || strings.Contains(pin.Why, words) != want {
			t.Errorf("%s: the upgrade's pin says %q; that it %s is %v", ns, pin.Why, words, want)
		}
		said := false
		for _, f := range plan.Build(tagless(ns), op(plan.Operation{Verb: plan.TagSet, Tags: []string{mesh.DefaultTag}, Revision: mesh.DefaultRevision})).Findings {
			said = said || f.Code == "SRN1207" && strings.Contains(f.Reason, words)
		}
		if said != want {
			t.Errorf("%s: tag set finds SRN1207: %v, want %v", ns, said, want)
		}
	}
}
