package check

import (
	"cmp"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// From these on istiod makes sidecars native, and nodes run them.
const (
	nativeIstio   = "1.27.0-0"
	nativeKubelet = "1.33.0-0"
	nativeEnv     = "ENABLE_NATIVE_SIDECARS"
)

// native finds sidecars that become native as their pods restart, because the
// nodes were upgraded after they had been injected. Where the release itself
// brings native sidecars its upgrade note says it.
func native(s mesh.Snapshot, q Question) []Finding {
	v := s.Survey
	if v == nil || v.Nodes == nil || len(v.PlainProxies) == 0 || !skew.SameOrOlder(nativeIstio, q.To) || !skew.SameOrOlder(nativeKubelet, v.Nodes.OldestKubelet) {
		return nil
	}
	for _, rev := range q.From {
		c, _ := s.ControlPlane(rev)
		set := cmp.Or(v.Istiods[rev].Env[nativeEnv], "auto")
		if !skew.SameOrOlder(nativeIstio, c.Version) || !slices.Contains([]string{"auto", "true"}, set) {
			return nil
		}
	}
	return []Finding{{
		codeNative, Warning, "workload " + few(slices.Clone(v.PlainProxies)), "its sidecar is a plain container, and becomes a native one as it restarts: every node can run it",
		"see that other webhooks, policies and scripts find istio-proxy among init containers; " + nativeEnv + "=false on the new istiod keeps it plain",
	}}
}
