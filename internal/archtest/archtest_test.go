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

// core are the packages that docs/ARCHITECTURE.md calls the core.
func core() []string { return []string{"mesh", "skew", "gate", "check", "plan", "run"} }

// table is the one that docs/ARCHITECTURE.md prints. A package that is missing here fails.
func table() map[string]rule {
	core := core()
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
		"access":        {internal: []string{"gate", "plan"}, pure: true},
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
		"clock":         {},
		"archtest":      {},
		"mesh/meshtest": {internal: core[:1], pure: true},
	}
}

// shells are packages that no other's tests may import either.
func shells() []string { return []string{"cli"} }

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
		if slices.Contains(shells(), pkg) {
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
		{"view", module + "internal/cli", true, false},
		{"cli", module + "internal/cli", true, true},
		{"cluster", module + "internal/istio", true, true},
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

// The printed table has a row for each package that is there, and no other; each row
// lists what the package may import, and nothing else.
func TestTable_isTheOneThatIsPrinted(t *testing.T) {
	there := map[string]bool{}
	for _, f := range tree(t, "../../internal") {
		there[f.pkg] = true
	}
	rules, printed := table(), printedTable(t)
	for _, pkg := range slices.Sorted(maps.Keys(rules)) {
		if !there[pkg] {
			t.Errorf("internal/%s is in the table and does not exist", pkg)
		}
		got, ok := printed[pkg]
		if !ok {
			t.Errorf("internal/%s is not in the table of docs/ARCHITECTURE.md", pkg)
			continue
		}
		want := slices.Sorted(slices.Values(rules[pkg].internal))
		if !slices.Equal(got, want) {
			t.Errorf("docs/ARCHITECTURE.md says that %s may import %q, the test %q", pkg, got, want)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(printed)) {
		if _, ok := rules[pkg]; !ok {
			t.Errorf("docs/ARCHITECTURE.md has a row for internal/%s, the test has none", pkg)
		}
	}
}

// printedTable is the table of docs/ARCHITECTURE.md: what each package may import, sorted.
func printedTable(t *testing.T) map[string][]string {
	t.Helper()
	_, section, _ := strings.Cut(read(t, "../../docs/ARCHITECTURE.md"), "## Packages")
	section, _, _ = strings.Cut(section, "\n## ")
	if want := "The core is `" + strings.Join(core(), "`, `") + "`"; !strings.Contains(section, want) {
		t.Errorf("docs/ARCHITECTURE.md does not say above its table: %s", want)
	}
	out := map[string][]string{}
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		pkg := strings.TrimSpace(cells[0])
		if len(cells) != 3 || !strings.HasPrefix(pkg, "`") {
			continue
		}
		imports := []string{}
		for name := range strings.SplitSeq(cells[2], ",") {
			switch name = strings.TrimSpace(name); name {
			case "-":
			case "the core":
				imports = append(imports, core()...)
			default:
				imports = append(imports, name)
			}
		}
		slices.Sort(imports)
		out[strings.Trim(pkg, "`")] = imports
	}
	return out
}

// The linter holds the same packages to the core's imports, in the editor.
func TestPure_isWhatTheLinterHolds(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../../.golangci.yml"), "        core:\n")
	section, _, _ = strings.Cut(section, "          allow:\n")
	var held []string
	for line := range strings.SplitSeq(section, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), `- "**/internal/`); ok {
			held = append(held, strings.TrimSuffix(name, `/*.go"`))
		}
	}
	slices.Sort(held)
	var pure []string
	for pkg, r := range table() {
		if r.pure {
			pure = append(pure, pkg)
		}
	}
	slices.Sort(pure)
	if !slices.Equal(held, pure) {
		t.Errorf("depguard's core in .golangci.yml is %q, the pure packages are %q", held, pure)
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
