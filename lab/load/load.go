// Package load sends requests at a fixed rate, open loop, never retrying, and
// accounts for every one: sent = ok + failed, each failure with its time and cause.
package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config says what to send.
type Config struct {
	URL   string
	Host  string // Host header, if not the URL's
	Rate  int    // requests a second
	Fresh bool   // a new connection for each request
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// Failure is a request that was lost.
type Failure struct {
	At    time.Time
	Cause string
}

// Snapshot is a count at one moment. Sent is Failed plus those answered with 200.
type Snapshot struct {
	Sent, Failed int
	P50, P99     time.Duration
	Failures     []Failure // the first thousand
}

// Counter accounts for a load that runs.
type Counter struct {
	mu        sync.Mutex
	latencies []time.Duration
	failed    int
	failures  []Failure
	done      chan struct{}
}

const keepFailures = 1000

// Run starts the load; it ends when ctx does.
func Run(ctx context.Context, cfg Config) *Counter {
	c := &Counter{done: make(chan struct{})}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	}
	client := &http.Client{
		Timeout:   8 * time.Second,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: cfg.Fresh, MaxIdleConnsPerHost: 64},
	}
	go c.loop(ctx, client, cfg)
	return c
}

func (c *Counter) loop(ctx context.Context, client *http.Client, cfg Config) {
	var wg sync.WaitGroup
	t := time.NewTicker(time.Second / time.Duration(cfg.Rate))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			close(c.done)
			return
		case <-t.C:
			wg.Go(func() { c.send(client, cfg) }) //nolint:contextcheck // see send
		}
	}
}

// send makes one request. Its context is its own: ending the load must not be counted as a loss.
func (c *Counter) send(client *http.Client, cfg Config) {
	start := time.Now()
	cause := once(client, cfg)
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause == "" {
		c.latencies = append(c.latencies, time.Since(start))
		return
	}
	c.failed++
	if len(c.failures) < keepFailures {
		c.failures = append(c.failures, Failure{start, cause})
	}
}

func once(client *http.Client, cfg Config) string {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, cfg.URL, nil)
	if err != nil {
		return err.Error()
	}
	if cfg.Host != "" {
		req.Host = cfg.Host
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "reading the answer: " + err.Error()
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %.200s", resp.StatusCode, body)
	}
	return ""
}

// Wait returns when every request sent has been accounted for, after the load's context ended.
func (c *Counter) Wait() { <-c.done }

// Snapshot returns the counts so far.
func (c *Counter) Snapshot() Snapshot {
	c.mu.Lock()
	s := Snapshot{Sent: len(c.latencies) + c.failed, Failed: c.failed, Failures: slices.Clone(c.failures)}
	sorted := slices.Clone(c.latencies)
	c.mu.Unlock()
	slices.Sort(sorted)
	if n := len(sorted); n > 0 {
		s.P50, s.P99 = sorted[n/2], sorted[n*99/100]
	}
	return s
}
