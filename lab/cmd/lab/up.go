package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/internal/build"
)

// where are the flags that say which lab is meant.
type where struct{ name, dir string }

func (w *where) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.name, "name", "default", "name of the lab")
	c.Flags().StringVar(&w.dir, "dir", "", "state directory; default one in the user's cache directory, by name")
}

func (w *where) path() (string, error) {
	if w.dir != "" {
		abs, err := filepath.Abs(w.dir)
		if err != nil {
			return "", fmt.Errorf("finding the state directory: %w", err)
		}
		return abs, nil
	}
	return lab.StateDir(w.name)
}

// upOptions are the flags of up.
type upOptions struct {
	where
	istio  []string
	delay  time.Duration
	nodes  int
	detach bool
}

func upCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use: "up", Short: "start a lab and keep it until interrupted", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.detach {
				s, err := startDetached(c.Context(), o, c.ErrOrStderr())
				if err != nil {
					return err
				}
				describe(c.OutOrStdout(), s)
				return nil
			}
			return up(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c)
	c.Flags().StringSliceVar(&o.istio, "istio", nil, "releases of Istio to have ready; default all")
	c.Flags().DurationVar(&o.delay, "delay", lab.DefaultDelay, "how long a change of endpoints takes to reach the network")
	c.Flags().IntVar(&o.nodes, "nodes", 1, "number of nodes")
	c.Flags().BoolVar(&o.detach, "detach", false, "leave the lab running in the background")
	return c
}

func up(ctx context.Context, o upOptions, out, talk io.Writer) error {
	dir, err := o.path()
	if err != nil {
		return err
	}
	if s, err := lab.ReadState(dir); err == nil && s.Runs(ctx) {
		return fmt.Errorf("starting the lab: one runs already in %s (process %d); end it with lab down", dir, s.PID)
	}
	l, err := lab.Start(ctx, lab.Options{Dir: dir, Istio: o.istio, Delay: o.delay, Nodes: o.nodes, Log: talk})
	if err != nil {
		return fmt.Errorf("starting the lab: %w", err)
	}
	defer l.Close()
	if err := l.WriteState(); err != nil {
		return err
	}
	describe(out, l.State())
	<-ctx.Done()
	return nil
}

func describe(w io.Writer, s lab.State) {
	fmt.Fprintf(w, "lab started in %s (process %d), Istio %s\n", s.StartTime.Round(10*time.Millisecond), s.PID, strings.Join(s.Istio, ", "))
	fmt.Fprintf(w, "export KUBECONFIG=%s\n", s.Kubeconfig)
	fmt.Fprintf(w, "helm repository: %s\n", s.ChartRepo)
}

// startDetached runs this program again, in the background, and returns when its
// lab is ready.
func startDetached(ctx context.Context, o upOptions, talk io.Writer) (lab.State, error) {
	dir, err := o.path()
	if err != nil {
		return lab.State{}, err
	}
	if s, err := lab.ReadState(dir); err == nil && s.Runs(ctx) {
		return s, fmt.Errorf("starting the lab: one runs already in %s (process %d); end it with lab down", dir, s.PID)
	}
	self, err := os.Executable()
	if err != nil {
		return lab.State{}, fmt.Errorf("starting the lab: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return lab.State{}, fmt.Errorf("starting the lab: %w", err)
	}
	logPath := dir + ".log"                                                       // beside the directory, which the lab empties
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // beside the state directory the user chose
	if err != nil {
		return lab.State{}, fmt.Errorf("starting the lab: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	_ = os.Remove(filepath.Join(dir, "state.json")) // an old lab's
	args := []string{"up", "--dir", dir, "--delay", o.delay.String(), "--nodes", strconv.Itoa(o.nodes)}
	if len(o.istio) > 0 {
		args = append(args, "--istio", strings.Join(o.istio, ","))
	}
	cmd := exec.Command(self, args...) //nolint:noctx,gosec // it outlives this command, and is this program
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return lab.State{}, fmt.Errorf("starting the lab: %w", err)
	}
	return waitDetached(ctx, cmd, dir, logPath, talk)
}

// waitDetached shows the lab's log until it is ready.
func waitDetached(ctx context.Context, cmd *exec.Cmd, dir, logPath string, talk io.Writer) (lab.State, error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tail, err := os.Open(logPath) //nolint:gosec // the log just made
	if err != nil {
		return lab.State{}, fmt.Errorf("starting the lab: %w", err)
	}
	defer func() { _ = tail.Close() }()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		s, err := lab.ReadState(dir)
		if err == nil && s.PID == cmd.Process.Pid {
			return s, nil
		}
		_, _ = io.Copy(talk, tail)
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			return lab.State{}, fmt.Errorf("waiting for the lab: %w", ctx.Err())
		case err := <-ended:
			_, _ = io.Copy(talk, tail)
			return lab.State{}, fmt.Errorf("starting the lab: it ended (%w); its log is %s", orEnded(err), logPath)
		case <-t.C:
		}
	}
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

func downCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use: "down", Short: "end a lab", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := w.path()
			if err != nil {
				return err
			}
			return down(c.Context(), dir, c.ErrOrStderr())
		},
	}
	w.flags(c)
	return c
}

func down(ctx context.Context, dir string, talk io.Writer) error {
	s, err := lab.ReadState(dir)
	if err != nil || !s.Runs(ctx) {
		fmt.Fprintln(talk, "no lab runs in "+dir)
		return nil
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending the lab: %w", err)
	}
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for i := range 300 {
		if i == 200 { // its children die with it
			_ = syscall.Kill(s.PID, syscall.SIGKILL)
		}
		if !alive(s.PID) {
			fmt.Fprintln(talk, "the lab has ended")
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the lab to end: %w", ctx.Err())
		case <-t.C:
		}
	}
	return fmt.Errorf("ending the lab: process %d is still there", s.PID)
}

func statusCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use: "status", Short: "say whether a lab runs, and where", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := w.path()
			if err != nil {
				return err
			}
			s, err := lab.ReadState(dir)
			if err != nil || !s.Runs(c.Context()) {
				return errors.New("no lab runs in " + dir)
			}
			describe(c.OutOrStdout(), s)
			return nil
		},
	}
	w.flags(c)
	return c
}

func faultCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use: "fault NAME [ARGUMENT...]", Short: "make something go wrong in a running lab",
		Long: "Faults and what they take:\n\n" + lab.FaultUsage(), Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := w.path()
			if err != nil {
				return err
			}
			s, err := lab.ReadState(dir)
			if err != nil {
				return err
			}
			return s.SendFault(c.Context(), lab.Fault{Name: args[0], Args: args[1:]})
		},
	}
	w.flags(c)
	return c
}

func buildCommand() *cobra.Command {
	var istio []string
	c := &cobra.Command{
		Use: "build", Short: "build what a lab needs, and start nothing", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := build.New("", c.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("preparing to build: %w", err)
			}
			return b.All(c.Context(), istio)
		},
	}
	c.Flags().StringSliceVar(&istio, "istio", nil, "releases of Istio; default all")
	return c
}
