package run

import (
	"fmt"
	"time"
)

// wished lets a person have their way. After the end only a rollback is left.
func (r Run) wished(e Event) (Run, Effect) { //nolint:cyclop // a case a wish
	w := e.Wish
	r.WishSeq = max(r.WishSeq, w.Seq)
	if r.Phase == Undone || r.Phase == Done && w.Kind != WishRollback {
		return r, Stop
	}
	pardon := ""
	if w.Kind == WishResume && r.Phase == Held && r.HeldFrom != Undoing {
		r, pardon = r.pardon()
	}
	r = r.log(e.At, w.what()+" by "+w.By+pardon)
	switch w.Kind {
	case WishPause:
		r.Paused = true
	case WishResume:
		r.Paused = false
		if r.Phase == Held {
			r.Tries, r.Breaks, r.Since, r.OpenSince, r.ClosedSince = 0, 0, e.At, time.Time{}, time.Time{}
			if r.HeldFrom != Undoing { // why it is taken back stays true
				r.Cause = ""
			}
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
		switch {
		case r.Phase == Undoing:
		case w.Recalled: // nobody has looked
			e.Verdicts = r.Verdicts
			return r.back(e, "asked by "+w.By)
		default:
			return r.rollback(e.At, "asked by "+w.By)
		}
	}
	return r, r.effect()
}

// what a wish asks for, in the log's words.
func (w Wish) what() string {
	if w.Kind == WishApprove {
		return fmt.Sprintf("%s step %d", w.Kind, w.Step)
	}
	return string(w.Kind)
}
