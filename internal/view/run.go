package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// Open says whether the run has not come to an end.
func Open(r run.Run) bool { return r.Phase != run.Done && r.Phase != run.Undone }

// place is "5/10 restart-workloads default/details-v1": where a run stands.
func place(r run.Run) string {
	n := len(r.Plan.Steps)
	if r.At < 0 || r.At >= n {
		return fmt.Sprintf("%d/%d", min(r.At+1, n), n)
	}
	s := r.Plan.Steps[r.At]
	return fmt.Sprintf("%d/%d %s %s", s.Number, n, s.Kind, s.Target)
}

// verdicts writes gates on one line: "proxies open (…), requests unknown (…)".
func verdicts(vs []gate.Verdict) string {
	parts := make([]string, 0, len(vs))
	for _, v := range vs {
		text := string(v.Gate) + " " + string(v.State)
		if v.Reason != "" {
			text += " (" + v.Reason + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// AwaitsApproval says whether the run stands before a step that a person must
// approve and has not, and that step's number.
func AwaitsApproval(r run.Run) (int, bool) {
	if !Open(r) || r.At < 0 || r.At >= len(r.Plan.Steps) {
		return 0, false
	}
	s := r.Plan.Steps[r.At]
	if r.Phase != run.Waiting && r.HeldFrom != run.Waiting {
		return 0, false
	}
	for _, n := range s.Needs {
		if n == gate.Approval && r.Approved[s.Number] == "" {
			return s.Number, true
		}
	}
	return s.Number, r.Asks() && r.Approved[s.Number] == "" // a held run keeps the verdicts from before the word
}

// TakingBack shows in which order a rollback takes back these steps, by their place in the
// plan, and how.
func TakingBack(w io.Writer, r run.Run, steps []int) error {
	p := &printer{w: w}
	p.f("run %s, %s, would be taken back:\n\n", r.ID, outcome(r))
	t := &table{indent: " ", gap: "  ", max: []int{2, 18, 34, 36}}
	t.add(" #", "step", "target", "undo")
	for _, i := range steps {
		s := r.Plan.Steps[i]
		how := undo(s.Undo)
		if s.ByGit() && !s.Undo.Nothing {
			how += ", by a commit"
		}
		t.add(fmt.Sprintf("%2d", s.Number), Step(s), target(s), how)
	}
	t.print(p)
	p.f("\n%s. Nothing was changed.\n", mesh.Count(len(steps), "step"))
	return p.err
}

// Next says what a person types next. holder is the process that drives the run, if any.
func Next(r run.Run, holder string) string {
	if !Open(r) {
		return "serin report " + r.ID
	}
	n, ok := AwaitsApproval(r)
	switch {
	case ok && r.Phase == run.Held: // a word does not get it going by itself
		return fmt.Sprintf("serin approve %d, then serin resume (or serin rollback)", n)
	case ok:
		return fmt.Sprintf("serin approve %d (or serin rollback)", n)
	}
	if r.Awaits() && holder != "" {
		return fmt.Sprintf("commit it: %s goes on by itself once it is there (serin verify %d), or serin rollback", holder, r.Plan.Steps[r.At].Number)
	}
	switch {
	case r.Phase == run.Held:
		return "serin resume (try again), serin rollback (take everything back) or serin abort (leave it as it is)"
	case r.Paused:
		return "serin resume"
	case holder == "":
		return "serin resume: no process drives this run"
	}
	return "serin status -w, serin pause, serin rollback"
}

// totals adds up the requests of all steps.
func totals(r run.Run) (int, int) {
	sent, failed := 0, 0
	for _, s := range r.Steps {
		sent += s.Sent
		failed += s.Failed
	}
	return sent, failed
}

// budget says how many failed requests an upgrade may cost, where its request does.
func budget(n *int, let int) string {
	switch {
	case n == nil:
		return ""
	case let > 0:
		return fmt.Sprintf(" (the budget is %d; %d let pass by a resume)", *n, let)
	}
	return fmt.Sprintf(" (the budget is %d)", *n)
}

// inGit says of a run that waits for Git whose it is, and what is to be committed.
func inGit(r run.Run) string {
	st := r.Plan.Steps[r.At]
	whose := ""
	if st.Git.Kind != mesh.OwnerGit {
		whose = " (" + st.Git.String() + ")"
	}
	return whose + ", to commit: " + plan.Commit(st, r.Phase == run.Undoing)
}

func outcome(r run.Run) string {
	switch r.Phase {
	case run.Done:
		return "done"
	case run.Undone:
		return "rolled back"
	case run.Held:
		return "held"
	case run.Waiting, run.Applying, run.Proving, run.Undoing:
		if r.Paused {
			return "paused"
		}
		if r.Awaits() {
			return "waiting for Git" + inGit(r)
		}
		return strings.ToLower(string(r.Phase))
	}
	return string(r.Phase)
}
