package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// The patience of the machine.
const (
	maxTries  = 3           // of a deed that fails
	maxBreaks = 4           // of a proof, past its patience: what flaps is not proven
	settling  = time.Minute // after a deed, in which gates other than requests may be shut
)

// Start returns the run of a plan on the mesh as it is.
func Start(id string, p plan.Plan, before mesh.Snapshot, by string, at time.Time) Run {
	r := Run{ID: id, Plan: p, Before: before, Phase: Waiting, By: by, Started: at, Steps: make([]Record, len(p.Steps)), Approved: map[int]string{}}
	r = r.log(at, "started by "+by)
	if len(p.Steps) == 0 {
		r.Phase, r.Ended = Done, at
	}
	return r
}

// Next is the whole state machine: one small function for each phase.
func Next(r Run, e Event) (Run, Effect) {
	r.Steps, r.Approved, r.Undo = slices.Clone(r.Steps), maps.Clone(r.Approved), slices.Clone(r.Undo)
	if r.At < len(r.Steps) {
		r.Steps[r.At].Sent += e.Sent
		r.Steps[r.At].Failed += e.Failed
	}
	for _, n := range e.Notes {
		r = r.log(e.At, Noted+n)
	}
	if e.Kind == Wished {
		return r.wished(e)
	}
	if next, do, over := r.overspent(e); over {
		return next, do
	}
	return r.phase(e)
}

func (r Run) phase(e Event) (Run, Effect) {
	switch r.Phase {
	case Waiting:
		return r.waiting(e)
	case Applying:
		return r.applying(e)
	case Proving:
		return r.proving(e)
	case Undoing:
		return r.undoing(e)
	case Held, Done, Undone:
	}
	return r, Stop
}

// effect is what a phase asks for when nothing new has happened.
func (r Run) effect() Effect {
	switch r.Phase {
	case Waiting, Proving:
		return Observe
	case Applying:
		if r.Awaits() {
			return Await
		}
		return Apply
	case Undoing:
		switch {
		case r.Paused:
			return Observe
		case r.Awaits():
			return Await
		}
		return Revert
	case Held, Done, Undone:
	}
	return Stop
}

// Awaits says whether the run waits for Git: the step is there to be made, or
// taken back, and serin writes nothing of it (S-45).
func (r Run) Awaits() bool {
	return (r.Phase == Applying || r.Phase == Undoing) && r.At < len(r.Plan.Steps) && r.step().ByGit()
}

// Arrived judges whether what the run waits for has come from Git. Nothing is
// missing any more, or it is unknown when it comes: it is never bad news.
func (r Run) Arrived(now mesh.Snapshot) gate.Verdict {
	missing := plan.Missing(now, r.step())
	if r.Phase == Undoing {
		missing = plan.MissingBack(now, r.step(), r.Before)
	}
	if len(missing) > 0 {
		return gate.Verdict{Gate: gate.Git, State: gate.Unknown, Reason: strings.Join(missing, "; ")}
	}
	return gate.Verdict{Gate: gate.Git, State: gate.Open, Reason: "the mesh is as committed"}
}

func (r Run) waiting(e Event) (Run, Effect) {
	switch e.Kind {
	case Drifted:
		return r.hold(e.At, "the mesh was changed by somebody else: "+strings.Join(e.Drift, "; "))
	case Judged:
		r.Verdicts = e.Verdicts
		if r.Paused || !r.allOpen(e.Verdicts) {
			return r.missing(e)
		}
		rec := &r.Steps[r.At]
		rec.State, rec.Verdicts = "applying", e.Verdicts
		if rec.Started.IsZero() {
			rec.Started = e.At
		}
		r.Tries, r.OpenSince, r.ClosedSince, r.Since = 0, time.Time{}, time.Time{}, e.At
		r = r.askedBefore(e).to(Applying)
		if r.Awaits() {
			r.Verdicts = nil
			return r.log(e.At, "waiting for Git: "+plan.Commit(r.step(), false)), Await
		}
		return r.log(e.At, "applying"), Apply
	case Failed:
		return r.hold(e.At, e.Why)
	case Began: // nobody watched meanwhile: what was judged then says nothing now
		r.ClosedSince, r.Verdicts = time.Time{}, nil
	case Applied, Reverted, Wished:
	}
	return r, Observe
}

