package cluster

import "syscall"

// childAttr makes the kernel kill the child when the lab dies, however it dies;
// and gives it a group of its own, so that ctrl-C reaches the lab alone, which
// ends its children in order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
