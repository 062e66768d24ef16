package check_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/check"
)

// The page says of each code the severities that the code gives it: those written
// beside it where it is found, in the plan's files and here.
func TestCatalog_saysTheSeverities(t *testing.T) {
	found := severities(t)
	for _, d := range check.Catalog() {
		known := []string{"mandatory", "overridable", "warning", "info", "refusal"}
		if len(d.Severity) == 0 || slices.ContainsFunc(d.Severity, func(s string) bool { return !slices.Contains(known, s) }) {
			t.Errorf("%s has the severities %q", d.Code, d.Severity)
		}
		f := found[d.Code]
		if f == nil {
			continue // an upgrade note, or none of a plan's
		}
		for said := range f.said {
			if !slices.Contains(d.Severity, said) {
				t.Errorf("%s is %s somewhere, and the catalog says %q", d.Code, said, d.Severity)
			}
		}
		if f.decided {
			continue
		}
		for _, s := range d.Severity {
			if !f.said[s] {
				t.Errorf("the catalog says that %s may be %s, and nothing makes it that: %q", d.Code, s, slices.Sorted(maps.Keys(f.said)))
			}
		}
	}
	if len(found) < 90 {
		t.Errorf("%d codes were found: the test looks at the wrong files", len(found))
	}
}

// severity is what is written beside a code.
type severity struct {
	said    map[string]bool
	decided bool // somewhere it is a variable, or what is found is changed later
}

func severities(t *testing.T) map[string]*severity {
	t.Helper()
	var files []*ast.File
	for _, pattern := range []string{"*.go", "../plan/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	codes := codesOf(files)
	out := map[string]*severity{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			fn, ok := n.(*ast.FuncDecl)
			if ok && fn.Name.Name == "All" { // the table of checks: which codes, not how grave
				return false
			}
			note(out, codes, n)
			if ok && changesSeverity(fn) {
				ast.Inspect(fn, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok && codes[id.Name] != "" {
						of(out, codes[id.Name]).decided = true
					}
					return true
				})
			}
			return true
		})
	}
	return out
}

// changesSeverity says whether a function gives findings another severity.
func changesSeverity(fn *ast.FuncDecl) bool {
	yes := false
	ast.Inspect(fn, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			yes = yes || slices.ContainsFunc(a.Lhs, func(e ast.Expr) bool {
				sel, ok := e.(*ast.SelectorExpr)
				return ok && sel.Sel.Name == "Severity"
			})
		}
		return true
	})
	return yes
}

func of(out map[string]*severity, code string) *severity {
	if out[code] == nil {
		out[code] = &severity{said: map[string]bool{}}
	}
	return out[code]
}

// note notes a node that has a code in it, and the severity that stands beside it.
func note(out map[string]*severity, codes map[string]string, n ast.Node) {
	var parts []ast.Expr
	switch x := n.(type) {
	case *ast.CallExpr:
		parts = x.Args
	case *ast.CompositeLit:
		parts = x.Elts
	case *ast.CaseClause:
		parts = x.List
	case *ast.ReturnStmt:
		parts = x.Results
	}
	code, said := "", ""
	for _, p := range parts {
		id, ok := p.(*ast.Ident)
		if !ok {
			continue
		}
		if c := codes[id.Name]; c != "" {
			code = c
		}
		if slices.Contains([]string{"Mandatory", "Overridable", "Warning", "Info"}, id.Name) {
			said = strings.ToLower(id.Name)
		}
	}
	if code == "" {
		return
	}
	if said == "" {
		of(out, code).decided = true
		return
	}
	of(out, code).said[said] = true
}

// codesOf are the constants that name codes.
func codesOf(files []*ast.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != len(spec.Names) {
				return true
			}
			for i, name := range spec.Names {
				if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if code, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(code, "SRN") {
						out[name.Name] = code
					}
				}
			}
			return true
		})
	}
	return out
}
