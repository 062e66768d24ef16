// Command lab starts, ends and disturbs a lab: see package lab.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the lab at once
	root := &cobra.Command{
		Use: "lab", Short: "a Kubernetes with real Istio, without root or containers",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(upCommand(), downCommand(), statusCommand(), faultCommand(), buildCommand(), demoCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lab: "+err.Error())
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}
