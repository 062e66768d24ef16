package drive_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// S-8: the way back restarts nothing before two dry-run pods agree that what it has led
// back is injected by the old revision again. An API server that hears of the label late
// would give the restart pods of the revision they are to leave, which ends it half way.
func TestS8_theWayBackWaitsForAgreeingDryRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		late  int  // looks in which a pod is answered as before, once a label or a tag has gone back
		half  bool // only one of the two is
		noted bool
	}{
		"at once":                  {},
		"one look late":            {late: 1},
		"one of two API servers":   {late: 3, half: true},
		"never, and it still ends": {late: 1000, noted: true},
	} {
		for _, shutAt := range []int{5, 7} { // after a restart of a namespace's; after the tag has moved
			t.Run(fmt.Sprintf("%s, from step %d", name, shutAt), func(t *testing.T) {
				w := newWorld(t, plan.Rollback)
				w.shut, w.shutAt = gate.Requests, shutAt
				left, wrong, looks := 0, "", 0
				w.deed = func(st plan.Step) error {
					if w.kept().Phase != run.Undoing {
						return nil
					}
					switch st.Kind { //nolint:exhaustive // what leads, and what follows
					case plan.MoveNamespace, plan.MoveTag:
						left, wrong = tt.late, st.To
					case plan.Restart, plan.FirstPods:
						if left > 0 && !tt.noted {
							return fmt.Errorf("%w: its new pods are not on revision %s", drive.ErrRefused, st.From)
						}
					}
					return nil
				}
				w.lags = func(ev *gate.Evidence) {
					if w.kept().Phase != run.Undoing {
						return
					}
					looks++
					if left == 0 {
						return
					}
					left--
					for i := range ev.DryRuns {
						if !tt.half || i%2 == 1 {
							ev.DryRuns[i].Revision = wrong
						}
					}
				}
				r, err := w.life(t.Context())
				if err != nil || r.Phase != run.Undone {
					t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
				}
				w.asBefore()
				if looks == 0 {
					t.Error("nobody has looked")
				}
				noted := false
				for _, l := range r.Log {
					noted = noted || strings.Contains(l.What, "not seen to inject default again: a dry-run pod in default got 1 proxies of revision")
				}
				if noted != tt.noted {
					t.Errorf("noted %v: %+v", noted, r.Log)
				}
			})
		}
	}
}
