package view

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

//go:embed comparison.html
var comparisonTemplate string

// comparisonPage is the comparison as a page that stands alone: no script, nothing
// is loaded from elsewhere.
func comparisonPage(w io.Writer, r shadow.Report) error {
	t, err := template.New("comparison").Funcs(template.FuncMap{
		"blocks": blocks, "place": whereabouts, "conclusion": conclusion, "count": mesh.Count,
	}).Parse(comparisonTemplate)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	return t.Execute(w, page{r, groups(r)})
}

// page is what the template is handed.
type page struct {
	Report shadow.Report
	Groups []classGroup
}

// classGroup are the differences of a class, by the kind of resource.
type classGroup struct {
	Class        shadow.Class
	Title, Means string
	Patterns     int
	Kinds        []kindGroup
}

type kindGroup struct {
	Title       string
	Differences []shadow.Difference
}

// groups sorts the differences, which come sorted, into classes and kinds.
func groups(r shadow.Report) []classGroup {
	means := map[shadow.Class]string{
		shadow.Dangerous: "It may lose or expose traffic: do not move before it is understood", shadow.Unexplained: "Nobody has said what it is: a person must decide",
		shadow.Expected: "A rule explains it for these two releases",
	}
	var out []classGroup
	for _, c := range shadow.Classes() {
		g := classGroup{Class: c, Title: strings.ToUpper(string(c[:1])) + string(c[1:]), Means: means[c]}
		for _, k := range shadow.Kinds() {
			in := kindGroup{Title: kindTitle(k)}
			for _, d := range r.Differences {
				if d.Class == c && d.Kind == k {
					in.Differences = append(in.Differences, d)
				}
			}
			if len(in.Differences) > 0 {
				g.Kinds, g.Patterns = append(g.Kinds, in), g.Patterns+len(in.Differences)
			}
		}
		if g.Patterns > 0 {
			out = append(out, g)
		}
	}
	return out
}

func kindTitle(k shadow.Kind) string {
	return map[shadow.Kind]string{
		shadow.Pods: "Pods", shadow.Clusters: "Clusters (CDS)", shadow.Endpoints: "Endpoints (EDS)", shadow.Listeners: "Listeners (LDS)",
		shadow.Routes: "Routes (RDS)", shadow.Extensions: "Filters' configuration (ECDS)", shadow.Names: "DNS names (NDS)",
	}[k]
}

// block is a value, written out.
type block struct{ Word, Text string }

// blocks are what was and what would be.
func blocks(d shadow.Difference) []block {
	var out []block
	if d.From != nil {
		out = append(out, block{"was", written(d.From)})
	}
	if d.To != nil && d.Op == shadow.Rejected {
		out = append(out, block{"because", written(d.To)})
	} else if d.To != nil {
		out = append(out, block{"would be", written(d.To)})
	}
	if d.Various && len(out) > 0 {
		out[len(out)-1].Text += "\n… and others elsewhere"
	}
	return out
}

// written is a value as a person reads it: a text as it is, all else as JSON.
func written(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the template escapes
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}
