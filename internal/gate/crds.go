package gate

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

func crds(s mesh.Snapshot) (State, string) {
	if len(s.CRDs) == 0 {
		return Unknown, "no CRD of Istio was seen"
	}
	var not []string
	for _, c := range s.CRDs {
		if !c.Established {
			not = append(not, c.Name)
		}
	}
	if len(not) > 0 {
		return Unknown, fmt.Sprintf("%d of %d CRDs are not established yet: %s", len(not), len(s.CRDs), some(not))
	}
	return Open, fmt.Sprintf("%d CRDs established", len(s.CRDs))
}
