package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/run"
)

// Report is what was done, when, on whose word, and what it cost in requests.
type Report struct {
	Run      string       `json:"run"`
	From     []string     `json:"from"`
	To       string       `json:"to"`
	Version  string       `json:"version"`
	Phase    run.Phase    `json:"phase"`
	Cause    string       `json:"cause,omitempty"`
	By       string       `json:"by"`
	Digest   string       `json:"planDigest"`
	Started  time.Time    `json:"started"`
	Ended    time.Time    `json:"ended,omitzero"`
	Requests Requests     `json:"requests"`
	Steps    []ReportStep `json:"steps"`
	Log      []run.Entry  `json:"log,omitempty"`
}

// Requests counts serin's own probes.
type Requests struct {
	Sent   int  `json:"sent"`
	Failed int  `json:"failed"`
	Budget *int `json:"budget,omitempty"`  // of failed ones, for the whole run
	Let    int  `json:"letPass,omitempty"` // failed ones in spite of which a person resumed the run
}

// ReportStep is one step of a Report.
type ReportStep struct {
	Number   int            `json:"number"`
	Kind     string         `json:"kind"`
	Target   string         `json:"target"`
	State    string         `json:"state"` // pending, applying, done, undone
	Started  time.Time      `json:"started,omitzero"`
	Ended    time.Time      `json:"ended,omitzero"`
	Approved string         `json:"approvedBy,omitempty"`
	Gates    []gate.Verdict `json:"gates,omitempty"`
	Requests Requests       `json:"requests"`
}

// NewReport gathers the report of a run.
func NewReport(r run.Run) Report {
	out := Report{
		Run: r.ID, From: r.Plan.From, To: r.Plan.To, Version: r.Plan.Version,
		Phase: r.Phase, Cause: r.Cause, By: r.By, Digest: r.Plan.Digest,
		Started: r.Started, Ended: r.Ended, Log: r.Log,
		Steps: make([]ReportStep, 0, len(r.Plan.Steps)),
	}
	out.Requests.Sent, out.Requests.Failed = totals(r)
	out.Requests.Budget, out.Requests.Let = r.Plan.Request.Budget, r.Pardoned
	for i, s := range r.Plan.Steps {
		rs := ReportStep{Number: s.Number, Kind: string(s.Kind), Target: s.Target, State: "pending", Approved: r.Approved[s.Number]}
		if i < len(r.Steps) {
			rec := r.Steps[i]
			if rec.State != "" {
				rs.State = rec.State
			}
			rs.Started, rs.Ended, rs.Gates = rec.Started, rec.Ended, rec.Verdicts
			rs.Requests = Requests{Sent: rec.Sent, Failed: rec.Failed}
		}
		out.Steps = append(out.Steps, rs)
	}
	return out
}

// Text writes the report for people. evidence adds each step's gates with their reasons.
func (r Report) Text(w io.Writer) error {
	p := &printer{w: w}
	p.f("run %s: %s -> %s %s, %s\n", r.Run, strings.Join(r.From, ", "), r.To, r.Version, outcome(run.Run{Phase: r.Phase}))
	p.f("started %s by %s", stamp(r.Started), r.By)
	if !r.Ended.IsZero() {
		p.f(", ended %s after %s", stamp(r.Ended), short(r.Ended.Sub(r.Started)))
	}
	p.f("\n")
	if r.Cause != "" {
		p.f("cause: %s\n", r.Cause)
	}
	p.f("\n")
	t := newTable("#", "STEP", "TARGET", "STATE", "STARTED", "TOOK", "SENT", "FAILED", "APPROVED-BY")
	t.gap = "  "
	for _, s := range r.Steps {
		t.add(strconv.Itoa(s.Number), s.Kind, s.Target, s.State, clock(s.Started), took(s.Started, s.Ended),
			strconv.Itoa(s.Requests.Sent), strconv.Itoa(s.Requests.Failed), s.Approved)
	}
	t.print(p)
	r.gates(p)
	p.f("\nrequests: %d sent, %d failed%s\n", r.Requests.Sent, r.Requests.Failed, budget(r.Requests.Budget, r.Requests.Let))
	return p.err
}

func (r Report) gates(p *printer) {
	t := &table{gap: "   ", max: []int{3, 16, 8, 64}}
	t.add("#", "GATE", "STATE", "EVIDENCE")
	for _, s := range r.Steps {
		for _, v := range s.Gates {
			t.add(strconv.Itoa(s.Number), string(v.Gate), string(v.State), v.Reason)
		}
	}
	if len(t.rows) > 1 {
		p.f("\n")
		t.print(p)
	}
}

// History writes a line for each run, in the order given.
func History(w io.Writer, rs []run.Run) error {
	p := &printer{w: w}
	t := newTable("RUN", "FROM", "TO", "VERSION", "STATE", "STEPS", "SENT", "FAILED", "BY", "STARTED", "TOOK")
	t.gap = "  "
	for _, r := range rs {
		done := 0
		for _, s := range r.Steps {
			if s.State == "done" {
				done++
			}
		}
		sent, failed := totals(r)
		t.add(r.ID, strings.Join(r.Plan.From, ","), r.Plan.To, r.Plan.Version, strings.ReplaceAll(outcome(r), " ", "-"),
			fmt.Sprintf("%d/%d", done, len(r.Plan.Steps)), strconv.Itoa(sent), strconv.Itoa(failed), r.By, stamp(r.Started), took(r.Started, r.Ended))
	}
	t.print(p)
	return p.err
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.TimeOnly)
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return short(to.Sub(from))
}
