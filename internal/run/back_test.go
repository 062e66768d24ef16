package run_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// What a rollback is said to take back is what it takes back, or why it holds.
func TestBackIsWhatARollbackDoes(t *testing.T) {
	steps := []plan.Step{
		{Number: 1, Kind: plan.InstallRevision, Undo: plan.Undo{What: "uninstall"}},
		{Number: 2, Kind: plan.Restart, UndoFirst: 1, Undo: plan.Undo{What: "restart"}},
		{Number: 3, Kind: plan.MoveTag, Undo: plan.Undo{What: "move back"}},
	}
	final := append([]plan.Step{}, steps...)
	final[1].Undo = plan.Undo{Irreversible: "its labels lead there"}
	for name, tt := range map[string]struct {
		steps  []plan.Step
		states []string
		want   []int
		not    string
	}{
		"all of a finished run, a restart after what it waits for": {steps: steps, states: []string{"done", "done", "done"}, want: []int{2, 0, 1}},
		"what may have reached the cluster too":                    {steps: steps, states: []string{"done", "applying", ""}, want: []int{0, 1}},
		"nothing that was not begun":                               {steps: steps, states: []string{"", "", ""}},
		"nothing at all where a step cannot be taken back":         {steps: final, states: []string{"done", "done", ""}, not: "step 2 (restart-workloads) cannot be taken back: its labels lead there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run.Run{ID: "r1", Plan: plan.Plan{Steps: tt.steps}, Phase: run.Waiting}
			for _, s := range tt.states {
				r.Steps = append(r.Steps, run.Record{State: s})
			}
			got, not := r.Back()
			if diff := cmp.Diff(tt.want, got); diff != "" || not != tt.not {
				t.Errorf("Back (-want +got):\n%s%q, want %q", diff, not, tt.not)
			}
			now, _ := run.Next(r, run.Event{Kind: run.Wished, Wish: run.Wish{Kind: run.WishRollback, By: "erin"}})
			if not != "" {
				if now.Phase != run.Held || !strings.Contains(now.Cause, not) {
					t.Errorf("a rollback is %s: %s", now.Phase, now.Cause)
				}
				return
			}
			if diff := cmp.Diff(got, now.Undo); diff != "" {
				t.Errorf("a rollback does (-said +does):\n%s", diff)
			}
			if len(got) > 0 {
				if said, _ := now.Back(); !cmp.Equal(said, now.Undo) {
					t.Errorf("while it is taken back: %v, want %v", said, now.Undo)
				}
			}
		})
	}
}
