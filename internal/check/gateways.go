package check

import (
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// nobodyDeploys finds managed Gateways that no revision owns: they are frozen as
// they are.
func nobodyDeploys(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, g := range s.ManagedGateways {
		if s.GatewayRevision(g) != "" {
			continue
		}
		reason := "it names no revision, its namespace names none, and there is no default one: no istiod programs it"
		if g.Revision != "" {
			reason = "its label " + mesh.RevLabel + "=" + g.Revision + " names nothing: no istiod programs it"
		}
		out = append(out, Finding{codeNobodyDeploys, Warning, "gateway " + g.Namespace + "/" + g.Name, reason, "label it with a revision or a tag that is there, or set the default tag"})
	}
	return out
}

// bugs warns of defects of the releases that this mesh would meet.
func bugs(s mesh.Snapshot, q Question) []Finding {
	if len(s.ManagedGateways) == 0 {
		return nil // the one bug that is known is about them
	}
	versions := []string{q.To}
	for _, rev := range q.From {
		c, _ := s.ControlPlane(rev)
		versions = append(versions, c.Version)
	}
	var out []Finding
	for _, v := range versions {
		for _, b := range skew.Bugs(v) {
			out = append(out, Finding{codeBug, Warning, "version " + v, b.What + " (" + b.Source + ")", "move no tag and no label that a managed Gateway follows by hand"})
		}
	}
	return out
}

// gatewaysUnsure asks what cannot be told of a gateway: serin does not guess.
func gatewaysUnsure(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, g := range s.Gateways() {
		for _, q := range g.Questions {
			out = append(out, Finding{codeGatewayUnsure, Warning, "gateway " + g.Ref.String(), q, "serin gateway list -o yaml shows what is known of it"})
		}
	}
	return out
}
