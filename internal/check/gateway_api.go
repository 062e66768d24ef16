package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

const gatewayGroup = ".gateway.networking.k8s.io"

// gatewayServed looks for the versions that istiod reads: v1beta1 by every
// release, v1 by those to come.
func gatewayServed(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	needs := []struct {
		version  string
		kinds    []string
		severity Severity
	}{
		{"v1beta1", []string{"gateways", "gatewayclasses", "httproutes", "referencegrants"}, Overridable},
		{"v1", []string{"gateways", "gatewayclasses", "httproutes", "grpcroutes"}, Warning},
	}
	var out []Finding
	for _, c := range s.Survey.GatewayAPI {
		kind := strings.TrimSuffix(c.Name, gatewayGroup)
		for _, n := range needs {
			if slices.Contains(n.kinds, kind) && !slices.Contains(c.ServedVersions, n.version) {
				out = append(out, Finding{
					codeGatewayServed, n.severity, "crd " + c.Name, fmt.Sprintf("it serves %s and not %s", orNone(c.ServedVersions), n.version),
					"install a newer release of the Gateway API's definitions",
				})
			}
		}
	}
	return out
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// gatewayBundle compares each definition's bundle with what the releases read:
// istiod ignores a definition outside of it, and all objects of the kind, without a word.
func gatewayBundle(s mesh.Snapshot, q Question) []Finding {
	if s.Survey == nil || q.To == "" {
		return nil
	}
	var out []Finding
	for _, c := range s.Survey.GatewayAPI {
		for _, b := range skew.Bundles(q.To) {
			if b.CRD == c.Name {
				out = append(out, bundleOf(s, q, c, b)...)
			}
		}
	}
	return out
}

func bundleOf(s mesh.Snapshot, q Question, c mesh.CRD, b skew.Bundle) []Finding {
	object := "crd " + c.Name
	reads, err := b.Reads(c.Bundle)
	if err != nil {
		return []Finding{{
			codeGatewayBundle, Warning, object, fmt.Sprintf("its bundle version %q cannot be read: whether Istio %s reads it cannot be told", c.Bundle, q.To),
			"install a released bundle of the Gateway API",
		}}
	}
	if reads {
		return nil
	}
	remedy := "install a bundle of the Gateway API of at least " + b.Min
	if b.Max != "" {
		remedy = "install a bundle of the Gateway API of at most " + b.Max
	}
	sev := Warning
	if slices.Contains(s.Survey.Kinds, c.Name) {
		sev = Overridable // there are objects, which would be lost from sight
	}
	if high := highest(s, q, c.Name); high != "" && b.Min != "" && skew.SameOrOlder(high, b.Min) && high != b.Min {
		remedy = fmt.Sprintf("no bundle suits both releases (the old reads up to %s, the new from %s): upgrade the patch of the old one first, or do without the kind meanwhile", high, b.Min)
	}
	return []Finding{{codeGatewayBundle, sev, object, fmt.Sprintf("it is of bundle %s, which Istio %s ignores, with every object of the kind", c.Bundle, q.To), remedy}}
}

// highest is the newest bundle that the releases to be left read of the kind.
func highest(s mesh.Snapshot, q Question, crd string) string {
	out := ""
	for _, rev := range q.From {
		p, _ := s.ControlPlane(rev)
		for _, b := range skew.Bundles(p.Version) {
			if b.CRD == crd && b.Max != "" && (out == "" || skew.SameOrOlder(b.Max, out)) {
				out = b.Max
			}
		}
	}
	return out
}
