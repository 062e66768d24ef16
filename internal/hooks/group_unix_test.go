//go:build unix

package hooks_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

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
	var state []byte
	gone := func(context.Context) (bool, error) { // the signal is sent, and a busy machine takes its time
		var err error
		state, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil || syscall.Kill(child, 0) != nil {
			return true, nil //nolint:nilerr // it is not there: that is the answer
		}
		return strings.Contains(string(state), ") Z ") || strings.Contains(string(state), ") X "), nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, gone); err != nil {
		t.Errorf("its child is there still: %s", state)
	}
}
