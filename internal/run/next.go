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

// Event is what the shell saw or did, and when.
type Event struct {
	Kind     EventKind
	At       time.Time
	Why      string         // of bad news
	Final    bool           // Failed: trying again is no use
	Verdicts []gate.Verdict // Judged
	Drift    []string       // Drifted
	Wish     Wish           // Wished
	Sent     int            // Judged: serin's own requests since the step began
	Failed   int
}

// EventKind is the part of an Event that Next decides on.
type EventKind string

// The events of a run.
const (
	Began    EventKind = "began"   // a process took the run up, for the first time or again
	Judged   EventKind = "judged"  // the gates of the phase were judged
	Drifted  EventKind = "drifted" // somebody changed what the run relies on
	Applied  EventKind = "applied"
	Reverted EventKind = "reverted"
	Failed   EventKind = "failed" // a deed or its inverse
	Wished   EventKind = "wished" // a person asked for something
)

// Effect is the one thing the shell must do next.
type Effect string

// The effects Next can ask for.
const (
	Observe Effect = "observe" // judge the gates of the phase
	Apply   Effect = "apply"
	Revert  Effect = "revert"
	Stop    Effect = "stop"
)

// The patience of the machine.
const (
	maxTries  = 3                // of a deed that fails
	settling  = time.Minute      // after a deed, in which gates other than requests may be shut
	unknowing = 10 * time.Minute // after which a proof that stays unknown holds the run
)

// Start returns the run of a plan on the mesh as it is.
func Start(id string, p plan.Plan, before mesh.Snapshot, by string, at time.Time) Run {
	r := Run{ID: id, Plan: p, Before: before, Phase: Waiting, By: by, Started: at, Steps: make([]Record, len(p.Steps)), Approved: map[int]string{}}
	return r.log(at, "started by "+by)
}

// Next is the whole state machine: one small function for each phase.
func Next(r Run, e Event) (Run, Effect) {
	r.Steps, r.Approved, r.Undo = slices.Clone(r.Steps), maps.Clone(r.Approved), slices.Clone(r.Undo)
	if e.Kind == Wished {
		return r.wished(e)
	}
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
		return Apply
	case Undoing:
		return Revert
	case Held, Done, Undone:
	}
	return Stop
}

func (r Run) waiting(e Event) (Run, Effect) {
	switch e.Kind {
	case Drifted:
		return r.hold(e.At, "the mesh was changed by somebody else: "+strings.Join(e.Drift, "; "))
	case Judged:
		r.Verdicts = e.Verdicts
		if r.Paused || !allOpen(e.Verdicts) {
			return r, Observe
		}
		rec := &r.Steps[r.At]
		rec.State, rec.Verdicts = "applying", e.Verdicts
		if rec.Started.IsZero() {
			rec.Started = e.At
		}
		r.Tries, r.OpenSince, r.Since = 0, time.Time{}, e.At
		return r.to(Applying).log(e.At, "applying"), Apply
	case Began, Applied, Reverted, Failed, Wished:
	}
	return r, Observe
}

func (r Run) applying(e Event) (Run, Effect) {
	switch e.Kind {
	case Applied:
		r.Tries, r.Since, r.Verdicts = 0, e.At, nil
		return r.to(Proving).log(e.At, "applied, proving"), Observe
	case Failed:
		r.Tries++
		r = r.log(e.At, "failed: "+e.Why)
		if !e.Final && r.Tries < maxTries {
			return r, Apply
		}
		return r.shut(e.At, e.Why, false)
	case Began, Judged, Drifted, Reverted, Wished: // taken up after a crash: the deed is idempotent
	}
	return r, Apply
}

func (r Run) proving(e Event) (Run, Effect) {
	if e.Kind != Judged {
		return r, Observe
	}
	r.Verdicts = e.Verdicts
	rec := &r.Steps[r.At]
	rec.Verdicts, rec.Sent, rec.Failed = e.Verdicts, e.Sent, e.Failed
	if allOpen(e.Verdicts) {
		if r.OpenSince.IsZero() {
			r.OpenSince = e.At
		}
		if e.At.Sub(r.OpenSince) < time.Duration(r.step().Soak) || r.Paused {
			return r, Observe
		}
		return r.proven(e.At)
	}
	r.OpenSince = time.Time{}
	for _, v := range e.Verdicts {
		if v.State == gate.Shut && (v.Gate == gate.Requests || e.At.Sub(r.Since) >= settling) {
			return r.shut(e.At, "gate "+string(v.Gate)+" is shut: "+v.Reason, gate.OldUnwell(e.Verdicts))
		}
	}
	if e.At.Sub(r.Since) >= unknowing {
		return r.hold(e.At, "not proven after "+unknowing.String()+": "+closed(e.Verdicts))
	}
	return r, Observe
}

