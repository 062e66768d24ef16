package test_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Taken back after its end, with the old control plane removed: that is
// reinstalled from what the run kept, and nothing is lost on the way. S-51, S-54.
func TestRollback_ofAFinishedUpgrade(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	before := w.snapshot()
	w.run(0, "apply", w.plan("1.29.1"), "--approve")
	w.run(5, "rollback")
	w.lost()
	if d := cmp.Diff(settle(before), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	if tags := w.istioctl("1.27.0", "tag", "list"); strings.Contains(tags, "1-29-1") {
		t.Errorf("istioctl tag list:\n%s", tags)
	}
}
