package view

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// WriteComparison shows what came of a comparison of two revisions.
func WriteComparison(w io.Writer, f Format, r shadow.Report) error {
	switch f {
	case JSON, YAML:
		return Encode(w, f, r)
	case HTML:
		return comparisonPage(w, r)
	case Text, Wide:
	}
	p := &printer{w: w}
	p.f("%s -> %s: %s, %s\n", r.Old, r.New, mesh.Count(r.Workloads, "workload"), mesh.Count(r.Resources, "resource"))
	p.differences(r)
	p.f("\n%s\n", conclusion(r))
	return p.err
}

func (p *printer) differences(r shadow.Report) {
	for _, u := range r.Unasked {
		p.f("\nNOT COMPARED  %s\n    %s\n", u.Workload, u.Why)
	}
	for _, d := range r.Differences {
		p.f("\n%s  %s\n", strings.ToUpper(string(d.Class)), d.Pattern())
		for _, v := range values(d) {
			p.f("    %s\n", v)
		}
		p.f("    %d of %d resources, in %d of %s\n", d.Resources.N, d.Resources.Of, d.Workloads.N, mesh.Count(d.Workloads.Of, "workload"))
		p.f("    as in %s, %s\n", d.Example.Workload, whereabouts(d.Example))
		if d.Why != "" {
			p.f("    %s\n", strings.TrimSpace(d.Rule+" "+d.Why))
		}
		if d.Link != "" {
			p.f("    %s\n", d.Link)
		}
	}
}

// values are what was and what would be.
func values(d shadow.Difference) []string {
	if reason, ok := d.To.(string); ok && d.Op == shadow.Rejected {
		return append([]string{reason}, others(d)...)
	}
	var out []string
	if d.From != nil {
		out = append(out, "was "+brief(d.From))
	}
	if d.To != nil {
		out = append(out, "would be "+brief(d.To))
	}
	return append(out, others(d)...)
}

func others(d shadow.Difference) []string {
	if d.Various {
		return []string{"and others elsewhere"}
	}
	return nil
}

// long is how much of a value fits in a line.
const long = 84

func brief(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if s := []rune(string(b)); len(s) > long {
		return string(s[:long]) + "…"
	}
	return string(b)
}

func whereabouts(e shadow.Example) string {
	if e.Where == "" {
		return e.Resource
	}
	return e.Resource + ": " + e.Where
}

// conclusion says what the comparison means.
func conclusion(r shadow.Report) string {
	n := map[shadow.Class]int{}
	for _, d := range r.Differences {
		n[d.Class]++
	}
	var parts []string
	for _, c := range shadow.Classes() {
		if n[c] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[c], c))
		}
	}
	if len(r.Unasked) > 0 {
		parts = append(parts, mesh.Count(len(r.Unasked), "workload")+" not compared")
	}
	switch {
	case len(parts) == 0:
		return "No difference."
	case r.Worst() == shadow.Expected:
		return "All as expected: " + strings.Join(parts, ", ") + "."
	}
	return "To decide: " + strings.Join(parts, ", ") + "."
}
