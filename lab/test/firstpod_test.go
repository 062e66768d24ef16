package test_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// pods are the UIDs of a workload's pods by the revision they are on.
func (w *world) pods(app, version string) map[string][]string {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app + ",version=" + version})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string][]string{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			rev := p.Annotations["istio.io/rev"]
			out[rev] = append(out[rev], string(p.UID))
		}
	}
	for _, uids := range out {
		slices.Sort(uids)
	}
	return out
}

// Rolled out, one new pod of a workload with several is proven beside the old ones, which
// are there, untouched, if it is taken back; else the rest follows.
func TestFirstPods_goAheadOfTheOthers(t *testing.T) {
	w := newWorldOf(t, bookinfo.Options{Replicas: 3, Drain: 5 * time.Second}, "1.27.0", "1.29.1")
	before, old := settle(w.snapshot()), w.pods("reviews", "v1")["default"]
	first := "restart-first-pods default/reviews-v1  proving"
	var during map[string][]string
	code, said := w.watched(first, func() {
		during = w.pods("reviews", "v1")
		if code, _ := w.ran("abort"); code != 0 && code != 4 { // 0 where apply still drives the run, 4 where it has let go already
			t.Errorf("abort: exit code %d", code)
		}
	}, "apply", w.plan("1.29.1", "--restarts", "rollout"), "--approve")
	if code != 4 || !strings.Contains(said, "aborted") {
		t.Errorf("exit code %d", code)
	}
	if len(during["1-29-1"]) != 1 || cmp.Diff(old, during["default"]) != "" {
		t.Errorf("beside the old pods %v there were %v", old, during)
	}
	w.run(5, "rollback")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	if d := cmp.Diff(map[string][]string{"default": old}, w.pods("reviews", "v1")); d != "" {
		t.Errorf("the old pods were not left alone: %s", d)
	}
	w.run(0, "apply", w.plan("1.29.1", "--restarts", "rollout"), "--approve")
	w.lost()
	if got := w.pods("reviews", "v1"); len(got["1-29-1"]) != 3 || len(got) != 1 {
		t.Errorf("at the end: %v", got)
	}
}
