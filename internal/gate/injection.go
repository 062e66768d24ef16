package gate

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

// agreeing is how many dry-run pods must say the same: API servers learn of a
// moved label or webhook one after the other (S-8).
const agreeing = 2

// injection wants, for each namespace, at least two dry-run pods that agree (S-8).
// What is wrong in one namespace is not hidden by what is unknown in another. One whose
// workloads in question are gone has nobody left to ask for.
func injection(q Question, ev Evidence) (State, string) {
	if len(q.Namespaces) == 0 {
		return Unknown, "no namespace to ask about"
	}
	unknown := ""
	var deserted []string
	for _, ns := range q.Namespaces {
		if q.Deserted(ns, ev.Snapshot) {
			deserted = append(deserted, ns)
			continue
		}
		switch state, why := injected(ns, q, ev); {
		case state == Shut:
			return Shut, why
		case state == Unknown && unknown == "":
			unknown = why
		}
	}
	if unknown != "" {
		return Unknown, unknown
	}
	reason := fmt.Sprintf("two dry-run pods in each of %d namespaces are injected by %s", len(q.Namespaces)-len(deserted), q.Revision)
	if len(deserted) > 0 {
		reason += "; not asked, since the workloads that were in question are gone: " + some(deserted)
	}
	return Open, reason
}

// injected judges the dry-run pods of one namespace.
func injected(ns string, q Question, ev Evidence) (State, string) {
	n, refused := 0, ""
	for _, d := range ev.DryRuns {
		switch {
		case d.Namespace != ns:
		case d.Error != "":
			refused = "a dry-run pod in " + ns + " was refused: " + d.Error
		case d.Revision != q.Revision || d.Proxies != 1:
			return Shut, fmt.Sprintf("a dry-run pod in %s got %d proxies of revision %q, not one of %s", ns, d.Proxies, d.Revision, q.Revision)
		default:
			n++
		}
	}
	switch {
	case refused != "":
		return Unknown, refused
	case n < agreeing:
		return Unknown, fmt.Sprintf("%d dry-run pods in %s, %d are needed", n, ns, agreeing)
	}
	return Open, ""
}

// Deserted says whether nothing is left in a namespace of the workloads for whose own
// labels' sake it is asked about: a plain pod of it, which no label of the namespace
// leads anywhere, would say nothing of them (S-9).
func (q Question) Deserted(namespace string, s mesh.Snapshot) bool {
	if ns, _ := s.Namespace(namespace); len(s.Namespaces) == 0 || ns.Labelled() {
		return false // not seen, or a plain pod tells
	}
	asked := false
	for _, ref := range q.Workloads {
		if ref.Namespace != namespace {
			continue
		}
		if _, there := s.Workload(ref); there {
			return false
		}
		asked = true
	}
	return asked
}
