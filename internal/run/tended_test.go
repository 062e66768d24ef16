package run_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// S-29, S-30: a run tends what its last stage has let in, neither what is under way nor
// what it has taken out again, or takes back now.
func TestS30_whatARunTends(t *testing.T) {
	second := []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "edge", Name: "public-1-29-1"}}
	opens := func(from, to int) plan.Step {
		return plan.Step{Kind: plan.OpenGateway, Workloads: second, Pods: &plan.Pods{From: from, To: to}}
	}
	r := run.Run{Plan: plan.Plan{Steps: []plan.Step{{Kind: plan.AddGateway, Workloads: second}, opens(0, 1), opens(1, 4), {Kind: plan.ScaleGateway, Workloads: second}, opens(4, 0)}}}
	for _, tt := range []struct {
		name     string
		states   [5]string
		at       int
		phase    run.Phase
		heldFrom run.Phase
		most     int // -1: it tends none
	}{
		{"nothing is open", [5]string{"done"}, 1, run.Waiting, "", -1},
		{"the first is being opened", [5]string{"done", "applying"}, 1, run.Proving, "", -1},
		{"one is in", [5]string{"done", "done"}, 2, run.Waiting, "", 1},
		{"all are being opened", [5]string{"done", "done", "applying"}, 2, run.Held, run.Proving, 1},
		{"all are in, and however many there are later", [5]string{"done", "done", "done", "done"}, 4, run.Waiting, "", 0},
		{"held", [5]string{"done", "done", "done", "applying"}, 3, run.Held, run.Applying, 0},
		{"they are being taken out", [5]string{"done", "done", "done", "done", "applying"}, 4, run.Applying, "", -1},
		{"they are out", [5]string{"done", "done", "done", "done", "done"}, 4, run.Done, "", -1},
		{"they are in again", [5]string{"done", "done", "done", "done", "undone"}, 3, run.Undoing, "", 0},
		{"three are being taken out again", [5]string{"done", "done", "done", "undone", "undone"}, 2, run.Undoing, "", 1},
		{"that failed", [5]string{"done", "done", "done", "undone", "undone"}, 2, run.Held, run.Undoing, 1},
		{"one is in again", [5]string{"done", "done", "undone", "undone", "undone"}, 1, run.Undoing, "", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := r
			r.At, r.Phase, r.HeldFrom = tt.at, tt.phase, tt.heldFrom
			for _, s := range tt.states {
				r.Steps = append(r.Steps, run.Record{State: s})
			}
			got := -1
			for _, one := range r.Tends() {
				got = one.Most
			}
			if got != tt.most {
				t.Errorf("at most %d are let in, want %d", got, tt.most)
			}
		})
	}
}
