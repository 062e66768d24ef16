// Package demo shows serin's main job on the lab: a real Istio goes from one
// release to the next while a request counter runs.
//
// It drives the serin binary as a user would; it has no rules of its own.
// Start at Run.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/serin-mesh/serin/lab/load"
)

// Options say what to show and where.
type Options struct {
	Serin      string // path of the serin binary
	Kubeconfig string
	Charts     string // URL of the lab's chart repository
	Address    string // host:port of the ingress gateway
	Host, Path string // of the requests
	From, To   string // Istio versions
	Rate       int    // requests a second of the counter; default 50
	Dir        string // where plan.yaml goes
	Soak       time.Duration
	Out        io.Writer
}

// Result is what the counter saw.
type Result struct {
	Sent, Failed int
	P50, P99     time.Duration
	Took         time.Duration
	FirstFailure string
	Peak         int64 // memory of serin at its most, in bytes
}

// Run upgrades the mesh and shows it. It returns an error when a command of
// serin fails or a request was lost.
func Run(ctx context.Context, o Options) (Result, error) {
	out := &lines{w: o.Out}
	o.Out = out
	if o.Rate == 0 {
		o.Rate = 50
	}
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	counter := load.Run(loadCtx, load.Config{URL: "http://" + o.Address + o.Path, Host: o.Host, Rate: o.Rate, Fresh: true})
	started := time.Now()
	ticks := make(chan struct{})
	go func() {
		defer close(ticks)
		tick(loadCtx, out, counter)
	}()
	peak, err := o.upgrade(ctx)
	took := time.Since(started)
	stop()
	<-ticks
	counter.Wait()
	s := counter.Snapshot()
	r := Result{Sent: s.Sent, Failed: s.Failed, P50: s.P50, P99: s.P99, Took: took, Peak: peak}
	if len(s.Failures) > 0 {
		r.FirstFailure = s.Failures[0].Cause
	}
	if err != nil {
		return r, err
	}
	fmt.Fprintf(out, "\nrequests through gateway -> productpage -> details, reviews -> ratings, each on a new connection\n")
	fmt.Fprintf(out, "  sent %d   failed %d   p50 %s   p99 %s   in %s\n", r.Sent, r.Failed, round(r.P50), round(r.P99), took.Round(time.Second))
	fmt.Fprintf(out, "  memory of serin at its most: %d MiB\n", r.Peak>>20)
	if r.Failed > 0 {
		return r, fmt.Errorf("upgrading lost %d of %d requests: first: %s", r.Failed, r.Sent, r.FirstFailure)
	}
	return r, nil
}

// upgrade types what a user would type. It returns the most memory that one of
// the commands took.
func (o Options) upgrade(ctx context.Context) (int64, error) {
	file := filepath.Join(o.Dir, "plan.yaml")
	soak := o.Soak
	if soak == 0 {
		soak = 5 * time.Second
	}
	steps := [][]string{
		{"status"},
		{"plan", "--to", o.To, "--charts", o.Charts, "--probe-url", "http://" + o.Address + o.Path, "--probe-host", o.Host, "--soak", soak.String(), "-o", file},
		{"apply", file, "--approve"},
		{"status"},
		{"report"},
	}
	most := int64(0)
	for _, args := range steps {
		peak, err := o.serin(ctx, args...)
		most = max(most, peak)
		if err != nil {
			return most, err
		}
	}
	return most, nil
}

// serin runs one command and returns its memory at its most, in bytes.
func (o Options) serin(ctx context.Context, args ...string) (int64, error) {
	fmt.Fprintf(o.Out, "\n$ serin %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, o.Serin, args...) //nolint:gosec // the binary that was just built
	cmd.Env = append(os.Environ(), "KUBECONFIG="+o.Kubeconfig)
	cmd.Stdout, cmd.Stderr = o.Out, o.Out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("running serin %s: %w", args[0], err)
	}
	most := Memory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		return most(), fmt.Errorf("running serin %s: %w", args[0], err)
	}
	return most(), nil
}

// tick prints the counter every few seconds, between other lines.
func tick(ctx context.Context, out *lines, c *load.Counter) {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s := c.Snapshot()
			fmt.Fprintf(out, "          requests: sent %d  failed %d  p50 %s  p99 %s\n", s.Sent, s.Failed, round(s.P50), round(s.P99))
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// lines lets several writers share one terminal without cutting each other's lines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	if i := bytes.LastIndexByte(l.b.Bytes(), '\n'); i >= 0 {
		if _, err := l.w.Write(l.b.Next(i + 1)); err != nil {
			return 0, fmt.Errorf("writing: %w", err)
		}
	}
	return len(p), nil
}
