package run

import (
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// Event is what the shell saw or did, and when.
type Event struct {
	Kind     EventKind
	At       time.Time
	Why      string         // of bad news
	Final    bool           // Failed: it was refused, trying again is no use
	Slow     bool           // Failed: it did not come to its end, in time or at what it saw, and is not tried once more
	Notes    []string       // what a deed had to say beside its end, or was done beside the step
	Verdicts []gate.Verdict // Judged
	Old      gate.Verdict   // of the revisions an undo would go back to, where there is bad news (S-48)
	Drift    []string       // Drifted
	Wish     Wish           // Wished
	Sent     int            // serin's own requests that ended since the last event, whatever the phase
	Failed   int            // of those
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
	Failed   EventKind = "failed" // a deed or its inverse; or the mesh could not be looked at for long
	Wished   EventKind = "wished" // a person asked for something
)

// Effect is the one thing the shell must do next.
type Effect string

// The effects Next can ask for.
const (
	Observe Effect = "observe" // judge the gates of the phase
	Await   Effect = "await"   // wait until Git has made, or taken back, what the step changes, and judge that
	Apply   Effect = "apply"
	Revert  Effect = "revert"
	Stop    Effect = "stop"
)
