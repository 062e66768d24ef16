package test_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// beside is a lab with a second control plane, to which the namespace's labels lead.
func beside(t *testing.T) *world {
	t.Helper()
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0", "1.29.1")
	w.secondPlane()
	return w
}

// secondPlane installs it, and lets the namespace's labels lead to it.
func (w *world) secondPlane() {
	w.t.Helper()
	w.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.run(0, "move", "default", "--to", "1-29-1", "--labels-only")
}

// Six services of one pod that stop at SIGTERM, restarted three times by each method,
// a request every twenty milliseconds: what each loses. S-35 to S-41.
func TestDetach_threeRunsOfEach(t *testing.T) {
	w := beside(t)
	if lost := w.tally(); lost > 0 {
		t.Fatalf("%d requests lost before anything was done", lost)
	}
	byRollout, to := 0, "1-29-1"
	var table []string
	for run := 1; run <= 3; run++ {
		for _, method := range []string{"rollout", "detach"} {
			sent, begun := w.sent, time.Now()
			w.run(0, "restart", "-n", "default", "--method", method, "--soak", "5s")
			took := time.Since(begun).Round(time.Second)
			lost := w.tally()
			table = append(table, fmt.Sprintf("| %d | %s | %s | %d | %d |", run, method, took, w.sent-sent, lost))
			if method == "rollout" {
				byRollout += lost
			} else if lost > 0 {
				t.Errorf("run %d: detaching lost %d requests", run, lost)
			}
			if to == "1-29-1" {
				to = "default"
			} else {
				to = "1-29-1"
			}
			w.run(0, "move", "default", "--to", to, "--labels-only")
		}
	}
	t.Logf("| run | method | took | requests | lost |\n%s", strings.Join(table, "\n"))
	if byRollout == 0 {
		t.Error("S-56: rollouts lost nothing: the comparison proves nothing")
	}
	if left := w.marks(); len(left) > 0 {
		t.Errorf("let go and left: %v", left)
	}
}
