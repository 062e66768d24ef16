package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	rulesPage = "../../docs/SAFETY.md"
	factsPage = "../../docs/istio-revisions.md"
	lastRule  = 57
)

var (
	citedRule = regexp.MustCompile(`\bS-(\d+)\b`)
	citedFact = regexp.MustCompile(`R§(\d+(?:\.\d+)?)`)
	anchor    = regexp.MustCompile(`<a id="([sr])-([0-9-]+)"></a>`)
	proof     = regexp.MustCompile(`(?m)^<a id="s-(\d+)"></a>.*\n\[([^]]+)\]\(\.\./([^)]+)\)$`)
)

// Every rule and every fact that is cited is on its page.
func TestCites_leadSomewhere(t *testing.T) {
	there := anchors(t)
	for name, text := range texts(t, ".go", ".md", ".txtar") {
		for _, c := range citedRule.FindAllStringSubmatch(text, -1) {
			if !there["s-"+c[1]] {
				t.Errorf("%s cites S-%s, which docs/SAFETY.md does not have", name, c[1])
			}
		}
		for _, c := range citedFact.FindAllStringSubmatch(text, -1) {
			if !there["r-"+strings.ReplaceAll(c[1], ".", "-")] {
				t.Errorf("%s cites R§%s, which docs/istio-revisions.md does not have", name, c[1])
			}
		}
	}
}

// Every rule has a test that names it: the page says which, and the file does.
func TestRules_areNamedByTests(t *testing.T) {
	page := read(t, rulesPage)
	var seen []string
	for _, p := range proof.FindAllStringSubmatch(page, -1) {
		number, shown, file := p[1], p[2], p[3]
		seen = append(seen, number)
		if shown != file || !strings.HasSuffix(file, "_test.go") {
			t.Errorf("S-%s: %s is shown as %s; a test is wanted", number, file, shown)
			continue
		}
		// S-7, and S7 or S07 in the names of tests.
		if !regexp.MustCompile(`(\b|Test|_)S-?0?` + number + `(\b|_)`).MatchString(read(t, filepath.Join("../..", file))) {
			t.Errorf("%s does not name S-%s", file, number)
		}
	}
	for n := 1; n <= lastRule; n++ {
		if !slices.Contains(seen, strconv.Itoa(n)) {
			t.Errorf("docs/SAFETY.md has no rule S-%d with its test", n)
		}
	}
	if len(seen) != lastRule {
		t.Errorf("%d rules with a test, want %d: %v", len(seen), lastRule, seen)
	}
}

// The numbers are for who reads the code: users are told the reason in words.
func TestCites_areNotShownToUsers(t *testing.T) {
	for name, text := range texts(t, ".go") {
		if strings.HasSuffix(name, "_test.go") || !strings.HasPrefix(name, "internal/") && !strings.HasPrefix(name, "cmd/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && (citedRule.MatchString(lit.Value) || citedFact.MatchString(lit.Value)) {
				t.Errorf("%s shows %s", name, lit.Value)
			}
			return true
		})
	}
}

func anchors(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for _, page := range []string{rulesPage, factsPage} {
		for _, a := range anchor.FindAllStringSubmatch(read(t, page), -1) {
			id := a[1] + "-" + a[2]
			if there[id] {
				t.Errorf("%s has two anchors %s", page, id)
			}
			there[id] = true
		}
	}
	return there
}

// texts are the repository's files with such names, by their path.
func texts(t *testing.T, suffixes ...string) map[string]string {
	t.Helper()
	const root = "../.."
	out := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "node_modules"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(suffixes, filepath.Ext(name)) {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		out[filepath.ToSlash(rel)] = read(t, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 100 {
		t.Fatalf("%d files: the test looks at the wrong tree", len(out))
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
