package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Precheck is what a look at a mesh came to, as it is shown.
type Precheck struct {
	From     []string  `json:"from"`
	Versions []string  `json:"fromVersions"`
	To       string    `json:"to,omitempty"`
	Clear    bool      `json:"clear"` // nothing stands in the way
	Findings []Checked `json:"findings"`
	Notes    []Note    `json:"notes"`

	fire, idle, untold int // of the notes
}

// Checked is a finding with where more is said of it.
type Checked struct {
	plan.Finding
	Istio string `json:"istio,omitempty"` // istioctl's codes for it
	Link  string `json:"link"`
}

// Note is an upgrade note and what it means for the mesh.
type Note struct {
	Code    string `json:"code"`
	Release string `json:"release"`
	What    string `json:"what"`
	Answer  string `json:"answer"` // fires, does not apply, cannot tell
	Why     string `json:"why"`
	Remedy  string `json:"remedy,omitempty"`
	Source  string `json:"source"`
	Link    string `json:"link"`
}

// NewPrecheck adds to each finding what its code means.
func NewPrecheck(p plan.Prechecked) Precheck {
	out := Precheck{From: p.From, Versions: p.Versions, To: p.To, Clear: true, Findings: []Checked{}, Notes: []Note{}}
	for _, f := range p.Findings {
		d := check.Lookup(f.Code)
		out.Clear = out.Clear && !f.Blocking()
		out.Findings = append(out.Findings, Checked{Finding: f, Istio: d.Istio, Link: d.Link})
	}
	for _, n := range p.Notes {
		out.Notes = append(out.Notes, Note{n.Code, n.Minor, n.What, string(n.Answer), n.Why, n.Remedy, n.Source, n.Link()})
	}
	out.fire, out.idle, out.untold = p.Answers()
	return out
}

// Above leaves out the findings that weigh less: warning leaves out what is only
// to be known, error what is only a warning.
func (c Precheck) Above(threshold string) Precheck {
	hidden := map[string][]plan.Severity{"warning": {plan.Info}, "error": {plan.Info, plan.Warning}}[threshold]
	c.Findings = slices.DeleteFunc(slices.Clone(c.Findings), func(f Checked) bool { return slices.Contains(hidden, f.Severity) })
	return c
}

// Text writes the findings, the gravest first, the upgrade notes, and what it comes to.
func (c Precheck) Text(w io.Writer) error {
	p := &printer{w: w}
	fs := make([]plan.Finding, 0, len(c.Findings))
	for _, f := range c.Findings {
		fs = append(fs, f.Finding)
		shown := f.Finding
		if f.Istio != "" {
			shown.Code += " (" + f.Istio + ")"
		}
		findings(p, []plan.Finding{shown})
		if f.Severity != plan.Info {
			p.f("    see:    %s\n", f.Link)
		}
	}
	if len(fs) > 0 {
		p.f("\n")
	}
	c.notes(p)
	if all, over := Blocking(fs); all > 0 {
		text := mesh.Count(all, "finding") + " in the way. Nothing was changed."
		if over > 0 {
			text += fmt.Sprintf(" %d of them may be overridden: --ignore-check CODE", over)
		}
		for _, l := range wrap(text, width) {
			p.f("%s\n", l)
		}
		return p.err
	}
	if c.To == "" {
		p.f("√ nothing is wrong with the mesh as it is. Nothing was changed. Next: serin precheck --to VERSION\n")
		return p.err
	}
	p.f("√ nothing stands in the way of %s. Nothing was changed.\n", c.To)
	return p.err
}

// order puts what concerns the mesh first.
func order(n Note) int {
	return slices.Index([]string{"fires", "cannot tell", "does not apply"}, n.Answer)
}

func (c Precheck) notes(p *printer) {
	if len(c.Notes) == 0 {
		return
	}
	t := newTable("NOTE", "ANSWER", "WHAT CHANGES", "WHY")
	t.gap, t.max = "  ", []int{0, 0, 42, 28}
	rows := slices.SortedStableFunc(slices.Values(c.Notes), func(a, b Note) int { return cmp.Compare(order(a), order(b)) })
	for _, n := range rows {
		t.add(n.Code, n.Answer, n.What, n.Why)
	}
	p.f("Upgrade notes %s -> %s: %d fire, %d do not apply, of %d nothing can be told.\n", strings.Join(c.Versions, ", "), c.To, c.fire, c.idle, c.untold)
	t.print(p)
	p.f("\n")
}
