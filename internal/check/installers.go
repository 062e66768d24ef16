package check

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// installers finds what installs Istio by itself and would undo what serin does
// (S-45). What installs a control plane that carries its mark undoes nothing:
// serin waits until it has made the change.
func installers(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, o := range s.Survey.Installers {
		f := Finding{
			codeInstaller, Overridable, strings.ToLower(o.Kind) + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"),
			"it installs Istio (" + o.Note + ") and would undo what serin does", "upgrade through it (--owners git), or suspend it for the time of the upgrade and then write the new revision there",
		}
		if marked(s, o.Kind) {
			f.Severity, f.Reason, f.Remedy = Info, "it installs Istio ("+o.Note+"): serin writes nothing of its own, and waits until it has", "what to commit, a folder a step: serin plan -o patches DIR"
		}
		out = append(out, f)
	}
	return out
}

// marked says whether each control plane carries the mark of the installer's tool.
func marked(s mesh.Snapshot, kind string) bool {
	tool := map[string]mesh.OwnerKind{"Application": mesh.OwnerArgoCD, "HelmRelease": mesh.OwnerFlux, "Istio": mesh.OwnerSail}[kind]
	return tool != "" && len(s.ControlPlanes) > 0 && !slices.ContainsFunc(s.ControlPlanes, func(c mesh.ControlPlane) bool { return c.Owner.Kind != tool })
}
