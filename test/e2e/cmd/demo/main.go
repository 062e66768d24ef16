// Command demo shows serin's main job on a cluster with real pods: the demo of the
// lab, on the mesh that the tests here upgrade. It takes any cluster without an
// Istio whose gateway answers where it runs, as the tests do, by the same
// environment.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/lab/demo"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

func main() {
	from := flag.String("from", "1.27.0", "release of Istio to begin with")
	to := flag.String("to", "1.29.1", "release of Istio to upgrade to")
	serin := flag.String("serin", "serin", "the serin binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, demo.Options{Serin: *serin, From: *from, To: *to, Host: sample.Host, Path: sample.Path, Out: os.Stdout})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run puts the mesh on the cluster, shows its upgrade, and takes it off again.
func run(ctx context.Context, o demo.Options) error {
	o.Kubeconfig, o.Charts = os.Getenv("SERIN_E2E_KUBECONFIG"), cmp.Or(os.Getenv("SERIN_E2E_CHARTS"), istio.DefaultCharts)
	if o.Kubeconfig == "" {
		return errors.New("looking for the cluster: SERIN_E2E_KUBECONFIG is not set\n  remedy: make demo REAL=1 makes one")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	values, err := sample.ReadValues(os.Getenv("SERIN_E2E_VALUES"))
	if err != nil {
		return fmt.Errorf("installing the mesh: %w", err)
	}
	loader, err := sample.NewLoader(cfg)
	if err != nil {
		return fmt.Errorf("installing the mesh: %w", err)
	}
	fmt.Fprintf(os.Stderr, "installing Istio %s, a gateway and six services\n", o.From)
	mesh := sample.Mesh{Charts: o.Charts, Version: o.From, Values: values, App: sample.Options{Drain: 5 * time.Second}}
	if err := sample.Install(ctx, cfg, mesh); err != nil {
		return fmt.Errorf("installing the mesh: %w", err)
	}
	if err := loader.Settle(ctx); err != nil {
		return fmt.Errorf("installing the mesh: %w", err)
	}
	err = show(ctx, o, loader)
	if gone := sample.Remove(context.WithoutCancel(ctx), cfg); gone != nil {
		return errors.Join(err, fmt.Errorf("removing the mesh: %w", gone))
	}
	return err
}

// show runs the demo against the gateway's Service.
func show(ctx context.Context, o demo.Options, loader sample.Loader) error {
	addresses, err := loader.Addresses(ctx)
	if err != nil {
		return fmt.Errorf("looking for the gateway: %w", err)
	}
	o.Address = addresses.Gateway
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return fmt.Errorf("looking for the gateway: its Service does not answer here: %w\n  remedy: run this on a node of the cluster; make demo REAL=1 does", err)
	}
	_ = c.Close()
	if o.Dir, err = os.MkdirTemp("", "serin-demo-"); err != nil {
		return fmt.Errorf("making a directory for the plan: %w", err)
	}
	defer func() { _ = os.RemoveAll(o.Dir) }()
	if _, err := demo.Run(ctx, o); err != nil {
		return fmt.Errorf("running the demo: %w", err)
	}
	return nil
}
