package run

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Lost counts the failed requests of the whole run that nobody has let pass.
func (r Run) Lost() int {
	n := -r.Pardoned
	for _, s := range r.Steps {
		n += s.Failed
	}
	return n
}

// Overspends says whether the run, after so many failed requests more, has cost
// more of them than its request allows.
func (r Run) Overspends(failed int) bool {
	return r.Plan.Request.Budget != nil && r.Lost()+failed > *r.Plan.Request.Budget
}

// overspent is what comes of an event once the budget is spent, in whatever phase;
// false where it is not. What is being taken back goes on being taken back: nothing
// better can be done for those who still lose requests.
func (r Run) overspent(e Event) (Run, Effect, bool) {
	going := r.Phase == Waiting || r.Phase == Applying || r.Phase == Proving
	if !going || !r.Overspends(0) {
		return r, Stop, false
	}
	why := fmt.Sprintf("%s, and the budget of the upgrade is %d", mesh.Count(r.Lost(), "failed request"), *r.Plan.Request.Budget)
	switch {
	case e.Kind == Drifted || e.Kind == Failed && (e.Final || r.Phase != Applying): // it is held for that anyway
		held, do := r.phase(e)
		return held.blame(why), do, true
	case e.Kind == Failed:
		why += "; " + e.Why
	case e.Kind == Applied: // what is done is not to be done again by a resume
		r, _ = r.applying(e)
	}
	next, do := r.shut(e, why)
	return next, do, true
}

// pardon lets pass what a run has lost that is resumed in spite of it.
func (r Run) pardon() (Run, string) {
	if !r.Overspends(0) {
		return r, ""
	}
	lost := r.Lost()
	r.Pardoned += lost
	return r, fmt.Sprintf("; %s so far are let pass, the budget counts anew", mesh.Count(lost, "failed request"))
}
