package test_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// unprobed is a plan that loses what its restarts lose, and goes on.
func (w *world) unprobed(method string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), method+".yaml")
	w.run(0, "plan", "--to", "1.29.1", "--charts", w.lab.ChartRepo(), "--soak", "2s", "--ignore-check", "SRN1060", "--restarts", method, "-o", file)
	return file
}

// generations are those of the Deployments' specs: what is detached is never written.
func (w *world) generations() map[string]int64 {
	w.t.Helper()
	list, err := w.kube.AppsV1().Deployments("default").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, d := range list.Items {
		out[d.Name] = d.Generation
	}
	return out
}

// marks are the pods that were let go and are there still.
func (w *world) marks() []string {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, p := range list.Items {
		if p.Annotations["serin.dev/detached"] != "" && p.DeletionTimestamp == nil {
			out = append(out, p.Name)
		}
	}
	return out
}

// Services that stop at SIGTERM, one pod each: what a rollout loses of them, there
// and back, and that detaching loses nothing. S-35 to S-41.
func TestDetach_besideRollout(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0", "1.29.1")
	before, templates := settle(w.snapshot()), w.generations()
	file := w.unprobed("auto")
	for range 2 {
		w.run(0, "apply", file, "--approve")
		w.allNew()
		if lost := w.tally(); lost > 0 {
			t.Errorf("there, detached: %d requests lost", lost)
		}
		w.run(5, "rollback")
		if lost := w.tally(); lost > 0 {
			t.Errorf("back, detached: %d requests lost", lost)
		}
		if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
			t.Errorf("S-51: not as before (-before +after):\n%s", d)
		}
		if d := cmp.Diff(templates, w.generations()); d != "" {
			t.Errorf("a Deployment was written: %s", d)
		}
		if left := w.marks(); len(left) > 0 {
			t.Errorf("let go and left: %v", left)
		}
		file = w.unprobed("auto") // the CRDs stay new, and the plan says so
	}
	w.run(0, "apply", w.unprobed("rollout"), "--approve")
	if lost := w.tally(); lost == 0 {
		t.Error("a rollout lost nothing: the comparison proves nothing")
	}
}

// Killed in each step of a whole upgrade that detaches, at a random moment, there and
// back, under load. S-36, S-49.
func TestDetach_killedUnderLoad(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0", "1.29.1")
	before, r := settle(w.snapshot()), seeded(t)
	n, code, said := w.mortal(r, "apply", w.unprobed("auto"), "--approve")
	if code != 0 {
		t.Fatalf("apply: exit code %d\n%s", code, said)
	}
	w.allNew()
	more, code, said := w.mortal(r, "rollback")
	if code != 5 && !strings.Contains(said, "no open run") {
		t.Fatalf("rollback: exit code %d\n%s", code, said)
	}
	t.Logf("killed %d times", n+more)
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	if left := w.marks(); len(left) > 0 {
		t.Errorf("let go and left: %v", left)
	}
	if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
}

// No new pod comes: the old one is its Deployment's again, and was never away; what
// could come then, comes. A serin that never returns leaves nothing that serves for
// ever: its node ends it. S-36, S-40.
func TestDetach_nobodyComes(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.run(0, "move", "default", "--to", "1-29-1", "--labels-only")
	deadline := int32(10)
	d, err := w.kube.AppsV1().Deployments("default").Get(t.Context(), "details-v1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.ProgressDeadlineSeconds = &deadline
	if _, err := w.kube.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	old := w.pods("details", "v1")
	w.fault("stall", "default/details-v1")
	restart := []string{"restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s"}
	if code, said := w.ran(restart...); code != 4 || !strings.Contains(said, "no pod came in the place") {
		t.Errorf("exit code %d", code)
	}
	w.until("the old pod alone", func() string { return cmp.Diff(old, w.pods("details", "v1")) })
	if left := w.marks(); len(left) > 0 {
		t.Errorf("let go and left: %v", left)
	}
	w.fault("unstall", "default/details-v1")
	w.run(0, "resume")
	if now := w.pods("details", "v1"); len(now["1-29-1"]) != 1 || len(now) != 1 {
		t.Errorf("got %v", now)
	}
	w.lost()
	w.abandoned()
}

// abandoned lets a pod go as serin does, and forgets it: its node ends it.
func (w *world) abandoned() {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=ratings"})
	if err != nil || len(list.Items) != 1 {
		w.t.Fatalf("%v, %d pods", err, len(list.Items))
	}
	p := &list.Items[0]
	delete(p.Labels, "pod-template-hash")
	if p, err = w.kube.CoreV1().Pods("default").Update(w.t.Context(), p, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.until("another pod", func() string {
		if n := w.pods("ratings", "v1"); len(n["1-29-1"]) == 0 {
			return "none yet"
		}
		return ""
	})
	soon := int64(time.Since(p.Status.StartTime.Time)/time.Second) + 2
	p, err = w.kube.CoreV1().Pods("default").Get(w.t.Context(), p.Name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	p.Spec.ActiveDeadlineSeconds = &soon
	if _, err := w.kube.CoreV1().Pods("default").Update(w.t.Context(), p, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.until("its end", func() string {
		now, err := w.kube.CoreV1().Pods("default").Get(w.t.Context(), p.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodFailed {
			return string(now.Status.Phase)
		}
		return ""
	})
}
