package view

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/run"
)

// Progress shows a run as it goes, a line for each change. In a terminal the
// last line is rewritten in place while only numbers in it change.
type Progress struct {
	W    io.Writer
	Now  func() time.Time
	Live bool // W is a terminal: rewrite the last line

	state     string // of the line last printed; equal states print nothing in a pipe
	cause     string // last printed: it is said once
	transient bool   // the cursor is on a line that the next one replaces
	steps     []string
	logged    int // entries of the log that were looked at
	err       error
}

// Show prints what is new in the run.
func (p *Progress) Show(r run.Run) {
	p.records(r)
	if (r.Phase == run.Waiting || r.Phase == run.Proving || r.Awaits()) && len(r.Verdicts) == 0 && r.Cause == "" && !r.Paused {
		return // no gate was judged yet: the next line says more
	}
	line, state := p.line(r)
	switch {
	case state != p.state:
		p.state, p.cause = state, r.Cause
		p.print(line)
	case p.Live:
		p.replace(line)
	}
}

// End closes the last line, so that what follows begins on its own.
func (p *Progress) End() error {
	if p.transient {
		p.write("\n")
		p.transient = false
	}
	return p.err
}

// records prints each step that was finished or taken back since the last call.
func (p *Progress) records(r run.Run) {
	if p.steps == nil {
		// What was done before this process began is the report's, not news.
		p.steps = make([]string, len(r.Steps))
		for i, rec := range r.Steps {
			p.steps[i] = rec.State
		}
		p.logged = len(r.Log)
		return
	}
	p.noted(r)
	for i, rec := range r.Steps {
		if i >= len(p.steps) || i >= len(r.Plan.Steps) || p.steps[i] == rec.State {
			continue
		}
		p.steps[i] = rec.State
		if rec.State == "done" || rec.State == "undone" {
			p.print(p.ended(r, i))
		}
	}
}

// noted prints what deeds had to say beside their ends.
func (p *Progress) noted(r run.Run) {
	for _, e := range r.Log[min(p.logged, len(r.Log)):] {
		if strings.HasPrefix(e.What, run.Noted) {
			p.print(p.Now().Format(time.TimeOnly) + "  " + e.What)
		}
	}
	p.logged = len(r.Log)
}

// ended is the line for a step that was finished or taken back.
func (p *Progress) ended(r run.Run, i int) string {
	s, rec := r.Plan.Steps[i], r.Steps[i]
	text := fmt.Sprintf("%s  %d/%d %s %s  %s", p.Now().Format(time.TimeOnly), s.Number, len(r.Plan.Steps), s.Kind, s.Target, rec.State)
	if rec.State != "done" {
		return text
	}
	if !rec.Ended.IsZero() && !rec.Started.IsZero() {
		text += " in " + short(rec.Ended.Sub(rec.Started))
	}
	if rec.Sent > 0 {
		text += fmt.Sprintf(", requests %d sent, %d failed", rec.Sent, rec.Failed)
	}
	if !strings.HasSuffix(p.state, answers(rec.Verdicts)) {
		text += ": " + verdicts(rec.Verdicts) // no line before this one has said why
	}
	return text
}

// line is the line for the run as it is, and what of it counts as a change: the
// gates' answers and the cause, not the numbers that grow.
func (p *Progress) line(r run.Run) (string, string) {
	at := place(r)
	if !Open(r) {
		at = fmt.Sprintf("%d/%d", len(r.Plan.Steps), len(r.Plan.Steps))
		if r.Phase == run.Undone {
			at = fmt.Sprintf("0/%d", len(r.Plan.Steps))
		}
	}
	text := p.Now().Format(time.TimeOnly) + "  " + at + "  " + outcome(r)
	state := fmt.Sprint(at, r.Phase, r.Paused, r.Cause)
	if vs := relevant(r); len(vs) > 0 {
		text += ": " + verdicts(vs)
		state += answers(vs)
	}
	if r.Cause != "" && (r.Cause != p.cause || !Open(r)) {
		text += "  because " + r.Cause
	}
	return text, state
}

// answers are the gates' answers without the numbers in them; of a shut gate the
// reason counts too.
func answers(vs []gate.Verdict) string {
	var b strings.Builder
	for _, v := range vs {
		b.WriteString(string(v.Gate) + string(v.State))
		if v.State == gate.Shut {
			b.WriteString(letters(v.Reason))
		}
	}
	return b.String()
}

// relevant are the verdicts that explain the phase the run is in.
func relevant(r run.Run) []gate.Verdict {
	switch r.Phase {
	case run.Waiting, run.Proving, run.Held:
		return r.Verdicts
	case run.Applying, run.Undoing:
		if r.Awaits() {
			return r.Verdicts
		}
	case run.Done, run.Undone:
	}
	return nil
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

func (p *Progress) print(line string) {
	if p.transient {
		p.write("\r\x1b[K")
		p.transient = false
	}
	p.write(line + "\n")
}

// replace rewrites the terminal's last line, cut to its width: a wrapped line
// could not be taken back.
func (p *Progress) replace(line string) {
	if utf8.RuneCountInString(line) > width {
		line = string([]rune(line)[:width-1]) + "…"
	}
	p.write("\r\x1b[K" + line)
	p.transient = true
}

func (p *Progress) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.W, s)
	}
}
