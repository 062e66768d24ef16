package check

import "github.com/serin-mesh/serin/internal/mesh"

// permissions asks for what istioctl asks for: the kinds that an installation creates.
func permissions(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, what := range s.Survey.Denied {
		out = append(out, Finding{
			codeDenied, Overridable, "user", "it may not create " + what + ", which an installation does",
			"grant it, or let somebody install who may: serin rbac prints the roles",
		})
	}
	return out
}
