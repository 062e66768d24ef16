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

// frozenTooLong finds Gateways that serin has frozen and nobody has returned since:
// their new listeners wait, and nobody notices by themselves (S-27).
func frozenTooLong(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, g := range s.Edge.Gateways {
		if g.Overdue && g.OfGatewayAPI() {
			out = append(out, Finding{
				codeFrozen, Warning, g.String(), "it is frozen since " + g.Since + ", for longer than an upgrade takes: what has changed of its listeners since then waits",
				"let the open run end (serin resume, or serin rollback); serin repair where none is open",
			})
		}
	}
	return out
}

// leftTelemetries finds what a gateway logs that was killed has left: access logs are
// written, and nobody reads them (S-34).
func leftTelemetries(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, t := range s.LeftTelemetries() {
		out = append(out, Finding{codeLeftTelemetry, Warning, t.String(), "a command that was killed has left it, " + t.Typed() + ": the gateway's pods go on writing access logs by it", "serin repair"})
	}
	return out
}