// askedBefore logs what others said before the step: its record keeps what comes after.
func (r Run) askedBefore(e Event) Run {
	for _, v := range e.Verdicts {
		if v.Gate == gate.Prove || gate.Hooked(v.Gate) != "" {
			r = r.log(e.At, string(v.Gate)+": "+v.Reason)
		}
	}
	return r
}

// missing waits for what a step needs, as long as the patience lasts. A person may
// take any time to say yes, or to let a paused run go on; a window opens when it does.
func (r Run) missing(e Event) (Run, Effect) {
	for _, v := range e.Verdicts {
		if v.Gate == gate.Prove && v.State == gate.Shut && !r.Paused { // asked more than once already: time does not mend it
			return r.hold(e.At, "gate "+string(v.Gate)+" is shut: "+v.Reason)
		}
	}
	switch {
	case r.Paused || Outside(e.Verdicts) || r.asksOnly(e.Verdicts):
		r.ClosedSince = time.Time{}
	case r.ClosedSince.IsZero():
		r.ClosedSince = e.At
	case e.At.Sub(r.ClosedSince) >= r.patience():
		return r.hold(e.At, "not begun after "+r.patience().String()+": "+closed(e.Verdicts))
	}
	return r, Observe
}

func (r Run) applying(e Event) (Run, Effect) {
	if r.Awaits() {
		return r.awaiting(e)
	}
	switch e.Kind {
	case Applied:
		r.Tries, r.Breaks, r.Since, r.Verdicts = 0, 0, e.At, nil
		return r.to(Proving).log(e.At, "applied, proving"), Observe
	case Failed:
		r.Tries++
		r = r.log(e.At, "failed: "+e.Why)
		switch {
		case e.Final: // nothing was done that must be taken back at once: a person looks first
			return r.hold(e.At, e.Why)
		case r.Tries < maxTries && !e.Slow:
			return r, Apply
		}
		return r.shut(e, e.Why)
	case Began, Judged, Drifted, Reverted, Wished: // taken up after a crash: the deed is idempotent
	}
	return r, Apply
}

// awaiting is applying, or undoing, where Git does it: a person commits whenever
// they like, so that there is no patience to run out of and no deed to try again.
func (r Run) awaiting(e Event) (Run, Effect) {
	switch e.Kind {
	case Failed: // the mesh could not be looked at for long
		return r.hold(e.At, e.Why)
	case Judged:
		r.Verdicts = e.Verdicts
		switch {
		case !r.allOpen(e.Verdicts):
			return r, r.effect()
		case r.Phase == Undoing:
			return r.takenBack(e.At, "taken back from Git")
		}
		r.Tries, r.Breaks, r.Since, r.Verdicts = 0, 0, e.At, nil
		return r.to(Proving).log(e.At, "come from Git, proving"), Observe
	case Began, Applied, Reverted, Drifted, Wished:
	}
	return r, r.effect()
}

func (r Run) proving(e Event) (Run, Effect) {
	switch e.Kind {
	case Judged:
		return r.judged(e)
	case Failed:
		return r.hold(e.At, e.Why)
	case Began: // nobody watched meanwhile: neither the soak nor the patience may count that time
		r.OpenSince, r.ClosedSince, r.Since = time.Time{}, time.Time{}, e.At
	case Drifted, Applied, Reverted, Wished:
	}
	return r, Observe
}

func (r Run) judged(e Event) (Run, Effect) {
	r.Verdicts = e.Verdicts
	rec := &r.Steps[r.At]
	rec.Verdicts = e.Verdicts
	if r.allOpen(e.Verdicts) {
		r.ClosedSince = time.Time{}
		if r.OpenSince.IsZero() {
			r.OpenSince = e.At
		}
		if e.At.Sub(r.OpenSince) < time.Duration(r.step().Soak) || r.Paused {
			return r, Observe
		}
		return r.proven(e.At)
	}
	if !r.OpenSince.IsZero() {
		r.Breaks++
	}
	r.OpenSince = time.Time{}
	if r.ClosedSince.IsZero() {
		r.ClosedSince = e.At
	}
	if v, ok := r.bad(e); ok {
		return r.shut(e, "gate "+string(v.Gate)+" is shut: "+v.Reason)
	}
	switch {
	case e.At.Sub(r.ClosedSince) >= r.patience():
		return r.hold(e.At, "not proven after "+r.patience().String()+": "+closed(e.Verdicts))
	case r.Breaks >= maxBreaks && e.At.Sub(r.Since) >= r.patience(): // it would never run out of patience
		return r.hold(e.At, fmt.Sprintf("not proven after %s, its gates open and close again, %d times: %s", e.At.Sub(r.Since).Round(time.Second), r.Breaks, closed(e.Verdicts)))
	}
	return r, Observe
}

