package walk

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"
)

//go:embed *.txtar
var scripts embed.FS

// Script is one walk-through.
type Script struct {
	Name    string
	Text    string            // the commands
	Files   map[string]string // what they take
	Before  []string          // what is typed before it begins
	ByHand  []string          // what is typed without serin
	archive *txtar.Archive
}

// The files that say what serin does not do.
const (
	beforeFile = "before.txt"
	byHandFile = "by-hand.txt"
)

// Scripts are the walk-throughs in their order.
func Scripts() ([]Script, error) {
	names, err := scripts.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("reading the scripts: %w", err)
	}
	var out []Script
	for _, n := range names {
		b, err := scripts.ReadFile(n.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the scripts: %w", err)
		}
		out = append(out, parse(strings.TrimSuffix(n.Name(), ".txtar"), b))
	}
	return out, nil
}

func parse(name string, b []byte) Script {
	s := Script{Name: name, archive: txtar.Parse(b), Files: map[string]string{}}
	s.Text = string(s.archive.Comment)
	for _, f := range s.archive.Files {
		switch f.Name {
		case beforeFile:
			s.Before = lines(string(f.Data))
		case byHandFile:
			s.ByHand = lines(string(f.Data))
		default:
			s.Files[f.Name] = string(f.Data)
		}
	}
	return s
}

// lines are the commands of a file, without comments.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

// World is the cluster that a script runs on.
type World struct {
	Serin   string                     // the program
	As      map[string]string          // kubeconfigs, by who acts
	Charts  string                     // Helm repository or directory; Istio's own when empty
	Istiod  map[string]any             // istiod's values that the cluster needs
	Gateway map[string]any             // and the gateway chart's
	Sample  func(args ...string) error // puts the sample into a namespace
	Drained func() error               // waits until no pod is leaving any more
	Apply   func(text string) error    // makes Istio\'s configuration
	Types   func(line string) error    // types a command of another tool
	Same    func(name string)          // is called where both ways must have led to the same mesh
	Mesh    string                     // its name: the kubeconfig's context
}

// The users of a script.
const (
	Upgrader  = "upgrader"  // may do what serin rbac prints
	Viewer    = "viewer"    // may do what serin rbac --read-only prints
	Rehearser = "rehearser" // may do what serin rbac --rehearse prints
)

// Write writes the script's files into a directory, with what the cluster needs in
// those that hold values.
func (s Script) Write(dir string, w World) error {
	for name, text := range s.Files {
		text, err := w.needs(name, text)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// needs lays what the cluster needs under the values of a file.
func (w World) needs(name, text string) (string, error) {
	if strings.HasPrefix(name, "config") { // Istio's, not values
		return text, nil
	}
	var own map[string]any
	if err := yaml.Unmarshal([]byte(text), &own); err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	switch {
	case strings.HasPrefix(name, "gateway"):
		own = over(w.Gateway, own)
	case own["kind"] == "IstioOperator":
		own = over(map[string]any{"spec": map[string]any{"values": w.Istiod}}, own)
	default:
		own = over(w.Istiod, own)
	}
	b, err := yaml.Marshal(own)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return string(b), nil
}

// over lays one map over another.
func over(under, top map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range top {
		a, isMap := out[k].(map[string]any)
		b, too := v.(map[string]any)
		if isMap && too {
			v = over(a, b)
		}
		out[k] = v
	}
	return out
}

// Run runs a script.
func (s Script) Run(t *testing.T, w World) {
	t.Helper()
	file := filepath.Join(t.TempDir(), s.Name+".txtar")
	if err := os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: s.archive.Comment}), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.RunT(atOnce{t}, testscript.Params{
		Files: []string{file}, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(w.Serin)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("CHARTS", w.Charts)
			e.Setenv("MESH", w.Mesh)
			e.Setenv("KUBECONFIG", w.As[Upgrader])
			return s.Write(e.WorkDir, w)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 || w.As[args[0]] == "" {
					ts.Fatalf("usage: as %v", slices.Sorted(maps.Keys(w.As)))
				}
				ts.Setenv("KUBECONFIG", w.As[args[0]])
			},
			"code": code,
			"sample": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(w.Sample(args...))
			},
			"drained": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(w.Drained())
			},
			"apply": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 1 {
					ts.Fatalf("usage: apply FILE")
				}
				ts.Check(w.Apply(ts.ReadFile(args[0])))
			},
			"types": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(w.Types(strings.Join(args, " ")))
			},
			"same": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 1 {
					ts.Fatalf("usage: same NAME")
				}
				w.Same(args[0])
			},
		},
	})
}

// code runs a command that must end with an exit code: "code 3 serin uninstall".
func code(ts *testscript.TestScript, neg bool, args []string) { //nolint:revive // the signature is testscript's
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// atOnce runs a script where it stands: testscript would run it after the test that
// asks for it, beside others.
type atOnce struct{ *testing.T }

// Parallel does nothing.
func (atOnce) Parallel() {}

// Verbose shows what a script does also when it goes well.
func (atOnce) Verbose() bool { return true }

// Run runs a part of the test.
func (a atOnce) Run(name string, f func(testscript.T)) {
	a.T.Run(name, func(t *testing.T) { f(atOnce{t}) })
}

// Ran is a command of a script that must go well, and who runs it.
type Ran struct {
	User  string
	Words []string // of the command line, without serin
}

// Commands are what the scripts run. A command that must be refused is not among them.
func Commands(scripts []Script) []Ran {
	var out []Ran
	for _, s := range scripts {
		user := Upgrader
		for _, l := range lines(s.Text) {
			f := strings.Fields(l)
			switch i := slices.Index(f, "serin"); {
			case f[0] == "as":
				user = f[1]
			case i > 0 && f[0] != "!" && !strings.HasPrefix(l, "code 3 "):
				out = append(out, Ran{user, f[i+1:]})
			}
		}
	}
	return out
}
