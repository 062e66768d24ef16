package test_test

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The main job: 1.27.0 to 1.29.1 with traffic running, by a user with exactly the
// roles that serin prints, and back from its end. S-3, S-7, S-17, S-51, S-54.
func TestUpgrade_losesNoRequestThereAndBack(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	before := w.snapshot()
	file := w.plan("1.29.1")
	all, view := w.role(), w.role("--read-only")
	w.viewing(view, file)
	w.as("upgrader", all)
	w.run(0, "apply", file, "--approve")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}

	s := w.snapshot()
	if len(s.ControlPlanes) != 1 || s.ControlPlanes[0].Revision != "1-29-1" || s.ControlPlanes[0].Version != "1.29.1" {
		t.Errorf("control planes after the upgrade: %+v", s.ControlPlanes)
	}
	for _, p := range s.Pods {
		if !p.Leaving && (p.Revision != "1-29-1" || p.Version != "1.29.1") {
			t.Errorf("pod %s/%s is on %s %s", p.Namespace, p.Name, p.Revision, p.Version)
		}
	}
	if got := w.namespaceLabels("default"); got["istio-injection"] != "enabled" || got["istio.io/rev"] != "" {
		t.Errorf("S-7: labels that name istio-injection end as they began, got %v", got)
	}
	for _, r := range s.Releases {
		if r.Chart != "gateway" && r.Version != "1.29.1" || r.Status != "deployed" {
			t.Errorf("helm list would say %s %s-%s %s", r.Name, r.Chart, r.Version, r.Status)
		}
	}
	tags := w.istioctl("1.29.1", "tag", "list")
	if !regexp.MustCompile(`(?m)^default\s+1-29-1\b`).MatchString(tags) {
		t.Errorf("istioctl tag list:\n%s", tags)
	}
	status := w.istioctl("1.29.1", "proxy-status", "--revision", "1-29-1")
	for _, app := range []string{"details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1", "istio-ingress"} {
		if !strings.Contains(status, app) {
			t.Errorf("istioctl proxy-status does not know %s:\n%s", app, status)
		}
	}
	w.run(0, "report")
	for _, r := range s.Releases { // a user's own "helm upgrade" undoes nothing
		live := w.live(r)
		w.helmUpgrade(r)
		w.until("release "+r.Name+" as it was", func() string { return cmp.Diff(live, w.live(r)) })
	}

	// Taken back after its end, with the old control plane removed: that is
	// reinstalled from what the run kept. S-51, S-54.
	w.run(5, "rollback")
	w.lost()
	if d := cmp.Diff(settle(before), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	if tags := w.istioctl("1.27.0", "tag", "list"); strings.Contains(tags, "1-29-1") {
		t.Errorf("istioctl tag list:\n%s", tags)
	}
}

// Killed in the middle of a restart and started again, it goes on. S-49.
func TestKill_isResumed(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	file := w.plan("1.29.1")
	for i, after := range []time.Duration{3 * time.Second, 12 * time.Second, 9 * time.Second} {
		cmd := w.command("apply", file, "--approve")
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(after, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		err := cmd.Wait()
		kill.Stop()
		t.Logf("life %d ended: %v", i+1, err)
		if err == nil {
			break
		}
	}
	w.run(0, "apply", file, "--approve")
	w.lost()
	for _, p := range w.snapshot().Pods {
		if !p.Leaving && p.Version != "1.29.1" {
			t.Errorf("pod %s/%s is on %s %s", p.Namespace, p.Name, p.Revision, p.Version)
		}
	}
}
