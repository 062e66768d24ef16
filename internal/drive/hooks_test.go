package drive_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// answers are hooks that say what a test tells them to.
type answers struct {
	say   func(kind gate.HookKind, about drive.Occasion) gate.HookAnswer
	asked map[gate.HookKind]int
	told  []drive.Occasion
}

func (a *answers) Ask(_ context.Context, kind gate.HookKind, about drive.Occasion) []gate.HookAnswer {
	a.asked[kind]++
	out := a.say(kind, about)
	out.Name, out.Kind = "mine", kind
	return []gate.HookAnswer{out}
}

func (a *answers) Tell(about drive.Occasion) { a.told = append(a.told, about) }

// hooked is a world whose plan has a hook of each kind.
func hooked(t *testing.T, say func(gate.HookKind, drive.Occasion) gate.HookAnswer) (*world, *answers) {
	t.Helper()
	w := newWorld(t, plan.Hold)
	r := w.kept()
	req := r.Plan.Request
	for _, k := range gate.HookKinds() {
		req.Hooks = append(req.Hooks, plan.Hook{Name: string(k), Type: k, URL: "http://gate.example.com/"})
	}
	p := plan.Build(r.Before, req)
	next := run.Start("r1", p, r.Before, "erin", w.now)
	for _, st := range p.Steps {
		next.Approved[st.Number] = "erin"
	}
	w.keep(next)
	a := &answers{say: say, asked: map[gate.HookKind]int{}}
	w.hooks = a
	return w, a
}

func yes(kind gate.HookKind, _ drive.Occasion) gate.HookAnswer {
	return gate.HookAnswer{Yes: kind != gate.RollbackHook, Said: "200 OK"}
}

func TestHooks_eachKindIsAskedAndTold(t *testing.T) {
	w, a := hooked(t, yes)
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Done {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	for _, k := range gate.HookKinds() {
		if (a.asked[k] > 0) != (k != gate.EventHook) {
			t.Errorf("%s was asked %d times", k, a.asked[k])
		}
	}
	if len(a.told) != len(r.Log) {
		t.Errorf("%d of %d lines were told", len(a.told), len(r.Log))
	}
	for i, o := range a.told {
		if o.Message != r.Log[i].What || o.Step != r.Log[i].Step || o.Run != "r1" || !o.At.Equal(r.Log[i].At) {
			t.Errorf("line %d: %+v, want %+v", i, o, r.Log[i])
		}
	}
}

func TestHooks_oneThatSaysYesToRollbackTakesEverythingBack(t *testing.T) {
	w, _ := hooked(t, func(kind gate.HookKind, about drive.Occasion) gate.HookAnswer {
		if kind == gate.RollbackHook && about.Step < 5 {
			return gate.HookAnswer{Yes: true, Missing: "no answer in 10s"} // which takes nothing back
		}
		return gate.HookAnswer{Yes: true, Said: "200 OK"}
	})
	r, err := w.life(t.Context())
	if err != nil || r.Phase != run.Undone || !strings.Contains(r.Cause, "asked by hook mine (200 OK)") {
		t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
	}
	if !slices.Contains(w.deeds, "apply "+string(plan.MoveNamespace)) {
		t.Errorf("only %v was done before", w.deeds)
	}
	w.asBefore()
}

// S-10, S-48: a hook is nobody who has looked. Onto an old revision that is not known to
// be well it takes nothing back, whatever the policy is; a person still may.
func TestHooks_aRollbackGoesOnlyOntoAnOldRevisionThatIsWell(t *testing.T) {
	for name, tt := range map[string]struct {
		lost  error // the old revision is not seen, once the hook has said yes
		sick  bool  // it is, and is not ready
		wish  bool  // a person's, once it is held
		phase run.Phase
		want  string
	}{
		"well":      {phase: run.Undone, want: "asked by hook mine (200 OK)"},
		"not ready": {sick: true, phase: run.Held, want: "asked by hook mine (200 OK); the old revision is unwell: 0 of 2 istiods of default ready (nothing is taken back"},
		"not seen": {
			lost: errors.New("no route to host"), phase: run.Held,
			want: "asked by hook mine (200 OK); the old revision was not seen: no route to host (nothing is taken back",
		},
		"not ready, and a person asks": {sick: true, wish: true, phase: run.Undone, want: "asked by max"},
	} {
		t.Run(name, func(t *testing.T) {
			said := false
			w, _ := hooked(t, func(kind gate.HookKind, about drive.Occasion) gate.HookAnswer {
				if kind == gate.RollbackHook {
					said = said || about.Step > 5
					return gate.HookAnswer{Yes: about.Step > 5, Said: "200 OK"}
				}
				return gate.HookAnswer{Yes: true, Said: "200 OK"}
			})
			w.lost = func(time.Time) error {
				if said {
					return tt.lost
				}
				return nil
			}
			w.drifts = func(s *mesh.Snapshot) {
				for i, c := range s.ControlPlanes {
					if said && tt.sick && c.Revision == mesh.DefaultRevision {
						s.ControlPlanes[i].Ready = 0
					}
				}
			}
			r, err := w.life(t.Context())
			if tt.wish && err == nil && r.Phase == run.Held {
				w.wishes = func(run.Run) run.Wish { return run.Wish{Kind: run.WishRollback, By: "max", Seq: 1} }
				r, err = w.life(t.Context())
			}
			if err != nil || r.Phase != tt.phase || !strings.Contains(r.Cause, tt.want) {
				t.Fatalf("%s because %q, %v", r.Phase, r.Cause, err)
			}
			back := slices.ContainsFunc(w.deeds, func(d string) bool { return strings.HasPrefix(d, "revert ") })
			if back != (tt.phase == run.Undone) {
				t.Errorf("done: %v", w.deeds)
			}
		})
	}
}

func TestHooks_aNoInAWaveHoldsAndNoAnswerOpensNothing(t *testing.T) {
	for want, answer := range map[string]gate.HookAnswer{
		"gate wave is shut: mine says no: 500":           {Said: "500"},
		"not proven after 10m0s: wave unknown (mine: aw": {Yes: true, Missing: "away"},
	} {
		w, _ := hooked(t, func(kind gate.HookKind, about drive.Occasion) gate.HookAnswer {
			if kind == gate.WaveHook {
				return answer
			}
			return yes(kind, about)
		})
		r, err := w.life(t.Context())
		if err != nil || r.Phase != run.Held || !strings.Contains(r.Cause, want) {
			t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
		}
	}
}

// One that confirms and says no is waited for, a whole night if need be.
func TestHooks_aNoThatConfirmsIsWaitedFor(t *testing.T) {
	n := 0
	w, _ := hooked(t, func(kind gate.HookKind, about drive.Occasion) gate.HookAnswer {
		if n++; kind == gate.ConfirmWaveHook && n < 3000 {
			return gate.HookAnswer{Said: "403"}
		}
		return yes(kind, about)
	})
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Done {
		t.Errorf("%s because %q, %v", r.Phase, r.Cause, err)
	}
}

func TestHooks_withNobodyToAskThemNothingOpens(t *testing.T) {
	w, _ := hooked(t, yes)
	w.hooks = nil
	if r, err := w.life(t.Context()); err != nil || r.Phase != run.Held || r.At != 0 || len(w.deeds) > 0 {
		t.Errorf("%s in step %d because %q, %v", r.Phase, r.At+1, r.Cause, err)
	}
}
