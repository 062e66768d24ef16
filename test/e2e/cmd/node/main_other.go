//go:build !linux

// Command node makes a one-node Kubernetes with real pods, on Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "node: making a node takes Linux\n  remedy: run the tests on another cluster: make e2e KUBECONFIG=FILE (test/e2e/kind.sh makes one)")
	os.Exit(1)
}
