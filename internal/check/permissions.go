package check

import "github.com/serin-mesh/serin/internal/mesh"

// newSpaces is what only a first installation creates.
const newSpaces = "namespaces"

// permissions asks for what istioctl asks for: the kinds that an installation creates.
func permissions(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, what := range s.Survey.Denied {
		sev := Overridable
		if _, there := s.Namespace(s.IstioNamespace); there && what == newSpaces {
			sev = Info
		}
		out = append(out, Finding{
			codeDenied, sev, "user", "it may not create " + what + ", which an installation does",
			"grant it, or let somebody install who may: serin rbac prints the roles",
		})
	}
	return out
}
