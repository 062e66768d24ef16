package check

import (
	"cmp"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// notes are the upgrade notes that fire. Those that do not, or of which nothing
// can be told, are Notes' to list.
func notes(s mesh.Snapshot, q Question) []Finding {
	var out []Finding
	for _, n := range Notes(s, q) {
		if n.Answer == skew.Fires {
			out = append(out, Finding{n.Code, Severity(n.Weight), "version " + q.To, strings.TrimSuffix(n.What+" ("+n.Why+")", " ()"), n.Remedy})
		}
	}
	return out
}

// Notes judges every upgrade note between the oldest version that is left and the target.
func Notes(s mesh.Snapshot, q Question) []skew.Noted {
	if q.To == "" {
		return nil
	}
	from := q.From
	if len(from) == 0 {
		from = s.Revisions()
	}
	oldest := ""
	for _, rev := range from {
		if c, ok := s.ControlPlane(rev); ok && (oldest == "" || skew.SameOrOlder(c.Version, oldest)) {
			oldest = c.Version
		}
	}
	return skew.Notes(cmp.Or(q.Since, oldest), q.To, from, s)
}

// unseen says what could not be looked at: no news is not good news.
func unseen(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, u := range s.Survey.Unseen {
		what, why, _ := strings.Cut(u, ": ")
		remedy := "see why the API server does not list it, or take its definition away"
		if why == "not permitted" {
			remedy = "grant the right to list it; serin rbac --read-only prints the role"
		}
		out = append(out, Finding{codeUnseen, Warning, what, "could not be looked at: " + why, remedy})
	}
	return out
}
