//go:build unix

package hooks_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// At its time-out a command goes with its children.
func TestCommand_isKilledWithItsGroup(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	a := ask(t, of(t, plan.Hook{
		Name: "mine", Type: gate.WaveHook, Timeout: plan.Duration(500 * time.Millisecond),
		Command: []string{"sh", "-c", "sleep 300 & echo $! > " + pid + "; wait"},
	}), gate.WaveHook)
	if a.Yes || a.Missing != "no answer in 500ms" {
		t.Errorf("%+v", a)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
	if syscall.Kill(child, 0) == nil && err == nil && !strings.Contains(string(state), ") Z ") && !strings.Contains(string(state), ") X ") {
		t.Errorf("its child is there still: %s", state)
	}
}
