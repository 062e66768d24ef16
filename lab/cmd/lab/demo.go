package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/demo"
)

// demoOptions are the flags of demo.
type demoOptions struct {
	upOptions
	serin, from, to string
	noUpgrade       bool
}

func demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use: "demo", Short: "start a lab with bookinfo and upgrade its Istio under load", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDemo(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.serin, "serin", "serin", "the serin binary")
	c.Flags().StringVar(&o.from, "from", "1.27.0", "release of Istio to begin with")
	c.Flags().StringVar(&o.to, "to", "1.29.1", "release of Istio to upgrade to")
	c.Flags().BoolVar(&o.noUpgrade, "no-upgrade", false, "only start the lab and install the mesh")
	return c
}

func runDemo(ctx context.Context, o demoOptions, out, talk io.Writer) error {
	o.istio, o.delay, o.nodes = []string{o.from, o.to}, lab.DefaultDelay, 1
	s, err := startDetached(ctx, o.upOptions, talk)
	if err != nil {
		return err
	}
	describe(out, s)
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	address, err := installMesh(ctx, cfg, s, o.from, talk)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "gateway: curl -H 'Host: %s' http://%s%s\n", bookinfo.Host, address, bookinfo.Path)
	if o.noUpgrade {
		return nil
	}
	_, err = demo.Run(ctx, demo.Options{
		Serin: o.serin, Kubeconfig: s.Kubeconfig, Charts: s.ChartRepo, Address: address, Host: bookinfo.Host, Path: bookinfo.Path,
		From: o.from, To: o.to, Dir: s.Dir, Out: out,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("running the demo: %w", err), errors.New("the lab is still there: lab status; lab down"))
	}
	return nil
}

func installMesh(ctx context.Context, cfg *rest.Config, s lab.State, version string, talk io.Writer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	fmt.Fprintf(talk, "installing Istio %s and bookinfo\n", version)
	mesh := bookinfo.Mesh{Charts: s.ChartRepo, Version: version, App: bookinfo.Options{Drain: 5 * time.Second}}
	if err := bookinfo.Install(ctx, cfg, mesh); err != nil {
		return "", fmt.Errorf("installing the mesh: %w", err)
	}
	address, err := bookinfo.Address(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("installing the mesh: %w", err)
	}
	if err := bookinfo.WaitServing(ctx, address); err != nil {
		return "", fmt.Errorf("installing the mesh: %w", err)
	}
	return address, nil
}
