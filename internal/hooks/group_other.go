//go:build !unix

package hooks

import "os/exec"

// asGroup leaves it as it is: only the command itself is killed there.
func asGroup(*exec.Cmd) {}
