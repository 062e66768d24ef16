package cli_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestHelp keeps every flag and word of the command line where a review sees it change.
func TestHelp(t *testing.T) {
	var b strings.Builder
	for _, c := range append([]string{""}, cli.Commands()...) {
		code, out, _ := (&fake{}).serin(t, "help "+c)
		if code != 0 || out == "" {
			t.Errorf("serin help %s: exit code %d", c, code)
		}
		// The flags that every command has from kubectl are not serin's to describe.
		own, _, _ := strings.Cut(out, "\nGlobal Flags:")
		if c == "" {
			own, _, _ = strings.Cut(out, "\nFlags:")
		}
		b.WriteString(strings.TrimSpace("$ serin help "+c) + "\n" + strings.TrimSpace(own) + "\n\n")
	}
	file := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("help (-want +got):\n%s", diff)
	}
}

// What an example shows can be typed.
func TestExamplesAreTaken(t *testing.T) {
	for _, line := range cli.Misread() {
		t.Error(line)
	}
}
