package gate

import "fmt"

// agreeing is how many dry-run pods must say the same: API servers learn of a
// moved label or webhook one after the other (S-8).
const agreeing = 2

// injection wants, for each namespace, at least two dry-run pods that agree (S-8).
// What is wrong in one namespace is not hidden by what is unknown in another.
func injection(q Question, ev Evidence) (State, string) {
	if len(q.Namespaces) == 0 {
		return Unknown, "no namespace to ask about"
	}
	unknown := ""
	for _, ns := range q.Namespaces {
		n := 0
		for _, d := range ev.DryRuns {
			switch {
			case d.Namespace != ns:
			case d.Error != "":
				unknown = "a dry-run pod in " + ns + " was refused: " + d.Error
			case d.Revision != q.Revision || d.Proxies != 1:
				return Shut, fmt.Sprintf("a dry-run pod in %s got %d proxies of revision %q, not one of %s", ns, d.Proxies, d.Revision, q.Revision)
			default:
				n++
			}
		}
		if n < agreeing && unknown == "" {
			unknown = fmt.Sprintf("%d dry-run pods in %s, %d are needed", n, ns, agreeing)
		}
	}
	if unknown != "" {
		return Unknown, unknown
	}
	return Open, fmt.Sprintf("two dry-run pods in each of %d namespaces are injected by %s", len(q.Namespaces), q.Revision)
}
