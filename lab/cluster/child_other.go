//go:build !linux

package cluster

import "syscall"

// childAttr gives the child a group of its own, so that ctrl-C reaches the lab
// alone, which ends its children in order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
