package script_test

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/cli"
)

// hostile is one malformed input. Want is a pattern of what must be said; FILE in
// it, and in the arguments, is the input's file. Code -1 asks only that it ends.
type hostile struct {
	Name  string   `json:"name"`
	Args  []string `json:"args"`
	File  string   `json:"file"`
	Times int      `json:"times"`
	Want  string   `json:"want"`
	Code  int      `json:"code"`
}

// No input panics, writes, or fails without naming the place.
func TestHostileInputs(t *testing.T) {
	b, err := os.ReadFile("testdata/hostile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var corpus []hostile
	if err := yaml.UnmarshalStrict(b, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus) < 200 {
		t.Errorf("only %d inputs", len(corpus))
	}
	for _, in := range corpus {
		t.Run(in.Name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("SERIN_FAKE", dir)
			t.Setenv("KUBECONFIG", filepath.Join(dir, "kubeconfig"))
			here().save("snapshot.yaml", canary([]string{"1.27.0", "1.29.1"}).Tag("prod", "1-29-1").Snapshot())
			before := contents(t, dir)
			in.try(t)
			if d := gocmp.Diff(before, contents(t, dir)); d != "" {
				t.Errorf("it has written (-before +after): %.300s", d)
			}
		})
	}
}

func (in hostile) try(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(file, []byte(strings.Repeat(in.File, cmp.Or(in.Times, 1))), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"serin"}
	for _, a := range in.Args {
		args = append(args, strings.ReplaceAll(a, "FILE", file))
	}
	var out, talk bytes.Buffer
	code := cli.Main(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &talk}, fakeWorld())
	said := out.String() + talk.String()
	if in.Code >= 0 && code != 1 && code != 3 {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	want := strings.ReplaceAll(in.Want, "FILE", regexp.QuoteMeta(file))
	if !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("it does not say %q:\n%.600s", want, said)
	}
	if len(said) > 8000 {
		t.Errorf("it says %d bytes", len(said))
	}
}

// contents are the world's files but the clock, which goes on by looking.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	maps.DeleteFunc(out, func(name, _ string) bool { return name == "/clock" })
	return out
}
