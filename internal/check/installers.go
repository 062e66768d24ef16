package check

import (
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// installers finds what installs Istio by itself and would undo what serin does (S-45).
func installers(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, o := range s.Survey.Installers {
		out = append(out, Finding{
			codeInstaller, Overridable, strings.ToLower(o.Kind) + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"),
			"it installs Istio (" + o.Note + ") and would undo what serin does", "upgrade through it, or suspend it for the time of the upgrade and then write the new revision there",
		})
	}
	return out
}
