package cli_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/cli"
)

// printed is a text of the program that names a command, as it stands in the code: what
// is put in while it runs is NAME.
type printed struct{ at, text string }

var (
	verb    = regexp.MustCompile(`%[-+#]?[0-9.]*[a-zA-Z]`)
	command = regexp.MustCompile("(^|[^-a-zA-Z/.])serin ([a-z][-a-z]+[^,;:()\"`\n]*)")
)

// TestRemedies: each command that a finding, an error or a hint names is one that this
// program has, with flags that it takes, and what it asks for is given.
func TestRemedies(t *testing.T) {
	var checked []string
	for _, p := range texts(t, "..") {
		for _, m := range command.FindAllStringSubmatch(p.text, -1) {
			words := strings.Fields(strings.TrimRight(m[2], ". "))
			if i := slices.IndexFunc(words, func(w string) bool { return slices.Contains([]string{"serin", "then", "or", "|"}, w) }); i > 0 {
				words = words[:i]
			}
			if slices.Contains(sentences, words[0]) || slices.Contains(sentences, strings.Join(words[:min(2, len(words))], " ")) {
				continue
			}
			root := cli.Root()
			if why := typed(root, words); why != "" {
				t.Errorf("%s: %q: %s", p.at, "serin "+strings.Join(words, " "), why)
			}
			checked = append(checked, strings.Join(words, " "))
		}
	}
	if len(checked) < 100 || !slices.Contains(checked, "gateway shift NAME -n NAMESPACE --to 100%") && !slices.Contains(checked, "gateway shift NAME -n NAME --to 100%") {
		t.Errorf("only %d commands were found: %q", len(checked), checked)
	}
}

// sentences are what follows serin where it is no command, but the subject of a sentence.
var sentences = strings.Split("applies,apply.,cannot,changes,did,does,explains,has,help,in,knows,lets,makes,may,moves,needs,neither,reads,sends,shows,stops,tells,to,upgrades,waits,writes,wrote,gateway proves", ",")

// typed says why the words are no command line.
func typed(root *cobra.Command, words []string) string {
	c, rest, err := root.Find(words)
	if err != nil {
		return err.Error()
	}
	if c.HasSubCommands() && !c.Runnable() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "there is no " + c.CommandPath() + " " + rest[0]
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err.Error()
	}
	if !slices.ContainsFunc(rest, func(w string) bool { return strings.HasPrefix(w, "-") || w == strings.ToUpper(w) }) {
		return "" // it is named, not spelt out
	}
	for _, name := range cli.Needed()[c.CommandPath()] {
		if !c.Flags().Changed(name) {
			return "--" + name + " is missing"
		}
	}
	return ""
}

// texts are all texts in the code that name serin.
func texts(t *testing.T, dir string) []printed {
	t.Helper()
	var out []printed
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, whole := spelt(e)
			if whole && strings.Contains(text, "serin ") {
				out = append(out, printed{set.Position(e.Pos()).String(), text})
			}
			return !whole
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// spelt is a text as it is put together, and whether the expression is one.
func spelt(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return strings.ReplaceAll(verb.ReplaceAllString(strings.ReplaceAll(s, "%%", "\x00"), "NAME"), "\x00", "%"), e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		x, left := spelt(e.X)
		y, right := spelt(e.Y)
		if e.Op != token.ADD || !left && !right {
			return "", false
		}
		if !left {
			x = "NAME"
		}
		if !right {
			y = "NAME"
		}
		return x + y, true
	}
	return "", false
}
