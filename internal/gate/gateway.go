package gate

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Parity is a comparison of what gateways' pods serve, by their own config dumps.
type Parity struct {
	Old     string   `json:"old"`   // pod compared with
	New     int      `json:"new"`   // pods compared
	Facts   int      `json:"facts"` // listeners, routes and certificates of the old one
	Missing []string `json:"missing,omitempty"`
	Extra   []string `json:"extra,omitempty"`
}

// Answers is a comparison of what pods answer to requests sent straight to them,
// one for each host, port and path.
type Answers struct {
	Old        string   `json:"old"`
	Asked      int      `json:"asked"` // that the old one answered
	Differ     []string `json:"differ,omitempty"`
	Unanswered []string `json:"unanswered,omitempty"` // by the old one, and why: they say nothing of the new ones
	Mute       []string `json:"mute,omitempty"`       // what no request can be sent to, and why
}

// parity wants the new pods to serve what the old ones do (S-29): a route, a
// listener or a certificate that one lacks is found before a client meets it.
func parity(p *Parity) (State, string) {
	switch {
	case p == nil || p.New == 0 || p.Facts == 0:
		return Unknown, "nothing was compared"
	case len(p.Missing) > 0:
		return Shut, fmt.Sprintf("%s lack what %s has: %s", mesh.Count(p.New, "pod"), p.Old, some(p.Missing))
	case len(p.Extra) > 0:
		return Shut, fmt.Sprintf("%s have what %s has not: %s", mesh.Count(p.New, "pod"), p.Old, some(p.Extra))
	}
	return Open, fmt.Sprintf("%s serve the same as %s: %d listeners, routes and certificates", mesh.Count(p.New, "pod"), p.Old, p.Facts)
}

// answers wants each request answered as by the old pod. Where there is nothing that a
// request could be sent to, that they serve the same is all that can be shown.
func answers(a *Answers, p *Parity) (State, string) {
	switch {
	case a == nil || a.Asked+len(a.Unanswered)+len(a.Mute) == 0:
		return Unknown, "nothing was asked"
	case len(a.Differ) > 0:
		return Shut, some(a.Differ)
	case a.Asked == 0 && len(a.Unanswered) > 0:
		return Unknown, a.Old + " answers nothing that it could be compared by: " + some(a.Unanswered)
	case a.Asked == 0:
		state, reason := parity(p)
		return state, "nothing can be asked (" + some(a.Mute) + "): " + reason
	}
	out := fmt.Sprintf("%s answered as by %s", mesh.Count(a.Asked, "request"), a.Old)
	if left := append(slices.Clone(a.Unanswered), a.Mute...); len(left) > 0 {
		out += "; not compared: " + some(left)
	}
	return Open, out
}
