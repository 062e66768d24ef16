package test_test

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seeded draws at random; SERIN_SEED draws the same again.
func seeded(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SERIN_SEED"), 10, 64); err == nil {
		seed = n
	}
	tb.Logf("SERIN_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// step is a line of progress that says that a deed begins or is judged.
var step = regexp.MustCompile(`\s(\d+/\d+ \S+) .*  (applying|proving|undoing)`)

// Killed once in each step, at a random moment of it, there and back until that was
// thirty times, under load, and started again each time: it ends all new, then as
// before, and nothing is lost. S-49, S-51.
func TestKill_inEachStepUnderLoad(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	start, kills, r := settle(w.snapshot()), 0, seeded(t)
	for round := 0; kills < 30 && round < 4; round++ { // some moments come after their step's end
		n, code, said := w.mortal(r, "apply", w.plan("1.29.1"), "--approve")
		if kills += n; code != 0 {
			t.Fatalf("apply: exit code %d\n%s", code, said)
		}
		w.allNew()
		n, code, said = w.mortal(r, "rollback")
		if kills += n; code != 5 && !strings.Contains(said, "no open run") {
			t.Fatalf("rollback: exit code %d\n%s", code, said)
		}
		if d := cmp.Diff(start, settle(w.snapshot())); d != "" {
			t.Fatalf("S-51: not as before (-before +after):\n%s", d)
		}
		if lost := w.tally(); lost > 0 {
			t.Errorf("%d requests lost", lost)
		}
	}
	if t.Logf("killed %d times", kills); kills < 30 {
		t.Errorf("killed %d times only", kills)
	}
}

// mortal runs a command of serin until it ends by itself, and kills it within three
// seconds after each step that it comes to for the first time. It returns how often,
// the exit code and what the last life said.
func (w *world) mortal(r *rand.Rand, args ...string) (int, int, string) {
	w.t.Helper()
	seen := map[string]bool{}
	for kills := 0; ; {
		var said, talk bytes.Buffer
		cmd := w.command(args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			w.t.Fatal(err)
		}
		cmd.Stderr = &talk
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		var death *time.Timer
		for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
			m := step.FindStringSubmatch(lines.Text())
			if m == nil || seen[m[1]] || death != nil {
				continue
			}
			seen[m[1]] = true
			after := time.Duration(r.IntN(3000)) * time.Millisecond
			w.t.Logf("killed %s into %s %s", after, m[1], m[2])
			death = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		_ = cmd.Wait()
		w.t.Logf("serin %s\n%s%s", strings.Join(args, " "), said.String(), talk.String())
		if death != nil {
			death.Stop()
		}
		if code := cmd.ProcessState.ExitCode(); code >= 0 { // a signal's is -1
			return kills, code, said.String() + talk.String()
		}
		kills++
	}
}