// bad is the first verdict that is bad news: of requests at once, of the others when
// what has just been done has had its time to settle.
func (r Run) bad(e Event) (gate.Verdict, bool) {
	settled := e.At.Sub(r.Since) >= min(settling, r.patience())
	i := slices.IndexFunc(e.Verdicts, func(v gate.Verdict) bool {
		return v.State == gate.Shut && (v.Gate == gate.Requests || settled)
	})
	if i < 0 {
		return gate.Verdict{}, false
	}
	return e.Verdicts[i], true
}

// proven ends a step.
func (r Run) proven(at time.Time) (Run, Effect) {
	rec := &r.Steps[r.At]
	rec.State, rec.Ended = "done", at
	r.OpenSince, r.ClosedSince, r.Verdicts = time.Time{}, time.Time{}, nil
	r = r.log(at, "done")
	if r.At == len(r.Plan.Steps)-1 {
		r.Ended = at
		return r.to(Done), Stop
	}
	r.At++
	return r.to(Waiting), Observe
}

func (r Run) undoing(e Event) (Run, Effect) {
	if r.Awaits() && len(r.Undo) > 0 {
		return r.awaiting(e)
	}
	switch e.Kind {
	case Reverted:
		return r.takenBack(e.At, "taken back")
	case Failed:
		r.Tries++
		r = r.log(e.At, "taking back failed: "+e.Why)
		if !e.Final && !e.Slow && r.Tries < maxTries {
			return r, r.effect()
		}
		return r.hold(e.At, e.Why)
	case Began, Judged, Drifted, Applied, Wished: // taken up after a crash: the inverse is idempotent
	}
	if len(r.Undo) == 0 {
		return r.nextUndo(e.At)
	}
	return r, r.effect()
}

// takenBack ends the undo of a step.
func (r Run) takenBack(at time.Time, how string) (Run, Effect) {
	r.Tries, r.Verdicts = 0, nil
	rec := &r.Steps[r.At]
	rec.State, rec.Ended = "undone", at
	r = r.log(at, how)
	if len(r.Undo) > 0 {
		r.Undo = r.Undo[1:]
	}
	return r.nextUndo(at)
}

// nextUndo goes to the next step to take back, or ends.
func (r Run) nextUndo(at time.Time) (Run, Effect) {
	if len(r.Undo) == 0 {
		r.Ended = at
		return r.to(Undone).log(at, "rolled back"), Stop
	}
	r.At = r.Undo[0]
	r = r.to(Undoing)
	if r.Awaits() && r.step().Undo.Nothing { // nobody is asked to revert what stays
		return r.takenBack(at, "taken back: "+r.step().Undo.What)
	}
	if r.Awaits() {
		r = r.log(at, "waiting for Git: "+plan.Commit(r.step(), true))
	}
	return r, r.effect()
}

// rollback takes back everything that was applied, or may have been.
func (r Run) rollback(at time.Time, why string) (Run, Effect) {
	r = r.blame(why)
	back, not := r.undoable()
	if not != "" {
		return r.hold(at, not)
	}
	r.Undo, r.Paused, r.Tries, r.Verdicts, r.OpenSince = back, false, 0, nil, time.Time{}
	r.Ended = time.Time{} // one that was done is open again
	return r.log(at, "taking everything back: "+why).nextUndo(at)
}

// Back are the steps that a rollback would take back, by their place in the plan and
// in its order; or why it would hold instead.
func (r Run) Back() ([]int, string) {
	if r.Phase == Undoing {
		return slices.Clone(r.Undo), ""
	}
	return r.undoable()
}

func (r Run) undoable() ([]int, string) {
	var applied []int
	for i, rec := range r.Steps {
		if rec.State != "applying" && rec.State != "done" {
			continue
		}
		if irreversible := r.Plan.Steps[i].Undo.Irreversible; irreversible != "" {
			return nil, fmt.Sprintf("step %d (%s) cannot be taken back: %s", i+1, r.Plan.Steps[i].Kind, irreversible)
		}
		applied = append(applied, i)
	}
	return plan.UndoOrder(r.Plan, applied), ""
}

