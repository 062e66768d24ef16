package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// proxySkew finds proxies that no release supports beside their istiod: newer
// than it, or more than two minors older.
func proxySkew(s mesh.Snapshot, q Question) []Finding {
	type pair struct{ proxy, revision string }
	pods := map[pair][]string{}
	for _, p := range s.Pods {
		if p.Revision != "" && p.Version != "" && !p.Leaving {
			pods[pair{p.Version, p.Revision}] = append(pods[pair{p.Version, p.Revision}], p.Namespace+"/"+p.Name)
		}
	}
	var out []Finding
	for _, k := range slices.SortedFunc(maps.Keys(pods), func(a, b pair) int {
		if a.proxy+a.revision < b.proxy+b.revision {
			return -1
		}
		return 1
	}) {
		c, ok := s.ControlPlane(k.revision)
		if !ok {
			continue // the plan says that nothing serves them
		}
		object := fmt.Sprintf("proxies of %s at %s", k.revision, k.proxy)
		switch {
		case q.To != "" && older(q.To, k.proxy):
			out = append(out, Finding{codeProxySkew, Overridable, object, "they are newer than " + q.To + " (" + few(pods[k]) + ")", "go to " + k.proxy + " or newer"})
		case older(c.Version, k.proxy):
			out = append(out, Finding{codeProxySkew, Warning, object, "they are newer than their istiod, " + c.Version + " (" + few(pods[k]) + ")", "restart them, or upgrade that istiod"})
		case skew.MinorsBetween(k.proxy, c.Version) > skew.MaxMinors:
			out = append(out, Finding{
				codeProxySkew, Warning, object, fmt.Sprintf("they are more than %d minor releases behind their istiod, %s (%s)", skew.MaxMinors, c.Version, few(pods[k])),
				"restart them before the upgrade",
			})
		}
	}
	return out
}

func older(a, b string) bool { return skew.SameOrOlder(a, b) && !skew.SameOrOlder(b, a) }

// ownImage finds pods that name their proxy's image: a restart leaves them on it.
func ownImage(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, w := range s.Workloads {
		if image := w.TemplateAnnotations["sidecar.istio.io/proxyImage"]; image != "" {
			out = append(out, Finding{
				codeOwnImage, Warning, "workload " + w.String(), "its annotation sidecar.istio.io/proxyImage names " + image + ": a restart does not upgrade it",
				"take the annotation off, or change it as the workload moves",
			})
		}
	}
	return out
}
