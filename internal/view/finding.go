package view

import (
	"io"

	"github.com/serin-mesh/serin/internal/plan"
)

// Findings writes findings as a list in the way of linkerd check: a symbol, the
// code, the object, the reason and, on a line of its own, the remedy.
func Findings(w io.Writer, fs []plan.Finding) error {
	p := &printer{w: w}
	findings(p, fs)
	return p.err
}

func findings(p *printer, fs []plan.Finding) {
	for _, f := range fs {
		for i, l := range wrap(f.Code+" "+f.Object+": "+f.Reason, width-2) {
			if i == 0 {
				p.f("%s %s\n", symbol(f.Severity), l)
			} else {
				p.f("  %s\n", l)
			}
		}
		if f.Remedy == "" {
			continue
		}
		for i, l := range wrap(f.Remedy, width-12) {
			if i == 0 {
				p.f("    remedy: %s\n", l)
			} else {
				p.f("            %s\n", l)
			}
		}
	}
}

func symbol(s plan.Severity) string {
	switch s {
	case plan.Mandatory, plan.Overridable:
		return "×"
	case plan.Warning:
		return "‼"
	case plan.Info:
		return "i"
	}
	return "?"
}

// Blocking counts the findings that stop a plan, and those of them that
// --ignore-check may turn into warnings.
func Blocking(fs []plan.Finding) (int, int) {
	all, overridable := 0, 0
	for _, f := range fs {
		switch f.Severity {
		case plan.Mandatory:
			all++
		case plan.Overridable:
			all++
			overridable++
		case plan.Warning, plan.Info:
		}
	}
	return all, overridable
}
