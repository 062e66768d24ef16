package e2e_test

import (
	"testing"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// The whole upgrade and its rollback where services stop at SIGTERM, of one replica
// each: a rollout restart loses requests of such services, detaching their pods does
// not (S-35 to S-41). Connections are new: what a client outside of the mesh keeps
// open to a pod ends with that pod, however it goes.
func TestDetach_losesNothingOfServicesThatStopAtSIGTERM(t *testing.T) {
	w := newWorld(t, sample.Options{})
	w.fresh = true

	t.Run("there", func(t *testing.T) {
		w := w.in(t)
		file := w.plan() // auto is the default
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
