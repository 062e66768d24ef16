package check

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// readsV1 is the release from which istiod reads networking.istio.io at v1.
const readsV1 = "1.24.0-0"

// definitions finds custom resource definitions that a control plane cannot use.
func definitions(s mesh.Snapshot, q Question) []Finding {
	var out []Finding
	_, base := s.Base()
	newer := q.To != "" && skew.SameOrOlder(readsV1, q.To)
	for _, c := range s.CRDs {
		object := "crd " + c.Name
		if !c.Established {
			out = append(out, Finding{codeNotEstablished, Overridable, object, "it is not established: the API server does not serve it", "see its conditions: kubectl describe crd " + c.Name})
		}
		// Where there is a base release, the plan upgrades it first.
		if newer && !base && readAtV1(c.Name) && !slices.Contains(c.ServedVersions, "v1") {
			out = append(out, Finding{
				codeNotServed, Mandatory, object, "it serves " + orNone(c.ServedVersions) + ", and istiod " + q.To + " reads v1: it would see none of these objects",
				"bring the CRDs to those of " + q.To + " first",
			})
		}
	}
	return out
}

func readAtV1(crd string) bool {
	name, ours := strings.CutSuffix(crd, ".networking.istio.io")
	return ours && slices.Contains([]string{"destinationrules", "gateways", "serviceentries", "sidecars", "virtualservices", "workloadentries", "workloadgroups"}, name)
}
