package test_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// tagRow is what `tag list` says of a tag: its revision and its namespaces.
func tagRow(list, tag string) []string {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == tag {
			return append(f[1:], "", "")[:2]
		}
	}
	return nil
}

// sameTags wants serin and both releases' istioctl to say the same of each tag.
// Intended difference: istioctl lists a revision that has no tag as a row without
// a name; serin lists tags only.
func (w *world) sameTags(tags ...string) {
	w.t.Helper()
	ours := w.run(0, "tag", "list")
	for _, release := range []string{"1.27.0", "1.29.1"} {
		theirs := w.istioctl(release, "tag", "list")
		for _, tag := range tags {
			a, b := tagRow(ours, tag), tagRow(theirs, tag)
			if a == nil || b == nil || a[0] != b[0] {
				w.t.Errorf("tag %s: serin says %v, istioctl %s says %v", tag, a, release, b)
				continue
			}
			// Intended difference: the namespaces of the default tag are those that follow
			// it; istioctl lists only those that are labelled istio.io/rev=default.
			if tag != mesh.DefaultTag && strings.ReplaceAll(a[1], "<none>", "") != b[1] {
				w.t.Errorf("tag %s: serin says %v, istioctl %s says %v", tag, a, release, b)
			}
		}
	}
}

// The commands by themselves, with istioctl as the oracle: what one sets, moves
// or removes the other understands, in both orders. S-1, S-2, S-5, S-53, S-54.
func TestOperations_andIstioctlUnderstandEachOther(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	before := settle(w.snapshot())
	charts := []string{"--charts", w.lab.ChartRepo()}

	// The control plane, with the old one's values.
	shown := w.run(0, append([]string{"install", "istiod", "--revision", "canary", "--version", "1.29.1", "--from-revision", "default"}, charts...)...)
	if !strings.Contains(shown, "+ revision: canary") {
		t.Errorf("S-15: what is carried over is not shown:\n%s", shown)
	}
	for _, rev := range []string{"canary", "default"} {
		if _, ok := w.snapshot().ControlPlane(rev); !ok {
			t.Errorf("there is no control plane %s", rev)
		}
	}

	// serin sets, istioctl lists; istioctl sets, serin lists and moves.
	w.run(0, "tag", "set", "prod-stable", "--revision", "default")
	w.istioctl("1.29.1", "tag", "set", "prod-canary", "--revision", "canary", "-y")
	w.sameTags("prod-stable", "prod-canary")
	w.run(0, "tag", "set", "prod-canary", "--revision", "default", "--overwrite")
	w.sameTags("prod-canary")
	w.istioctl("1.29.1", "tag", "set", "prod-stable", "--revision", "canary", "--overwrite", "-y")
	w.sameTags("prod-stable")
	for _, tag := range w.snapshot().Tags() {
		if tag.Split {
			t.Errorf("S-2: %+v", tag)
		}
	}

	// istioctl 1.27 knows no tag Services: what it moves is split from 1.28 on, and repaired.
	w.istioctl("1.27.0", "tag", "set", "prod-stable", "--revision", "default", "--overwrite", "-y")
	if list := w.run(0, "tag", "list"); !regexp.MustCompile(`(?m)^prod-stable .* split$`).MatchString(list) {
		t.Errorf("istioctl 1.27 splits a tag that has a Service:\n%s", list)
	}
	w.run(3, "tag", "set", "prod-stable", "--revision", "canary", "--overwrite")
	w.run(0, "tag", "repair", "prod-stable")
	w.sameTags("prod-stable")

	// Each removes what the other has set.
	w.istioctl("1.29.1", "tag", "remove", "prod-stable", "-y")
	w.run(0, "tag", "remove", "prod-canary", "-y")
	if list := w.istioctl("1.29.1", "tag", "list"); strings.Contains(list, "prod-") {
		t.Errorf("istioctl still lists them:\n%s", list)
	}
	w.run(0, "tag", "list")

	// A namespace there, and, taken back, as it was.
	w.run(0, "move", "default", "--to", "canary", "--soak", "2s", "--probe-url", "http://"+w.address+"/productpage", "--probe-host", "bookinfo.example.com")
	for _, p := range w.snapshot().Pods {
		if p.Namespace == "default" && !p.Leaving && p.Revision != "canary" {
			t.Errorf("pod %s is on %s", p.Name, p.Revision)
		}
	}
	w.run(3, "uninstall", "--revision", "canary", "-y") // S-54: the namespace relies on it
	w.run(5, "rollback")
	eventually(t, "the canary's pods to have gone: until then their proxies rely on it", func() bool {
		return !slices.ContainsFunc(w.selected(t, ""), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	})

	w.run(0, "uninstall", "--revision", "canary", "-y")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}

	// What istioctl installed serin removes, and the other way about; shared objects stay what they are.
	w.istioctl("1.29.1", "install", "-y", "--set", "profile=minimal", "--set", "revision=theirs", "--set", "values.global.hub=docker.io/istio", "--set", "values.global.tag=1.29.1")
	w.run(0, "tag", "list")
	if tag, ok := w.snapshot().Tag("default"); ok && tag.Revision == "theirs" { // R§2.4: the trap
		w.run(0, "tag", "set", "default", "--revision", "default", "--overwrite")
	}
	w.run(0, "uninstall", "--revision", "theirs", "-y")
	if revs := w.snapshot().Revisions(); !slices.Equal(revs, []string{"default"}) {
		t.Errorf("revisions: %v", revs)
	}
	w.run(0, append([]string{"install", "istiod", "--revision", "ours", "--version", "1.29.1"}, charts...)...)
	w.istioctl("1.29.1", "uninstall", "--revision", "ours", "-y")
	w.run(0, "snapshot")
	w.lost()
}
