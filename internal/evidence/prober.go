package evidence

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

const (
	defaultRate    = 20
	requestTimeout = 5 * time.Second
	// baseline is how long before a step its requests are compared with, at least.
	baseline = 2 * time.Minute
	// lately is how long the newest requests are looked at for how fast they are, at
	// least: what is slow for so long is not only pods that have just started.
	lately = 15 * time.Second
	// lag is how far behind its schedule the prober may be and still catch up.
	// After more, a suspended laptop say, it does not send hours of requests at once.
	lag = time.Second
)

// Prober sends requests at a fixed rate, whether or not the ones before have been
// answered, never retries, and accounts for each: once they have finished, those
// sent are those that went well and those that failed.
type Prober struct {
	probe   plan.Probe
	now     func() time.Time
	timeout time.Duration
	dial    dialer
	asks    asker

	mu      sync.Mutex
	running bool
	sent    int
	tally   tally
}

// Totals counts all requests since the prober started.
type Totals struct {
	Sent     int `json:"sent"`
	OK       int `json:"ok"`
	Failed   int `json:"failed"`
	InFlight int `json:"inFlight"`
}

// Option changes how a Prober sends.
type Option func(*Prober)

// WithTimeout bounds each request; the default is five seconds.
func WithTimeout(d time.Duration) Option { return func(p *Prober) { p.timeout = d } }

// WithDial makes connections in another way, for addresses that this machine cannot reach itself.
func WithDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(p *Prober) { p.dial = dial }
}

// NewProber returns a Prober that sends nothing until Run.
func NewProber(probe plan.Probe, now func() time.Time, options ...Option) *Prober {
	if probe.Rate <= 0 {
		probe.Rate = defaultRate
	}
	p := &Prober{probe: probe, now: now, timeout: cmp.Or(time.Duration(probe.Timeout), requestTimeout), dial: (&net.Dialer{}).DialContext}
	for _, o := range options {
		o(p)
	}
	return p
}

// Run sends requests until ctx ends, waits for those under way, and returns nil.
// An error means that the probe cannot be sent at all. Counts begin anew.
func (p *Prober) Run(ctx context.Context) error {
	var err error
	if p.asks, err = newAsker(p.probe, p.dial); err != nil {
		return fmt.Errorf("preparing probe %s: %w", p.probe.Name, err)
	}
	interval := time.Second / time.Duration(p.probe.Rate)
	ticker := time.NewTicker(max(interval, time.Millisecond))
	defer ticker.Stop()
	next := p.begin().Add(interval)
	defer p.end()
	defer p.asks.close()
	var underWay sync.WaitGroup
	defer underWay.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := p.now()
		if now.Sub(next) > lag {
			next = now
		}
		for ; !next.After(now); next = next.Add(interval) {
			p.count()
			// The end of ctx must not fail requests that the mesh was about to answer.
			underWay.Go(func() { p.send(context.WithoutCancel(ctx), now) })
		}
	}
}

func (p *Prober) begin() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running, p.sent, p.tally = true, 0, tally{start: p.now()}
	return p.tally.start
}

func (p *Prober) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
}

func (p *Prober) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
}

func (p *Prober) send(ctx context.Context, sent time.Time) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	idle, err := p.asks.ask(ctx)
	took := p.now().Sub(sent) - idle
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.tally.bad(sent, fmt.Sprintf("%s after %s: %v", sent.UTC().Format(time.RFC3339Nano), took.Round(time.Millisecond), err))
		return
	}
	p.tally.good(sent, took)
}

// Running says whether requests are being sent.
func (p *Prober) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// Totals counts all requests since Run began.
func (p *Prober) Totals() Totals {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.tally.window(0, len(p.tally.seconds))
	return Totals{Sent: p.sent, OK: w.Sent - w.Failed, Failed: w.Failed, InFlight: p.sent - w.Sent}
}

// Ended counts the requests since Run began that have finished, and those of them that failed.
func (p *Prober) Ended() (ended, failed int) { //nolint:nonamedreturns // two numbers of one kind
	t := p.Totals()
	return t.OK + t.Failed, t.Failed
}

// Window counts the requests that were sent between two times and have finished,
// in whole seconds: those that from and to fall into are counted. Requests under
// way are in no window yet, lest they be taken for good ones. The latencies are of
// those that went well.
func (p *Prober) Window(from, to time.Time) gate.Window {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to.Before(p.tally.start) {
		return gate.Window{}
	}
	return p.tally.window(p.tally.index(from), p.tally.index(to)+1)
}

// Compare sets the requests since mark against those of the two minutes before.
// The second that mark falls into counts as since: a step is rather blamed for
// what came just before it than excused. How fast they are is told by the newest of
// those that were sent once the deed was done.
func (p *Prober) Compare(mark, done time.Time) gate.Comparison {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, now := p.tally.index(mark), p.now()
	last := max(lately, 2*p.lasting(cmp.Or(p.probe.Samples, minSamples)))
	c := gate.Comparison{
		Name:   p.probe.Title(),
		Before: p.tally.window(at-p.past(), at),
		Now:    p.tally.window(at, len(p.tally.seconds)),
		Long:   now.Sub(done) >= 2*last, // the time in which pods start is not in it any more
		Limits: p.probe.Limits(),
	}
	from := now.Add(-last)
	if from.Before(done) {
		from = done
	}
	c.Lately = p.tally.window(max(at, p.tally.index(from)), len(p.tally.seconds))
	return c
}

// minSamples is how few requests say nothing, where the probe does not say it.
const minSamples = 20

// lasting is how long it takes to send so many.
func (p *Prober) lasting(requests int) time.Duration {
	return time.Duration(requests) * time.Second / time.Duration(p.probe.Rate)
}

// past is how many seconds before a step it is compared with: enough for what has
// to be known of them.
func (p *Prober) past() int {
	return int(max(baseline, 2*p.lasting(p.probe.Limits().Warm())) / time.Second)
}

// Cold says what is missing for a step to be compared with the time before it, empty
// if nothing is.
func (p *Prober) Cold() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return "probe " + p.probe.Title() + " is not running"
	}
	now := p.tally.index(p.now())
	n, need := p.tally.window(now-p.past(), now+1).Sent, p.probe.Limits().Warm()
	if n >= need {
		return ""
	}
	return fmt.Sprintf("probe %s has sent %d requests to compare a step with, %d are needed", p.probe.Title(), n, need)
}
