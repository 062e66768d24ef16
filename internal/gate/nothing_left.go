package gate

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// nothingLeft wants nothing of Istio that could inject, validate or program: CRDs,
// istio-cni, ztunnel and configuration may stay.
func nothingLeft(s mesh.Snapshot) (State, string) {
	var left []string
	for _, c := range s.ControlPlanes {
		left = append(left, "revision "+c.Revision)
	}
	for _, i := range s.Injectors {
		left = append(left, "injector "+i.Name)
	}
	for _, v := range s.Validators {
		left = append(left, "validator "+v.Name)
	}
	for _, t := range s.TagServices {
		left = append(left, "service "+t.Name)
	}
	for _, r := range s.Releases {
		if slices.Contains([]string{"base", "istiod", "gateway"}, r.Chart) {
			left = append(left, "release "+r.Namespace+"/"+r.Name)
		}
	}
	if len(left) > 0 {
		return Shut, fmt.Sprintf("%d are left: %s", len(left), some(left))
	}
	return Open, "no control plane, webhook or release is left"
}
