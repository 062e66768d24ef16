package view

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/serin-mesh/serin/internal/shadow"
)

//go:embed comparison.html
var comparisonTemplate string

// comparisonPage is the comparison as a page that stands alone: no script, nothing
// is loaded from elsewhere.
func comparisonPage(w io.Writer, r shadow.Report) error {
	t, err := template.New("comparison").Funcs(template.FuncMap{"values": values, "place": whereabouts, "conclusion": conclusion}).Parse(comparisonTemplate)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	return t.Execute(w, r)
}
