package check

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// external finds control planes that are not where their proxies are: serin would
// see only half of the mesh (S-19). Shapes that objects of their own show, as
// remote secrets do, are the plan's to refuse.
func external(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, in := range s.Injectors {
		i := slices.IndexFunc(in.Webhooks, func(w mesh.Webhook) bool { return strings.Contains(w.Service, "://") })
		if i >= 0 && !in.IsOff() {
			out = append(out, Finding{
				codeUnsupported, Mandatory, "injector " + in.Name, "it calls " + in.Webhooks[i].Service + ": its control plane is outside of this cluster",
				"serin does not support this yet: upgrade by hand",
			})
		}
	}
	if s.Survey == nil {
		return out
	}
	for _, c := range s.ControlPlanes {
		if s.Survey.Istiods[c.Revision].Env["EXTERNAL_ISTIOD"] == "true" {
			out = append(out, Finding{
				codeUnsupported, Mandatory, "revision " + c.Revision, "it is an external istiod: it serves proxies of other clusters, which serin does not see",
				"serin does not support this yet: upgrade by hand",
			})
		}
	}
	return out
}
