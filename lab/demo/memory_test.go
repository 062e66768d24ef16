package demo_test

import (
	"os/exec"
	"runtime"
	"testing"

	"github.com/serin-mesh/serin/lab/demo"
)

// A child's memory is its own, however much its parent has.
func TestMemory_isTheChildsOwn(t *testing.T) {
	ballast := make([]byte, 128<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "0.2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	most := demo.Memory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if m := most(); m <= 0 || m > 64<<20 {
		t.Errorf("sleep took %d bytes", m)
	}
	runtime.KeepAlive(ballast)
}
