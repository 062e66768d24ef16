// Command serin upgrades Istio by revision. As kubectl-serin it is a plugin of
// kubectl. Here is wiring only: adapters are built and handed to the shell.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the zones of windows, where the machine has none

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the ways to log in that kubectl knows

	"github.com/serin-mesh/serin/internal/cli"
)

func main() {
	os.Exit(realMain())
}

// realMain returns before the process ends, so that what is deferred is done.
func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ctrl-C ends the process at once
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return cli.Main(ctx, os.Args, streams, world())
}
