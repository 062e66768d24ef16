package check

import "github.com/serin-mesh/serin/internal/mesh"

// letGo finds pods that a restart has let go and not ended: nothing but a person or the
// next serin ends one whose dead man's switch was never set (S-36).
func letGo(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, p := range s.Pods {
		if p.Detached && !p.Leaving {
			out = append(out, Finding{
				codeLetGo, Warning, "pod " + p.Namespace + "/" + p.Name, "serin has let it go from " + p.Workload.String() + " and not ended it: it serves beside that one's own pods, on revision " + p.Revision,
				"serin resume, if a run is open; else serin restart -n " + p.Namespace + " " + p.Workload.Name + ", or kubectl -n " + p.Namespace + " delete pod " + p.Name + " once its Deployment is available",
			})
		}
	}
	return out
}
