package evidence

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

const (
	defaultRate    = 20
	requestTimeout = 5 * time.Second
	// baseline is how long before a step its requests are compared with.
	baseline = 2 * time.Minute
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
	client  *http.Client

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
	return func(p *Prober) {
		if t, ok := p.client.Transport.(*http.Transport); ok {
			t.DialContext = dial
		}
	}
}

// NewProber returns a Prober that sends nothing until Run.
func NewProber(probe plan.Probe, now func() time.Time, options ...Option) *Prober {
	if probe.Rate <= 0 {
		probe.Rate = defaultRate
	}
	p := &Prober{probe: probe, now: now, timeout: requestTimeout, client: probeClient(probe)}
	for _, o := range options {
		o(p)
	}
	return p
}

// probeClient speaks HTTP/1.1, directly: an HTTP/2 client and a proxy retry on
// their own. A redirect is an answer, not a reason to ask someone else.
func probeClient(probe plan.Probe) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DisableKeepAlives:   probe.Fresh,
		MaxIdleConnsPerHost: max(100, probe.Rate),
		IdleConnTimeout:     30 * time.Second,
		Protocols:           protocols,
		DisableCompression:  true,
	}
	if probe.Host != "" {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: hostname(probe.Host)}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// Run sends requests until ctx ends, waits for those under way, and returns nil.
// An error means that the probe cannot be sent at all. Counts begin anew.
func (p *Prober) Run(ctx context.Context) error {
	u, err := url.Parse(p.probe.URL)
	if err != nil {
		return fmt.Errorf("reading the probe's URL: %w", err)
	}
	if u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("reading the probe's URL: want http://address/path, got %q", p.probe.URL)
	}
	interval := time.Second / time.Duration(p.probe.Rate)
	ticker := time.NewTicker(max(interval, time.Millisecond))
	defer ticker.Stop()
	next := p.begin().Add(interval)
	defer p.end()
	defer p.client.CloseIdleConnections()
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
	err := p.request(ctx)
	took := p.now().Sub(sent)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.tally.bad(sent, fmt.Sprintf("%s after %s: %v", sent.UTC().Format(time.RFC3339Nano), took.Round(time.Millisecond), err))
		return
	}
	p.tally.good(sent, took)
}

// request sends one request. An answer counts when it is whole and neither an
// error of the server nor of the client: 404 is what a gateway without its routes says.
func (p *Prober) request(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.probe.URL, onlyOnce{})
	if err != nil {
		return err
	}
	req.Host = p.probe.Host
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	start, err := io.ReadAll(io.LimitReader(resp.Body, 120))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil {
		return fmt.Errorf("status %s, reading the body: %w", resp.Status, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("status %s: %s", resp.Status, strings.Join(strings.Fields(string(start)), " "))
	}
	return nil
}

// onlyOnce is an empty body that cannot be read again. With it net/http sends what
// it sends without a body, but does not retry by itself when a kept connection
// breaks: it would, and hide exactly the losses the prober is there to count.
type onlyOnce struct{}

// Read returns io.EOF.
func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }

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
// what came just before it than excused.
func (p *Prober) Compare(mark time.Time) gate.Comparison {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.tally.index(mark)
	return gate.Comparison{
		Before: p.tally.window(at-int(baseline/time.Second), at),
		Now:    p.tally.window(at, len(p.tally.seconds)),
	}
}
