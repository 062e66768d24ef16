package plan

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
)

// withinHours lets a step that moves something, or takes the old revision away,
// begin only in its windows: those of its wave, or the request's. One that has
// begun is proven whatever the time, and taking back waits for no window.
func (b *builder) withinHours(st *Step) {
	if !st.restarts() && st.Kind != MoveNamespace && st.Kind != MoveTag && st.Kind != RemoveRevision {
		return
	}
	if len(st.Question.Windows) == 0 {
		st.Question.Windows = b.req.Windows
	}
	if len(st.Question.Windows) > 0 {
		st.Needs = append(slices.Clone(st.Needs), gate.Within)
	}
}

// judgeWindows refuses hours that cannot be read.
func (b *builder) judgeWindows(object string, windows []gate.Hours) {
	for i, w := range windows {
		if err := w.Check(); err != nil {
			b.find(codeWindow, Mandatory, object, fmt.Sprintf("window %d cannot be read: %v", i+1, err), "mend the request's windows")
		}
	}
}
