package run_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// The diagram of docs/ARCHITECTURE.md has an arrow for each way from one phase to
// another that there is, and for no other.
func TestNext_isWhatTheDiagramShows(t *testing.T) {
	seen, drawn := walked(t), arrows(t)
	for _, a := range slices.Sorted(maps.Keys(seen)) {
		if !drawn[a] {
			t.Errorf("%s happens (%s) and is not drawn", a, seen[a])
		}
	}
	for _, a := range slices.Sorted(maps.Keys(drawn)) {
		if seen[a] == "" {
			t.Errorf("%s is drawn and does not happen", a)
		}
	}
}

// walked are the changes of phase that events make of runs: whatever falls, and all
// going well up to the end, each with an example.
func walked(t *testing.T) map[string]string {
	t.Helper()
	none := 0
	spent := start(t, plan.Rollback)
	spent.Plan.Request.Budget = &none
	stays := start(t, plan.Hold)
	stays.Plan.Steps = slices.Clone(stays.Plan.Steps)
	stays.Plan.Steps[2].Undo = plan.Undo{Irreversible: "as told"}
	runs := []run.Run{start(t, plan.Hold), start(t, plan.Rollback), spent, stays, fromGit(t)}
	seen := map[string]string{}
	for seed := range uint64(2000) {
		rnd, at := rand.New(rand.NewPCG(seed, 2)), noon
		r := runs[seed%uint64(len(runs))]
		for i := range 200 {
			at = at.Add(time.Duration(rnd.IntN(90)) * time.Second)
			e := anyEvent(rnd, r, at)
			if seed%3 == 0 && i < 40 { // well, so that it comes to its end
				e = judged(r, at.Add(time.Hour), gate.Open)
				if r.Phase == run.Applying && !r.Awaits() {
					e = run.Event{Kind: run.Applied, At: at}
				}
			}
			e.Sent, e.Failed = 1, rnd.IntN(2)
			next, _ := run.Next(r, e)
			if next.Phase != r.Phase {
				seen[string(r.Phase)+" --> "+string(next.Phase)] = string(e.Kind) + " " + string(e.Wish.Kind)
			}
			r = next
		}
	}
	return seen
}

// arrows are those of the diagram that lead from one phase to another.
func arrows(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, diagram, found := strings.Cut(string(text), "stateDiagram-v2\n")
	diagram, _, closed := strings.Cut(diagram, "```")
	if !found || !closed {
		t.Fatal("docs/ARCHITECTURE.md has no diagram")
	}
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ *(\w+) --> (\w+)\b`).FindAllStringSubmatch(diagram, -1) {
		if m[1] != m[2] {
			out[m[1]+" --> "+m[2]] = true
		}
	}
	return out
}
