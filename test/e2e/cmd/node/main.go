//go:build linux

// Command node makes, shows, enters and removes a one-node Kubernetes with real
// pods in namespaces of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/test/e2e/node"
)

func main() {
	if mine, err := node.Hidden(os.Args[1:]); mine {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "A one-node Kubernetes with real pods, in namespaces of its own", SilenceErrors: true, SilenceUsage: true}
	var name string
	c.PersistentFlags().StringVar(&name, "name", "e2e", "name of the node")
	c.AddCommand(build(), up(&name), run(&name), down(&name), status(&name), enter(&name), kill(&name))
	return c
}

func build() *cobra.Command {
	var istio []string
	c := &cobra.Command{
		Use: "build", Short: "build what a node is made of into the user's cache directory, and make none", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			began := time.Now()
			if err := node.Build(c.Context(), node.Options{Istio: istio, Log: c.ErrOrStderr()}); err != nil {
				return fmt.Errorf("building what a node is made of: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "what a node is made of is in the cache after %s\n", time.Since(began).Round(time.Second))
			return nil
		},
	}
	c.Flags().StringSliceVar(&istio, "istio", []string{"1.27.0", "1.29.1"}, "releases of Istio to have images of")
	return c
}

func up(name *string) *cobra.Command {
	var istio []string
	c := &cobra.Command{
		Use: "up", Short: "make the node, or show the one there is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			began := time.Now()
			s, err := node.Up(c.Context(), node.Options{Name: *name, Istio: istio, Log: c.ErrOrStderr()})
			if err != nil {
				return fmt.Errorf("making node %s: %w", *name, err)
			}
			fmt.Fprintf(c.OutOrStdout(), "node %s is up after %s\n", *name, time.Since(began).Round(100*time.Millisecond))
			show(c, s)
			return nil
		},
	}
	c.Flags().StringSliceVar(&istio, "istio", []string{"1.27.0", "1.29.1"}, "releases of Istio to have images of")
	return c
}

func run(name *string) *cobra.Command {
	var istio []string
	var optional bool
	c := &cobra.Command{
		Use: "run -- COMMAND", Short: "make the node, run a command in it, and remove every trace, also after a failure or ctrl-C", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o := node.Options{Name: *name, Istio: istio, Log: c.ErrOrStderr()}
			begin := start
			if optional {
				begin = atOnce
			}
			err := begin(c.Context(), o, c.OutOrStdout())
			if err != nil && optional && c.Context().Err() == nil {
				fmt.Fprintf(c.OutOrStdout(), "LEFT OUT: there is no node to run %s on: %v\n", filepath.Base(args[0]), err)
				return nil
			}
			if err != nil {
				return err
			}
			return within(c.Context(), o, args)
		},
	}
	c.Flags().StringSliceVar(&istio, "istio", []string{"1.27.0", "1.29.1"}, "releases of Istio to have images of")
	c.Flags().BoolVar(&optional, "where-possible", false, "where the node cannot be made, or not at once because its parts have to be built first, say why and end well")
	return c
}

// start makes a node. What an earlier run left is removed first: a run that was
// killed cannot have done it.
func start(ctx context.Context, o node.Options, out io.Writer) error {
	if err := node.Missing(); err != nil {
		return fmt.Errorf("making node %s: %w", o.Name, err)
	}
	if err := node.Down(ctx, o.Name); err != nil {
		return fmt.Errorf("removing what an earlier run left: %w", err)
	}
	began := time.Now()
	if _, err := node.Up(ctx, o); err != nil {
		return fmt.Errorf("making node %s: %w", o.Name, err)
	}
	fmt.Fprintf(out, "node %s is up after %s\n", o.Name, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// atOnce makes a node that has been built, soon or not at all.
func atOnce(ctx context.Context, o node.Options, out io.Writer) error {
	if err := node.Missing(); err != nil {
		return fmt.Errorf("making node %s: %w", o.Name, err)
	}
	if err := node.Unbuilt(o.Istio); err != nil {
		return fmt.Errorf("making node %s: %w", o.Name, err)
	}
	ctx, stop := context.WithTimeout(ctx, 4*time.Minute)
	defer stop()
	return start(ctx, o, out)
}

// within runs a command on a node that is up, and removes the node.
func within(ctx context.Context, o node.Options, args []string) error {
	self, err := os.Executable()
	if err == nil {
		cmd := exec.CommandContext(ctx, self, append([]string{"exec", "--name", o.Name, "--"}, args...)...) //nolint:gosec // what the caller asked for
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 30 * time.Second
		err = cmd.Run()
	}
	gone := node.Down(context.WithoutCancel(ctx), o.Name)
	if err != nil {
		err = fmt.Errorf("running %s: %w", args[0], err)
	}
	if gone != nil {
		gone = fmt.Errorf("removing node %s: %w", o.Name, gone)
	}
	return errors.Join(err, gone)
}

func show(c *cobra.Command, s node.State) {
	fmt.Fprintf(c.OutOrStdout(), "  kubeconfig  %s (of use within: node exec --name %s -- kubectl get pods -A)\n  charts      %s\n  logs        %s\n", s.Kubeconfig(), s.Name, s.Charts, s.Logs())
}

func down(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "end the node and remove every trace of it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return node.Down(context.WithoutCancel(c.Context()), *name) },
	}
}

func status(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "say whether the node is up", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := node.Load(*name)
			if err != nil {
				return fmt.Errorf("looking for the node: %w", err)
			}
			if !s.Alive() {
				return fmt.Errorf("node %s has died\n  remedy: node down --name %s", *name, *name)
			}
			fmt.Fprintf(c.OutOrStdout(), "node %s is up, Kubernetes %s\n", *name, s.Version)
			show(c, s)
			return nil
		},
	}
}

func enter(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "exec -- COMMAND", Short: "run a command in the node's network, with KUBECONFIG set", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := node.Load(*name)
			if err != nil {
				return fmt.Errorf("looking for the node: %w", err)
			}
			return s.Exec(args, os.Environ())
		},
	}
}

func kill(name *string) *cobra.Command {
	var pod string
	c := &cobra.Command{
		Use: "kill PART|WORDS...", Short: "kill -9 a part (apiserver, kubelet, ...) or the containers' processes whose command line has all words", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := node.Load(*name)
			if err != nil {
				return fmt.Errorf("looking for the node: %w", err)
			}
			if len(args) == 1 && pod == "" {
				if err := s.Kill(args[0]); err == nil {
					return nil
				}
			}
			pids, err := s.Processes(pod, args...)
			if err != nil {
				return fmt.Errorf("killing: %w", err)
			}
			if len(pids) == 0 {
				return errors.New("killing: no process has all of: " + strings.Join(args, " "))
			}
			for _, p := range pids {
				if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
					return fmt.Errorf("killing process %d: %w", p, err)
				}
				fmt.Fprintf(c.OutOrStdout(), "killed %d\n", p)
			}
			return nil
		},
	}
	c.Flags().StringVar(&pod, "pod", "", "UID of the pod whose processes alone are meant")
	return c
}
