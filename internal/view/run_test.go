package view_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// story is the run as a driver shows it, call by call.
func story() []run.Run {
	proving := halfway()
	more := halfway()
	more.Verdicts = []gate.Verdict{more.Verdicts[0], {Gate: gate.Requests, State: gate.Unknown, Reason: "13 of 50 samples"}}
	shut := halfway()
	shut.Verdicts = []gate.Verdict{shut.Verdicts[0], {Gate: gate.Requests, State: gate.Shut, Reason: "3 of 240 failed, 0 before"}}
	worse := halfway()
	worse.Verdicts = []gate.Verdict{worse.Verdicts[0], {Gate: gate.Requests, State: gate.Shut, Reason: "4 of 260 failed, 0 before"}}
	fine := halfway()
	fine.Verdicts[1] = gate.Verdict{Gate: gate.Requests, State: gate.Open, Reason: "0 of 260 failed, 0 before"}
	next := halfway()
	next.At, next.Phase, next.Verdicts = 5, run.Applying, nil
	next.Steps[4].State, next.Steps[4].Ended = "done", next.Steps[4].Started.Add(65*time.Second)
	held := next
	held.Phase, held.HeldFrom, held.Cause = run.Held, run.Applying, "restarting default/ratings-v1: it is paused by somebody else"
	back := held
	back.Phase, back.Undo = run.Undoing, []int{5, 4}
	undone := back
	undone.Steps = append([]run.Record{}, back.Steps...)
	undone.Steps[4].State = "undone"
	undone.Phase = run.Undone
	return []run.Run{proving, more, shut, worse, fine, next, held, back, undone}
}

func show(live bool) func(*bytes.Buffer) error {
	return func(b *bytes.Buffer) error {
		at := noon
		p := &view.Progress{W: b, Live: live, Now: func() time.Time {
			at = at.Add(time.Second)
			return at
		}}
		for _, r := range story() {
			p.Show(r)
		}
		return p.End()
	}
}

func TestProgressInAPipeIsALineForEachChange(t *testing.T) {
	golden(t, "progress-pipe.out", show(false))
}

func TestProgressInATerminalRewritesItsLastLine(t *testing.T) {
	golden(t, "progress-live.out", show(true))
}

func TestReport(t *testing.T) {
	r := halfway()
	r.Approved = map[int]string{9: "erin@office"}
	r.Log = []run.Entry{{At: noon, Step: 1, What: "applying"}}
	done := r
	done.Phase, done.Ended, done.Cause = run.Undone, noon.Add(9*time.Minute), "asked by max@laptop"
	golden(t, "report-open.txt", func(b *bytes.Buffer) error { return view.NewReport(r).Text(b) })
	golden(t, "report-undone.txt", func(b *bytes.Buffer) error { return view.NewReport(done).Text(b) })
	golden(t, "report.json", func(b *bytes.Buffer) error { return view.Encode(b, view.JSON, view.NewReport(r)) })
	golden(t, "history.out", func(b *bytes.Buffer) error { return view.History(b, []run.Run{done, r}) })
}

func TestNextSaysWhatToType(t *testing.T) {
	open := func(change func(*run.Run)) run.Run {
		r := halfway()
		change(&r)
		return r
	}
	approval := func(r *run.Run) { r.At, r.Phase = 8, run.Waiting }
	tests := []struct {
		name, holder, want string
		run                run.Run
	}{
		{"moving", "max", "serin status -w, serin pause, serin rollback", halfway()},
		{"left alone", "", "serin resume: no process drives this run", halfway()},
		{"paused", "max", "serin resume", open(func(r *run.Run) { r.Paused = true })},
		{"held", "", "serin resume (try again), serin rollback (take everything back) or serin abort (leave it as it is)", open(func(r *run.Run) { r.Phase = run.Held })},
		{"before a step that asks", "max", "serin approve 9 (or serin rollback)", open(approval)},
		{"approved", "max", "serin status -w, serin pause, serin rollback", open(func(r *run.Run) { approval(r); r.Approved = map[int]string{9: "erin"} })},
		{"held before a step that asks", "", "serin approve 9, then serin resume (or serin rollback)", open(func(r *run.Run) { approval(r); r.Phase, r.HeldFrom = run.Held, run.Waiting })},
		{"held and approved", "", "serin resume (try again), serin rollback (take everything back) or serin abort (leave it as it is)", open(func(r *run.Run) {
			approval(r)
			r.Phase, r.HeldFrom, r.Approved = run.Held, run.Waiting, map[int]string{9: "erin"}
			r.Verdicts = []gate.Verdict{{Gate: gate.Prove, State: gate.Unknown, Asks: true}} // from before the word
		})},
		{"done", "", "serin report 20260301-120000", open(func(r *run.Run) { r.Phase = run.Done })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := view.Next(tt.run, tt.holder); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
