package test_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// One replica more is tried beside the old ones, with no rollout, and goes again,
// the old pods untouched; then once more, and the rest follows. Nothing is lost. S-40.
func TestSurge_losesNothing(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{Replicas: 2, Drain: 5 * time.Second}, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.run(0, "move", "default", "--to", "1-29-1", "--labels-only")
	old := w.pods("reviews", "v1")
	sets := func() int {
		list, err := w.kube.AppsV1().ReplicaSets("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=reviews,version=v1"})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	before := sets()
	surge := []string{"restart", "-n", "default", "reviews-v1", "--surge", "--soak", "2s", "--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host}
	w.run(4, surge...)
	during := w.pods("reviews", "v1")
	if len(during["1-29-1"]) != 1 || cmp.Diff(old["default"], during["default"]) != "" || sets() != before {
		t.Errorf("beside %v there are %v, in %d ReplicaSets", old, during, sets())
	}
	w.run(5, "rollback")
	w.until("the old pods alone", func() string { return cmp.Diff(old, w.pods("reviews", "v1")) })
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost on the way back", lost)
	}
	w.run(4, surge...)
	w.run(0, "approve")
	w.until("the new pods alone", func() string {
		now := w.pods("reviews", "v1")
		return cmp.Diff([]int{0, 2}, []int{len(now["default"]), len(now["1-29-1"])})
	})
	w.lost()
}
