package gate

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Foresight is what the new revision was asked before anything moves: the pods it
// would inject, the objects it would refuse, the configuration it would send.
type Foresight struct {
	Workloads int          `json:"workloads"`
	Objects   int          `json:"objects"`
	Resources int          `json:"resources,omitempty"` // of a Gateway's proxies, on either side
	Istiods   int          `json:"istiods,omitempty"`   // that were asked, each by itself, where that is more than one of them
	Expected  int          `json:"expected"`            // differences that a rule explains
	Later     int          `json:"later,omitempty"`     // workloads that the steps which move them compare
	Found     []Difference `json:"found,omitempty"`
}

// Difference is one that no rule explains.
type Difference struct {
	Pattern   string `json:"pattern,omitempty"` // by which it can be accepted; what was refused or not answered has none
	What      string `json:"what"`
	Dangerous bool   `json:"dangerous,omitempty"`
}

// foreseen is shut by what is dangerous, and asks about what is unexplained. What
// the request accepts by its pattern is neither.
func foreseen(q Question, ev Evidence) (State, string) {
	if ev.Foresight == nil {
		return Unknown, "the new revision was not asked"
	}
	dangers, open := ev.Foresight.left(q.Accept)
	where := "serin prove --revision " + q.Revision + " shows all"
	switch {
	case len(dangers) > 0:
		return Shut, fmt.Sprintf("dangerous: %s; %s", named(dangers), where)
	case len(open) > 0 && ev.Approved[q.Step] == "":
		return Unknown, fmt.Sprintf("unexplained: %s; %s, approving step %d says that it may be", named(open), where, q.Step)
	}
	f := ev.Foresight
	out := fmt.Sprintf("%s and %s put before %s", mesh.Count(f.Workloads, "workload"), mesh.Count(f.Objects, "object"), q.Revision)
	if f.Expected > 0 {
		out += fmt.Sprintf(", %s expected", mesh.Count(f.Expected, "difference"))
	}
	if f.Later > 0 {
		out += fmt.Sprintf(", %s to be compared as they move", mesh.Count(f.Later, "Gateway"))
	}
	if n := len(f.Found) - len(open); n > 0 {
		out += fmt.Sprintf(", %d accepted", n)
	}
	if len(open) > 0 {
		out += fmt.Sprintf(", %d approved by %s", len(open), ev.Approved[q.Step])
	}
	return Open, out
}

// first names one of several: each is long.
func first(words []string) string {
	if len(words) > 1 {
		return fmt.Sprintf("%s, and %d more", words[0], len(words)-1)
	}
	return words[0]
}

// left are the differences that nobody has accepted: the dangerous and the unexplained.
func (f Foresight) left(accepted []string) ([]Difference, []Difference) {
	var dangers, unexplained []Difference
	for _, d := range f.Found {
		switch {
		case d.Pattern != "" && slices.Contains(accepted, d.Pattern):
		case d.Dangerous:
			dangers = append(dangers, d)
		default:
			unexplained = append(unexplained, d)
		}
	}
	return dangers, unexplained
}

// Stops are the differences for which a move must not go on, the dangerous first: in
// the midst of a deed nobody is asked, so what is unexplained must have been accepted.
func (f Foresight) Stops(accepted []string) []Difference {
	dangers, unexplained := f.left(accepted)
	return append(dangers, unexplained...)
}

// named names one of several: each is long.
func named(ds []Difference) string {
	words := make([]string, len(ds))
	for i, d := range ds {
		words[i] = d.What
	}
	return first(words)
}

// asks says whether a person's word is all that keeps the gate from opening.
func asks(n Name, q Question, ev Evidence) bool {
	if n == Approval || n != Prove || ev.Foresight == nil {
		return n == Approval
	}
	dangers, open := ev.Foresight.left(q.Accept)
	return len(dangers) == 0 && len(open) > 0
}
