package check

import "github.com/serin-mesh/serin/internal/mesh"

// rehearsals lists the copies that a rehearsal made and did not remove: one that
// is under way now, or one whose serin was killed or told to keep them. Their pods
// rely on a revision, and do what the originals do.
func rehearsals(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, ns := range s.Namespaces {
		if of := ns.Labels[mesh.RehearsalLabel]; of != "" {
			out = append(out, Finding{
				codeRehearsal, Warning, "namespace " + ns.Name, "it holds copies of the workloads of " + of + ", which a rehearsal has made: they do what the originals do",
				"wait for it to end, or serin rehearse --remove " + of,
			})
		}
	}
	return out
}
