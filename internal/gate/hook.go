package gate

import (
	"fmt"
	"strings"
)

// HookKind says when a user's own hook is asked, or told.
type HookKind string

// The kinds of hooks.
const (
	ConfirmStartHook HookKind = "confirm-start" // before the first step
	ConfirmWaveHook  HookKind = "confirm-wave"  // before each wave
	WaveHook         HookKind = "wave"          // all through a wave's proof
	RollbackHook     HookKind = "rollback"      // while the run goes: yes takes everything back
	EventHook        HookKind = "event"         // told of each line of the run's log
)

// HookKinds lists the kinds.
func HookKinds() []HookKind {
	return []HookKind{ConfirmStartHook, ConfirmWaveHook, WaveHook, RollbackHook, EventHook}
}

// HookAnswer is what a hook said, or why it said nothing.
type HookAnswer struct {
	Name    string   `json:"name"`
	Kind    HookKind `json:"kind"`
	Yes     bool     `json:"yes"`
	Said    string   `json:"said,omitempty"`
	Missing string   `json:"missing,omitempty"` // why there is no answer
}

// Hooked is the kind of the hooks that a gate asks, empty for all other gates.
func Hooked(n Name) HookKind {
	switch n { //nolint:exhaustive // all others ask serin's own evidence
	case ConfirmStart:
		return ConfirmStartHook
	case ConfirmWave:
		return ConfirmWaveHook
	case Wave:
		return WaveHook
	}
	return ""
}

// hooked judges the hooks of a kind. A no shuts where it is about what has moved; before
// that it is waited for until it is a yes. No answer is neither.
func hooked(kind HookKind, answers []HookAnswer) (State, string) {
	var yes, no, missing []string
	for _, a := range answers {
		switch {
		case a.Kind != kind:
		case a.Missing != "":
			missing = append(missing, fmt.Sprintf("%s: %s", a.Name, a.Missing))
		case a.Yes:
			yes = append(yes, fmt.Sprintf("%s: %s", a.Name, a.Said))
		default:
			no = append(no, fmt.Sprintf("%s says no: %s", a.Name, a.Said))
		}
	}
	switch {
	case len(no) > 0 && kind == WaveHook:
		return Shut, some(no)
	case len(no)+len(missing) > 0:
		return Unknown, some(append(no, missing...))
	case len(yes) == 0:
		return Unknown, "no hook of this kind was asked"
	}
	return Open, some(yes)
}

// waits says whether the gate opens in its own time, so that it is waited for as
// long as that takes: a window, or hooks that confirm and have answered no.
func waits(n Name, q Question, ev Evidence) bool {
	if n == Within {
		return len(q.Windows) > 0 && !ev.At.IsZero()
	}
	if n != ConfirmStart && n != ConfirmWave {
		return false
	}
	answered := false
	for _, a := range ev.Hooks {
		if a.Kind == Hooked(n) {
			if a.Missing != "" && !strings.HasPrefix(a.Missing, StillAsked) {
				return false
			}
			answered = answered || a.Missing == ""
		}
	}
	return answered
}

// StillAsked begins why a hook that takes its time has not answered yet.
const StillAsked = "still being asked"
