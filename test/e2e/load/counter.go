package load

import (
	"slices"
	"sync"
	"time"
)

const keepFailures = 1000

// counter accounts for one kind of load.
type counter struct {
	mu        sync.Mutex
	kind      Kind
	sent      int
	failed    int
	cut       int
	resent    int
	latencies []time.Duration
	failures  []Failure
	cuts      []Failure
}

// send counts a request, and returns its number.
func (c *counter) send() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	return c.sent
}

func (c *counter) ok(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latencies = append(c.latencies, took)
}

func (c *counter) fail(at time.Time, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed++; len(c.failures) < keepFailures {
		c.failures = append(c.failures, Failure{at, cause})
	}
}

func (c *counter) broke(at time.Time, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut++; len(c.cuts) < keepFailures {
		c.cuts = append(c.cuts, Failure{at, cause})
	}
}

func (c *counter) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resent++
}

// forget takes back a message that we ended ourselves.
func (c *counter) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent--
}

func (c *counter) count() Count {
	c.mu.Lock()
	sorted := slices.Clone(c.latencies)
	out := Count{
		Kind: c.kind, Sent: c.sent, OK: len(c.latencies), Failed: c.failed, Cut: c.cut, Resent: c.resent,
		Failures: slices.Clone(c.failures), Cuts: slices.Clone(c.cuts),
	}
	c.mu.Unlock()
	slices.Sort(sorted)
	if n := len(sorted); n > 0 {
		out.P50, out.P99, out.Max = ms(sorted[n/2]), ms(sorted[n*99/100]), ms(sorted[n-1])
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