// shut decides what bad news means: hold, or undo once if the request says so
// and the old revision is known to be well now (S-48).
func (r Run) shut(e Event, why string) (Run, Effect) {
	if r.Plan.Request.OnShut != plan.Rollback {
		return r.hold(e.At, why)
	}
	return r.back(e, why)
}

// back takes everything back that nobody has asked for, if the old revision is known
// to be well now (S-10, S-48), and holds otherwise.
func (r Run) back(e Event, why string) (Run, Effect) {
	unwell := gate.OldUnwell(e.Verdicts)
	if e.Old.State == gate.Open && !unwell {
		return r.rollback(e.At, why)
	}
	if e.Old.State != gate.Open && e.Old.Reason != "" {
		why += "; " + e.Old.Reason
	}
	return r.hold(e.At, why+" (nothing is taken back onto a revision that is not known to be well)")
}

func (r Run) hold(at time.Time, why string) (Run, Effect) {
	r = r.blame(why)
	if r.Phase != Held { // a rollback that is refused must not forget where a resume leads
		r.HeldFrom = r.Phase
	}
	return r.to(Held).log(at, "held: "+why), Stop
}

// Expected is the mesh as the run should find it: as it was, and the steps that are done.
func (r Run) Expected() mesh.Snapshot {
	s := r.Before.Clone()
	for i, rec := range r.Steps {
		if rec.State == "done" {
			s = plan.Simulate(s, r.Plan.Steps[i])
		}
	}
	return s
}

// Gates are those that the phase asks for.
func (r Run) Gates() []gate.Name {
	switch r.Phase {
	case Waiting:
		return r.step().Needs
	case Proving:
		return r.step().Proof
	case Applying, Undoing:
		if r.Awaits() {
			return []gate.Name{gate.Git}
		}
	case Held, Done, Undone:
	}
	return nil
}

// patience is how long what a step needs, or its proof, may stay unknown.
func (r Run) patience() time.Duration { return r.Plan.Request.Waits() }

func (r Run) step() plan.Step { return r.Plan.Steps[r.At] }

func (r Run) to(p Phase) Run {
	r.Phase = p
	return r
}

func (r Run) log(at time.Time, what string) Run {
	n := 0
	if r.At < len(r.Plan.Steps) {
		n = r.step().Number
	}
	r.Log = append(slices.Clone(r.Log), Entry{At: at, Step: n, What: what})
	return r
}

func (r Run) blame(why string) Run {
	if r.Cause != "" && why != "" {
		r.Cause += "; then " + why
	} else if why != "" {
		r.Cause = why
	}
	return r
}

// allOpen says whether each gate of the phase was judged, and each verdict is
// Open: a gate that is missing has not opened (S-47).
func (r Run) allOpen(vs []gate.Verdict) bool {
	return r.allAre(vs, func(v gate.Verdict) bool { return v.State == gate.Open })
}

// Asks says whether a gate, as it was judged last, asks for a person's word.
func (r Run) Asks() bool {
	return slices.ContainsFunc(r.Verdicts, func(v gate.Verdict) bool { return v.Asks })
}

// Outside says whether a step waits for the hours in which it may begin: until then
// nothing else needs to be ready, and nobody's patience runs out.
func Outside(vs []gate.Verdict) bool {
	return slices.ContainsFunc(vs, func(v gate.Verdict) bool { return v.Gate == gate.Within && v.State != gate.Open })
}

// asksOnly says whether all that is missing is a person's word, or comes in its own time.
func (r Run) asksOnly(vs []gate.Verdict) bool {
	return r.allAre(vs, func(v gate.Verdict) bool { return v.State == gate.Open || v.Asks || v.Waits || v.Gate == gate.Approval })
}

func (r Run) allAre(vs []gate.Verdict, well func(gate.Verdict) bool) bool {
	judged := map[gate.Name]bool{}
	for _, v := range vs {
		if !well(v) {
			return false
		}
		judged[v.Gate] = true
	}
	return !slices.ContainsFunc(r.Gates(), func(n gate.Name) bool { return !judged[n] })
}

func closed(vs []gate.Verdict) string {
	var out []string
	for _, v := range vs {
		if v.State != gate.Open {
			out = append(out, string(v.Gate)+" "+string(v.State)+" ("+v.Reason+")")
		}
	}
	return strings.Join(out, ", ")
}