// proven ends a step.
func (r Run) proven(at time.Time) (Run, Effect) {
	rec := &r.Steps[r.At]
	rec.State, rec.Ended = "done", at
	r.OpenSince, r.Verdicts = time.Time{}, nil
	r = r.log(at, "done")
	if r.At == len(r.Plan.Steps)-1 {
		r.Ended = at
		return r.to(Done), Stop
	}
	r.At++
	return r.to(Waiting), Observe
}

func (r Run) undoing(e Event) (Run, Effect) {
	switch e.Kind {
	case Reverted:
		r.Tries = 0
		rec := &r.Steps[r.At]
		rec.State, rec.Ended = "undone", e.At
		r = r.log(e.At, "taken back")
		if len(r.Undo) > 0 {
			r.Undo = r.Undo[1:]
		}
		return r.nextUndo(e.At)
	case Failed:
		r.Tries++
		r = r.log(e.At, "taking back failed: "+e.Why)
		if !e.Final && r.Tries < maxTries {
			return r, Revert
		}
		return r.hold(e.At, e.Why)
	case Began, Judged, Drifted, Applied, Wished: // taken up after a crash: the inverse is idempotent
	}
	if len(r.Undo) == 0 {
		return r.nextUndo(e.At)
	}
	return r, Revert
}

// nextUndo goes to the next step to take back, or ends.
func (r Run) nextUndo(at time.Time) (Run, Effect) {
	if len(r.Undo) == 0 {
		r.Ended = at
		return r.to(Undone).log(at, "rolled back"), Stop
	}
	r.At = r.Undo[0]
	return r.to(Undoing), Revert
}

// rollback takes back everything that was applied, or may have been.
func (r Run) rollback(at time.Time, why string) (Run, Effect) {
	r = r.blame(why)
	var applied []int
	for i, rec := range r.Steps {
		if rec.State != "applying" && rec.State != "done" {
			continue
		}
		if irreversible := r.Plan.Steps[i].Undo.Irreversible; irreversible != "" {
			return r.hold(at, fmt.Sprintf("step %d (%s) cannot be taken back: %s", i+1, r.Plan.Steps[i].Kind, irreversible))
		}
		applied = append(applied, i)
	}
	r.Undo, r.Paused, r.Tries, r.Verdicts, r.OpenSince = plan.UndoOrder(r.Plan, applied), false, 0, nil, time.Time{}
	return r.log(at, "taking everything back: "+why).nextUndo(at)
}

// shut decides what bad news means: hold, or undo once if the request says so
// and the old revision is well (S-48).
func (r Run) shut(at time.Time, why string, oldUnwell bool) (Run, Effect) { //nolint:revive // a fact, not a mode
	if r.Plan.Request.OnShut == plan.Rollback && !oldUnwell {
		return r.rollback(at, why)
	}
	if oldUnwell {
		why += " (the old revision is unwell: nothing is taken back onto it)"
	}
	return r.hold(at, why)
}

func (r Run) hold(at time.Time, why string) (Run, Effect) {
	r = r.blame(why)
	r.HeldFrom = r.Phase
	return r.to(Held).log(at, "held: "+why), Stop
}

func (r Run) wished(e Event) (Run, Effect) {
	w := e.Wish
	r.WishSeq = max(r.WishSeq, w.Seq)
	if r.Phase == Done || r.Phase == Undone {
		return r, Stop
	}
	r = r.log(e.At, string(w.Kind)+" by "+w.By)
	switch w.Kind {
	case WishPause:
		r.Paused = true
	case WishResume:
		r.Paused = false
		if r.Phase == Held {
			r.Cause, r.Tries, r.Since, r.OpenSince = "", 0, e.At, time.Time{}
			r = r.to(r.HeldFrom)
		}
	case WishApprove:
		if r.Approved == nil {
			r.Approved = map[int]string{}
		}
		r.Approved[w.Step] = w.By
	case WishAbort:
		if r.Phase != Held {
			return r.hold(e.At, "aborted by "+w.By)
		}
	case WishRollback:
		if r.Phase != Undoing {
			return r.rollback(e.At, "asked by "+w.By)
		}
	}
	return r, r.effect()
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
	case Applying, Undoing, Held, Done, Undone:
	}
	return nil
}

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

func allOpen(vs []gate.Verdict) bool {
	return !slices.ContainsFunc(vs, func(v gate.Verdict) bool { return v.State != gate.Open })
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
