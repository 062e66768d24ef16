// Package run is the upgrade's state machine: Next decides, the shells do. The
// CLI and the controller drive the same Next; neither adds a rule to it.
//
// It is part of the pure core: time comes in with events. Start reading at Next.
package run

import (
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Phase is where the run stands with its current step.
type Phase string

// The phases of a run.
const (
	Waiting  Phase = "Waiting"  // the step's Needs gates are not all open
	Applying Phase = "Applying" // the deed may or may not have reached the cluster
	Proving  Phase = "Proving"  // applied; its Proof gates are watched, for Soak
	Undoing  Phase = "Undoing"  // the deed's inverse may or may not have reached the cluster
	Held     Phase = "Held"     // a person must decide: resume, rollback or abort
	Done     Phase = "Done"
	Undone   Phase = "Undone" // everything that could be taken back was
)

// Run is a plan and how far it has come. It is stored before each effect and
// holds all that a resume or an undo needs (S-50).
type Run struct {
	ID          string         `json:"id"`
	Plan        plan.Plan      `json:"plan"`
	Before      mesh.Snapshot  `json:"before"` // the mesh when the run began: every old value
	At          int            `json:"at"`     // index of the current step
	Phase       Phase          `json:"phase"`
	HeldFrom    Phase          `json:"heldFrom,omitempty"`   // the phase a resume goes back to
	Undo        []int          `json:"undo,omitempty"`       // indices of the steps still to take back, the next one first
	Paused      bool           `json:"paused,omitempty"`     // asked by a person: no new deed is begun
	Cause       string         `json:"cause,omitempty"`      // why it is Held, Undoing or Undone; later bad news is added, nothing dropped
	By          string         `json:"by"`                   // who started it
	Approved    map[int]string `json:"approved,omitempty"`   // step number -> who
	Steps       []Record       `json:"steps"`                // one for each step of the plan
	Verdicts    []gate.Verdict `json:"verdicts,omitempty"`   // of the gates last judged
	OpenSince   time.Time      `json:"openSince,omitzero"`   // since when all Proof gates have been open without a break
	ClosedSince time.Time      `json:"closedSince,omitzero"` // since when not all of them have been
	Started     time.Time      `json:"started"`
	Ended       time.Time      `json:"ended,omitzero"`
	Log         []Entry        `json:"log,omitempty"`      // what happened, oldest first, for the report
	WishSeq     int64          `json:"wishSeq,omitempty"`  // the last wish taken
	Tries       int            `json:"tries,omitempty"`    // of the current deed, failed
	Since       time.Time      `json:"since,omitzero"`     // when the current phase of the step began
	Breaks      int            `json:"breaks,omitempty"`   // how often the Proof gates have closed again since then
	Pardoned    int            `json:"pardoned,omitempty"` // failed requests in spite of which a person has resumed the run: the budget counts from there
}

// Record is what is known of one step of the run.
type Record struct {
	State    string         `json:"state,omitempty"` // "", applying, done, undone
	Started  time.Time      `json:"started,omitzero"`
	Ended    time.Time      `json:"ended,omitzero"`
	Verdicts []gate.Verdict `json:"verdicts,omitempty"` // when it was let through, or last
	Sent     int            `json:"sent"`               // serin's own requests while the step was current, being taken back too
	Failed   int            `json:"failed"`
}

// Entry is one line of a run's log.
type Entry struct {
	At   time.Time `json:"at"`
	Step int       `json:"step"` // number, 0 for the run itself
	What string    `json:"what"`
}

// Noted begins the lines of a run's log that a deed had to say beside its end.
const Noted = "note: "

// WishKind is what a person may ask of a run.
type WishKind string

// The wishes.
const (
	WishPause    WishKind = "pause"
	WishResume   WishKind = "resume"
	WishApprove  WishKind = "approve"
	WishAbort    WishKind = "abort"    // stop here and leave things as they are: the run is Held for good unless resumed or rolled back
	WishRollback WishKind = "rollback" // take everything back
)

// Wish is one wish and whose it is. The zero Wish is none.
type Wish struct {
	Kind WishKind `json:"kind,omitempty"`
	By   string   `json:"by,omitempty"`
	Step int      `json:"step,omitempty"` // approve: which step
	Seq  int64    `json:"seq,omitempty"`  // grows with each wish; the run keeps the last it has taken
	// Recalled is rollback asked by a hook: nobody has looked, so that it goes only onto
	// an old revision that is well.
	Recalled bool `json:"-"`
}
