package evidence_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// now is the clock of the synctest bubble the caller is in: it moves only when
// everyone waits, so minutes of probing pass at once.
func now() time.Time {
	return time.Now() //nolint:forbidigo // inside a bubble this is not the wall clock
}

// pipes is a network in memory, which a bubble can see through.
type pipes struct {
	conns  chan net.Conn
	done   chan struct{}
	dialed atomic.Int64
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		p.dialed.Add(1)
		return near, nil
	case <-p.done:
		return nil, errors.New("nobody listens")
	}
}

// serve starts a server in the bubble and returns the network that leads to it.
func serve(t *testing.T, handler http.HandlerFunc) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
	go func() { _ = srv.Serve(p) }()
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

// run probes for a while and returns the prober when all has been answered.
func run(t *testing.T, probe plan.Probe, p *pipes, d time.Duration, options ...evidence.Option) *evidence.Prober {
	t.Helper()
	if probe.URL == "" {
		probe.URL = "http://mesh.example/productpage"
	}
	prober := evidence.NewProber(probe, now, append(options, evidence.WithDial(p.dial))...)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := prober.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return prober
}

func wait(d time.Duration) { <-time.NewTimer(d).C }

func TestProberKeepsItsRateAndAccountsForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got atomic.Int64
		p := serve(t, func(http.ResponseWriter, *http.Request) { got.Add(1) })
		prober := run(t, plan.Probe{}, p, 10*time.Second+time.Millisecond)
		want := evidence.Totals{Sent: 200, OK: 200} // 20 a second by default
		if diff := cmp.Diff(want, prober.Totals()); diff != "" {
			t.Error(diff)
		}
		if n := got.Load(); n != 200 {
			t.Errorf("the server got %d requests, want 200", n)
		}
		if p.dialed.Load() != 1 {
			t.Errorf("%d connections were opened, want one that is kept", p.dialed.Load())
		}
	})
}

func TestProberWithFreshConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(http.ResponseWriter, *http.Request) {})
		prober := run(t, plan.Probe{Rate: 10, Fresh: true}, p, time.Second+time.Millisecond)
		if n := prober.Totals().OK; n != 10 || p.dialed.Load() != 10 {
			t.Errorf("%d requests over %d connections, want 10 over 10", n, p.dialed.Load())
		}
	})
}

func TestProberIsAnOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each answer takes three seconds: a closed loop would send one every three seconds.
		p := serve(t, func(http.ResponseWriter, *http.Request) { wait(3 * time.Second) })
		prober := evidence.NewProber(plan.Probe{URL: "http://mesh.example/", Rate: 10}, now, evidence.WithDial(p.dial))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		begun := now()
		go func() { done <- prober.Run(ctx) }()
		wait(2000 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff(evidence.Totals{Sent: 20, InFlight: 20}, prober.Totals()); diff != "" {
			t.Error(diff)
		}
		if w := prober.Window(begun, now()); w.Sent != 0 {
			t.Errorf("requests under way are in a window: %+v", w)
		}
		cancel() // must not fail the twenty that are under way
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(evidence.Totals{Sent: 20, OK: 20}, prober.Totals()); diff != "" {
			t.Error(diff)
		}
		if prober.Running() {
			t.Error("the prober says it runs after its end")
		}
	})
}

func TestProberNeverRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got atomic.Int64
		// Every second request loses its kept connection without an answer, as when a
		// pod is killed. net/http by itself would send it again, and nobody would know.
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if got.Add(1)%2 == 0 {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, "ok")
		})
		prober := run(t, plan.Probe{Rate: 10}, p, time.Second+time.Millisecond)
		if diff := cmp.Diff(evidence.Totals{Sent: 10, OK: 5, Failed: 5}, prober.Totals()); diff != "" {
			t.Error(diff)
		}
		if n := got.Load(); n != 10 {
			t.Errorf("the server got %d requests for 10 sent", n)
		}
	})
}

func TestProberAfterAPauseDoesNotMakeUpForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(http.ResponseWriter, *http.Request) {})
		var asleep atomic.Bool // once true the clock is an hour ahead, as after a suspend
		clock := func() time.Time {
			if asleep.Load() {
				return now().Add(time.Hour)
			}
			return now()
		}
		prober := evidence.NewProber(plan.Probe{URL: "http://mesh.example/", Rate: 10}, clock, evidence.WithDial(p.dial))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+time.Millisecond)
		defer cancel()
		done := make(chan error)
		go func() { done <- prober.Run(ctx) }()
		wait(1050 * time.Millisecond)
		asleep.Store(true)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(evidence.Totals{Sent: 20, OK: 20}, prober.Totals()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatCountsAsAFailure(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		example string // part of it; none: a success
	}{
		"an answer is none":                 {handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
		"a redirect is none, nor followed":  {handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }},
		"no healthy upstream":               {handler: status(503, "no healthy\nupstream"), example: "after 0s: status 503 Service Unavailable: no healthy upstream"},
		"a gateway that lost its routes":    {handler: status(404, ""), example: "status 404 Not Found"},
		"a body cut short":                  {handler: short, example: "status 200 OK, reading the body: unexpected EOF"},
		"a server that does not answer":     {handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, example: "after 5s: "},
		"a connection closed with no words": {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, example: "EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := now()
				prober := run(t, plan.Probe{Rate: 1}, serve(t, test.handler), 2500*time.Millisecond)
				w := prober.Window(begun, now())
				if failed := w.Failed > 0; failed != (test.example != "") || w.Sent != 2 {
					t.Errorf("got %+v", w)
				}
				if !strings.Contains(w.Example, test.example) {
					t.Errorf("example %q does not say %q", w.Example, test.example)
				}
			})
		})
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func short(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "10")
	_, _ = io.WriteString(w, "half")
}

func TestProberWithATimeoutOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		prober := run(t, plan.Probe{Rate: 1}, p, 2500*time.Millisecond, evidence.WithTimeout(100*time.Millisecond))
		if got := prober.Totals(); got.Failed != 2 {
			t.Errorf("got %+v, want both to time out", got)
		}
	})
}

func TestProberAsksForTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var host, length atomic.Value
		p := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			host.Store(r.Host)
			length.Store(r.Header.Get("Content-Length") + r.Header.Get("Transfer-Encoding"))
		})
		run(t, plan.Probe{Rate: 1, Host: "bookinfo.example.com"}, p, 1500*time.Millisecond)
		if host.Load() != "bookinfo.example.com" || length.Load() != "" {
			t.Errorf("got host %q, body %q", host.Load(), length.Load())
		}
	})
}

func TestProberRefusesAURLItCannotAsk(t *testing.T) {
	for _, u := range []string{"", "productpage", "ftp://mesh.example/", "http://", "http://a b/"} {
		if err := evidence.NewProber(plan.Probe{URL: u}, now).Run(t.Context()); err == nil {
			t.Errorf("URL %q: no error", u)
		}
	}
}

func TestCompareSetsTheStepAgainstTheTwoMinutesBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := now()
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			switch at := now().Sub(begun); {
			case at < 10*time.Second: // long before the step
				w.WriteHeader(http.StatusInternalServerError)
			case at < 200*time.Second:
				wait(10 * time.Millisecond)
			case at < 203*time.Second: // the step hurts
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				wait(100 * time.Millisecond)
			}
		})
		prober := run(t, plan.Probe{Rate: 10}, p, 260*time.Second-time.Millisecond)
		// The mark is within a second, which then counts as the step's.
		got := prober.Compare(begun.Add(200*time.Second+500*time.Millisecond), begun.Add(200*time.Second+700*time.Millisecond))
		example := got.Now.Example
		got.Now.Example = ""
		for _, w := range []*gate.Window{&got.Before, &got.Now, &got.Lately} {
			if n := len(w.Latencies); n != 1 || w.Latencies[0].N != w.Sent-w.Failed || w.Latencies[0].UpTo != w.P50 {
				t.Errorf("latencies %+v of %+v", w.Latencies, w)
			}
			w.Latencies = nil
		}
		want := gate.Comparison{
			Name: "http://mesh.example/productpage", Long: true,
			Lately: gate.Window{Sent: 150, P50: 102400 * time.Microsecond, P99: 102400 * time.Microsecond},
			Before: gate.Window{Sent: 1200, P50: 10400 * time.Microsecond, P99: 10400 * time.Microsecond},
			Now:    gate.Window{Sent: 600, Failed: 30, P50: 102400 * time.Microsecond, P99: 102400 * time.Microsecond},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(example, "status 503") {
			t.Errorf("example %q is not of the step", example)
		}
		first := prober.Window(begun, begun.Add(9*time.Second))
		if first.Sent != 99 || first.Failed != 99 {
			t.Errorf("the first ten seconds: %+v", first)
		}
		if w := prober.Window(begun.Add(-time.Hour), begun.Add(-time.Minute)); w.Sent != 0 {
			t.Errorf("before the prober began: %+v", w)
		}
	})
}

func TestQuantilesAreWithinAnEighth(t *testing.T) {
	for _, took := range []time.Duration{0, 300 * time.Microsecond, time.Millisecond, 7 * time.Millisecond, 80 * time.Millisecond, 1300 * time.Millisecond, 4900 * time.Millisecond} {
		t.Run(took.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := now()
				p := serve(t, func(http.ResponseWriter, *http.Request) { wait(took) })
				w := run(t, plan.Probe{Rate: 5}, p, 2*time.Second).Window(begun, now())
				if w.Failed > 0 || w.P99 < took || w.P99 > took+took/8+50*time.Microsecond {
					t.Errorf("took %s, got %+v", took, w)
				}
			})
		})
	}
}

func TestP99IsNotP50(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := now()
		var n atomic.Int64
		p := serve(t, func(http.ResponseWriter, *http.Request) {
			if n.Add(1)%20 == 0 {
				wait(2 * time.Second)
			}
		})
		w := run(t, plan.Probe{Rate: 20}, p, 10*time.Second).Window(begun, now())
		if w.P50 > time.Millisecond || w.P99 < 2*time.Second {
			t.Errorf("got %+v", w)
		}
	})
}

func TestAfterThreeHoursCountsStayAndLatenciesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := now()
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			wait(time.Millisecond)
			if now().Sub(begun) > 3*time.Hour {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		prober := run(t, plan.Probe{Rate: 1}, p, 3*time.Hour+20*time.Minute+500*time.Millisecond)
		if got := prober.Totals(); got.Sent != 12000 || got.Failed != 1201 {
			t.Errorf("got %+v", got)
		}
		first := prober.Window(begun, begun.Add(9*time.Second))
		if diff := cmp.Diff(gate.Window{Sent: 9}, first); diff != "" {
			t.Errorf("the first ten seconds: %s", diff)
		}
		// Of 1201 failures the last thousand are kept in words.
		if w := prober.Window(begun.Add(3*time.Hour), begun.Add(3*time.Hour+time.Minute)); w.Failed != 61 || w.Example != "" {
			t.Errorf("got %+v", w)
		}
		if w := prober.Window(begun.Add(3*time.Hour), now()); w.Failed != 1201 || w.Example == "" {
			t.Errorf("got %+v", w)
		}
	})
}
