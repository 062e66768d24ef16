//go:build unix

package hooks

import (
	"os/exec"
	"syscall"
)

// asGroup makes the command the first of a group of processes that is killed as a whole.
func asGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
