package archtest_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/serin-mesh/serin/"

// rule is what a package may import of serin, besides its own tests.
type rule struct {
	internal []string // packages under internal/
	pure     bool
}

// table is the one that docs/ARCHITECTURE.md prints. A package that is missing here fails.
func table() map[string]rule {
	core := []string{"mesh", "skew", "gate", "check", "plan", "run"}
	return map[string]rule{
		"mesh":          {pure: true},
		"xds":           {internal: core[:1], pure: true},
		"accesslog":     {internal: core[:1], pure: true},
		"explain":       {internal: []string{"mesh", "gate"}, pure: true},
		"shadow":        {internal: core[:1], pure: true},
		"skew":          {internal: core[:1], pure: true},
		"gate":          {internal: core[:1], pure: true},
		"check":         {internal: core[:2], pure: true},
		"fields":        {pure: true},
		"plan":          {internal: append([]string{"fields"}, core[:4]...), pure: true},
		"run":           {internal: core[:5], pure: true},
		"access":        {internal: core[:5], pure: true},
		"drive":         {internal: append([]string{"clock"}, core...)},
		"rehearse":      {internal: []string{"mesh", "gate"}, pure: true},
		"cluster":       {internal: append([]string{"access", "accesslog", "drive", "clock", "rehearse", "room"}, core...)},
		"room":          {internal: core[:1]},
		"operator":      {internal: []string{"fields"}},
		"istio":         {internal: append([]string{"drive", "clock", "operator"}, core...)},
		"evidence":      {internal: append([]string{"drive", "clock", "xds", "shadow", "envoy", "rehearse"}, core...)},
		"istiod":        {internal: []string{"mesh", "shadow", "clock", "room"}},
		"journal":       {internal: append([]string{"drive", "clock"}, core...)},
		"hooks":         {internal: append([]string{"drive"}, core...)},
		"envoy":         {},
		"view":          {internal: append([]string{"explain", "xds", "envoy", "shadow", "rehearse"}, core...)},
		"gitops":        {internal: core},
		"cli":           {internal: append([]string{"explain", "access", "accesslog", "drive", "view", "gitops", "clock", "xds", "envoy", "operator", "shadow", "rehearse"}, core...)},
		"controller":    {internal: append([]string{"drive", "view", "clock"}, core...)},
		"dashboard":     {internal: append([]string{"drive", "view", "clock"}, core...)},
		"clock":         {},
		"archtest":      {},
		"mesh/meshtest": {internal: core[:1], pure: true},
	}
}

// testOnly are packages that only tests may import.
func testOnly() []string { return []string{"mesh/meshtest"} }

// forbidden is what the pure core may not import of the standard library.
func forbidden() []string {
	return []string{"context", "log", "log/slog", "os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "io/ioutil", "syscall", "unsafe"}
}

type file struct {
	pkg     string // under internal/, or the folder's path for others
	name    string
	test    bool
	imports []string
}

func TestImports_followTheTable(t *testing.T) {
	rules := table()
	seen := map[string]bool{}
	for _, f := range tree(t, "../../internal") {
		r, known := rules[f.pkg]
		if !known {
			t.Errorf("%s: package internal/%s is missing from the table", f.name, f.pkg)
			continue
		}
		seen[f.pkg] = true
		for _, imported := range f.imports {
			if why := refused(f, r, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imported, why)
			}
		}
	}
	for _, pkg := range []string{"mesh", "skew", "gate", "plan", "run", "drive"} {
		if !seen[pkg] {
			t.Errorf("internal/%s has no files: the test looks at the wrong tree", pkg)
		}
	}
}

func refused(f file, r rule, imported string) string {
	pkg, ours := strings.CutPrefix(imported, module+"internal/")
	switch {
	case ours:
		return refusedOurs(f, r, pkg)
	case strings.HasPrefix(imported, module):
		return "internal packages import no others of serin's"
	case r.pure && !f.test:
		return impure(imported)
	}
	return ""
}

func refusedOurs(f file, r rule, pkg string) string {
	switch {
	case pkg == f.pkg: // an external test of its own package
	case f.test: // tests may set a stage from what stands below and beside, never from shells
		if slices.Contains([]string{"controller", "dashboard"}, pkg) {
			return "it is a shell"
		}
	case slices.Contains(testOnly(), pkg):
		return "only tests may"
	case !slices.Contains(r.internal, pkg):
		return "the table does not allow it"
	}
	return ""
}

func impure(imported string) string {
	if imported == "github.com/Masterminds/semver/v3" {
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		return "the core imports the standard library and semver only"
	}
	if slices.Contains(forbidden(), imported) {
		return "the core looks at nothing but its arguments"
	}
	return ""
}

func TestImports_aForbiddenOneIsSeen(t *testing.T) {
	rules := table()
	for _, tt := range []struct {
		from, imported string
		test           bool
		fine           bool
	}{
		{"mesh", "slices", false, true},
		{"mesh", "context", false, false},
		{"plan", module + "internal/run", false, false},
		{"plan", module + "internal/mesh", false, true},
		{"plan", module + "internal/mesh/meshtest", false, false},
		{"plan", module + "internal/mesh/meshtest", true, true},
		{"plan", "k8s.io/api/core/v1", false, false},
		{"plan", "github.com/Masterminds/semver/v3", false, true},
		{"plan", "github.com/google/go-cmp/cmp", true, true},
		{"cluster", module + "internal/istio", false, false},
		{"istio", module + "internal/cluster", false, false},
		{"journal", module + "internal/evidence", false, false},
		{"drive", module + "internal/cluster", false, false},
		{"cli", module + "internal/cluster", false, false},
		{"view", module + "internal/drive", false, false},
		{"cluster", "k8s.io/api/core/v1", false, true},
		{"cluster", module + "cmd/serin", false, false},
	} {
		why := refused(file{pkg: tt.from, test: tt.test}, rules[tt.from], tt.imported)
		if (why == "") != tt.fine {
			t.Errorf("%s -> %s: %q, want it allowed: %v", tt.from, tt.imported, why, tt.fine)
		}
	}
}

// The core's files may use package time for durations and moments that come in,
// and never ask the clock.
func TestCore_readsNoClock(t *testing.T) {
	rules := table()
	for _, f := range tree(t, "../../internal") {
		if f.test || !rules[f.pkg].pure {
			continue
		}
		text, err := os.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.Sleep(", "time.After("} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s calls %s): the core is told what time it is", f.name, call)
			}
		}
	}
}

// Every package that is there is in the printed table, and nothing else is.
func TestTable_isTheOneThatIsPrinted(t *testing.T) {
	text, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range tree(t, "../../internal") {
		there[f.pkg] = true
	}
	for _, pkg := range slices.Sorted(maps.Keys(there)) {
		if pkg == "archtest" || slices.Contains(testOnly(), pkg) {
			continue
		}
		if !strings.Contains(string(text), "| `"+pkg+"` |") {
			t.Errorf("internal/%s is not in the table of docs/ARCHITECTURE.md", pkg)
		}
	}
}

func tree(t *testing.T, root string) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		f := file{pkg: path.Clean(filepath.ToSlash(rel)), name: name, test: strings.HasSuffix(name, "_test.go")}
		for _, i := range parsed.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
