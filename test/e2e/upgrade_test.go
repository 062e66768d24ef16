package e2e_test

import (
	"testing"
	"time"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// The whole upgrade with all kinds of load on, taken back half way, done, and
// taken back from its end. Services that drain lose nothing. S-55 to S-57.
func TestUpgrade_thereAndBackLosesNothing(t *testing.T) {
	w := newWorld(t, sample.Options{Drain: 5 * time.Second})

	t.Run("half way and back", func(t *testing.T) {
		w := w.in(t)
		file := w.plan()
		w.begin()
		w.run(4, "apply", file) // stops before what needs approval: the removal
		w.on(*toFlag)
		w.run(5, "rollback")
		w.lost(w.end("half way and back"))
		w.on(*fromFlag)
	})
	t.Run("there", func(t *testing.T) {
		w := w.in(t)
		file := w.plan()
		w.begin()
		w.run(0, "apply", file, "--approve")
		w.lost(w.end("there"))
		w.on(*toFlag)
	})
	t.Run("back", func(t *testing.T) {
		w := w.in(t)
		w.begin()
		w.run(5, "rollback")
		w.lost(w.end("back"))
		w.on(*fromFlag)
	})
}

// in is the world within a part of a test.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, kubeconfig: w.kubeconfig, charts: w.charts, serin: w.serin, cfg: w.cfg, kube: w.kube, loader: w.loader,
		fresh: w.fresh, rates: w.rates, front: w.front,
	}
}
