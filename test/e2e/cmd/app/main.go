// Command app is the sample's one image: a service of package service, or, with
// the argument "load", the load of package load.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/serin-mesh/serin/test/e2e/load"
	"github.com/serin-mesh/serin/test/e2e/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		return load.Serve(ctx, ":"+load.Port)
	}
	drain, err := time.ParseDuration(cmp.Or(os.Getenv("DRAIN"), "5s"))
	if err != nil {
		return fmt.Errorf("reading DRAIN: %w", err)
	}
	return service.Run(ctx, service.Config{
		Name: os.Getenv("NAME"), Pod: os.Getenv("POD"), Upstreams: service.Parse(os.Getenv("UPSTREAMS")),
		Drain: drain, Ledger: os.Getenv("LEDGER"),
	})
}
