// Package load sends requests at a fixed rate, open loop, never retrying, and
// accounts for every one: sent = ok + failed, each failure with its time and cause.
package load

import (
	"context"
	"fmt"
	"io"
	"maps"
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
	HTTP2 bool   // HTTP/2 without TLS, its connection kept
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// Mixed shares a rate out over what clients use: HTTP/1.1 with new and with kept
// connections, and HTTP/2.
func Mixed(cfg Config) []Config {
	fresh, kept, two := cfg, cfg, cfg
	fresh.Fresh, fresh.HTTP2 = true, false
	kept.Fresh, kept.HTTP2 = false, false
	two.Fresh, two.HTTP2 = false, true
	kept.Rate, two.Rate = max(1, cfg.Rate*3/10), max(1, cfg.Rate*3/10)
	fresh.Rate = max(1, cfg.Rate-kept.Rate-two.Rate)
	return []Config{fresh, kept, two}
}

// Kind is how the requests are carried.
func (c Config) Kind() string {
	switch {
	case c.HTTP2:
		return "http2"
	case c.Fresh:
		return "http1-new"
	}
	return "http1-kept"
}

// idle is how long a connection is kept that nothing is sent on: for less than
// gateways and services drain. A server that closes an idle connection cannot know
// that a request is on its way; a client that keeps one for longer than its server's
// drain loses a request now and then, whoever stops the server and however.
const idle = 3 * time.Second

// Transport carries the requests.
func (c Config) Transport() *http.Transport {
	t := &http.Transport{DialContext: c.Dial, DisableKeepAlives: c.Fresh, MaxIdleConnsPerHost: 64, IdleConnTimeout: idle}
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	}
	if c.HTTP2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return t
}

// Failure is a request that was lost.
type Failure struct {
	At    time.Time
	Cause string
}

// Snapshot is a count at one moment. Sent is Failed plus those answered with 200.
type Snapshot struct {
	Sent, Failed int
	Kinds        map[string]int // sent, by kind
	P50, P99     time.Duration
	Failures     []Failure // the first thousand
}

// Counter accounts for a load that runs.
type Counter struct {
	mu        sync.Mutex
	latencies []time.Duration
	kinds     map[string]int
	failed    int
	failures  []Failure
	done      chan struct{}
}

const keepFailures = 1000

// Run starts a load of one kind or of several; it ends when ctx does.
func Run(ctx context.Context, cfgs ...Config) *Counter {
	c := &Counter{kinds: map[string]int{}, done: make(chan struct{})}
	var wg sync.WaitGroup
	for _, cfg := range cfgs {
		client := &http.Client{Timeout: 8 * time.Second, Transport: cfg.Transport()}
		wg.Go(func() { c.loop(ctx, client, cfg) })
	}
	go func() { wg.Wait(); close(c.done) }()
	return c
}

func (c *Counter) loop(ctx context.Context, client *http.Client, cfg Config) {
	var wg sync.WaitGroup
	defer wg.Wait()
	t := time.NewTicker(time.Second / time.Duration(cfg.Rate))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
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
	c.kinds[cfg.Kind()]++
	if cause == "" {
		c.latencies = append(c.latencies, time.Since(start))
		return
	}
	c.failed++
	if len(c.failures) < keepFailures {
		c.failures = append(c.failures, Failure{start, cfg.Kind() + ": " + cause})
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
	s := Snapshot{Sent: len(c.latencies) + c.failed, Failed: c.failed, Kinds: maps.Clone(c.kinds), Failures: slices.Clone(c.failures)}
	sorted := slices.Clone(c.latencies)
	c.mu.Unlock()
	slices.Sort(sorted)
	if n := len(sorted); n > 0 {
		s.P50, s.P99 = sorted[n/2], sorted[n*99/100]
	}
	return s
}
