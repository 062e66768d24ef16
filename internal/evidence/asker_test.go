package evidence_test

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// probed sends a few requests to a real listener and returns how they fared.
func probed(t *testing.T, probe plan.Probe) gate.Window {
	t.Helper()
	probe.Rate = 50
	begun := wall()
	prober := evidence.NewProber(probe, wall, evidence.WithTimeout(2*time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := prober.Run(ctx); err != nil {
		t.Fatal(err)
	}
	w := prober.Window(begun, wall())
	if got := prober.Totals(); got.Sent != w.Sent || got.InFlight != 0 || w.Sent == 0 {
		t.Errorf("not each is accounted for: %+v, %+v", got, w)
	}
	return w
}

func wall() time.Time {
	return time.Now() //nolint:forbidigo // real listeners, real time
}

func well(t *testing.T, what string, w gate.Window) {
	t.Helper()
	if w.Failed > 0 {
		t.Errorf("%s: %d of %d failed: %s", what, w.Failed, w.Sent, w.Example)
	}
}

func fails(t *testing.T, what, why string, w gate.Window) {
	t.Helper()
	if w.Failed != w.Sent || !strings.Contains(w.Example, why) {
		t.Errorf("%s: %d of %d failed, want all with %q: %s", what, w.Failed, w.Sent, why, w.Example)
	}
}

func TestProbesOverTLSAskForTheNameAndLookAtTheCertificate(t *testing.T) {
	var name, protocol atomic.Value
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		name.Store(r.TLS.ServerName)
		protocol.Store(r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	well(t, "its own CA", probed(t, plan.Probe{URL: srv.URL, Host: "example.com:443", CA: ca}))
	if name.Load() != "example.com" || protocol.Load() != "HTTP/1.1" {
		t.Errorf("asked for %v by %v", name.Load(), protocol.Load())
	}
	well(t, "HTTP/2", probed(t, plan.Probe{URL: srv.URL, SNI: "example.com", Host: "other.example.org", CA: ca, HTTP2: true}))
	if name.Load() != "example.com" || protocol.Load() != "HTTP/2.0" {
		t.Errorf("asked for %v by %v", name.Load(), protocol.Load())
	}
	fails(t, "another name", "certificate", probed(t, plan.Probe{URL: srv.URL, Host: "other.example.org", CA: ca}))
	fails(t, "this machine's CAs", "certificate", probed(t, plan.Probe{URL: srv.URL, Host: "example.com"}))
	well(t, "whosever it is", probed(t, plan.Probe{URL: srv.URL, Host: "other.example.org", Insecure: true}))
	host := strings.TrimPrefix(srv.URL, "https://")
	well(t, "tls", probed(t, plan.Probe{URL: "tls://" + host, SNI: "example.com", CA: ca}))
	fails(t, "tls of another name", "shaking hands", probed(t, plan.Probe{URL: "tls://" + host, SNI: "example.net", CA: ca}))
}

func TestProbesTakeTheStatusThatIsSaid(t *testing.T) {
	srv := httptest.NewServer(status(http.StatusUnauthorized, "who are you"))
	t.Cleanup(srv.Close)
	well(t, "401", probed(t, plan.Probe{URL: srv.URL, Status: []int{200, 401}}))
	fails(t, "200 only", "status 401 Unauthorized: who are you", probed(t, plan.Probe{URL: srv.URL, Status: []int{200}}))
}

// HTTP/2 sends all over one connection, and again nothing that was lost.
func TestProbesByHTTP2NeverRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got atomic.Int64
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		srv := &http.Server{Protocols: protocols, ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || r.Host != "shop.example.com" {
				w.WriteHeader(http.StatusBadRequest)
			}
			if got.Add(1)%2 == 0 {
				panic(http.ErrAbortHandler)
			}
		})}
		go func() { _ = srv.Serve(p) }()
		prober := run(t, plan.Probe{Rate: 10, HTTP2: true, Host: "shop.example.com"}, p, time.Second+time.Millisecond)
		if got := prober.Totals(); got.Sent != 10 || got.OK != 5 || got.Failed != 5 {
			t.Errorf("got %+v", got)
		}
		if n := got.Load(); n != 10 || p.dialed.Load() != 1 {
			t.Errorf("the server got %d requests over %d connections", n, p.dialed.Load())
		}
		fresh := run(t, plan.Probe{Rate: 10, HTTP2: true, Host: "shop.example.com", Fresh: true}, p, time.Second+time.Millisecond)
		if p.dialed.Load() != 11 {
			t.Errorf("%+v over %d connections, want ten more", fresh.Totals(), p.dialed.Load()-1)
		}
		_ = srv.Close()
	})
}

func TestProbesOfGRPCAskForHealth(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, states := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, states)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	url := "grpc://" + l.Addr().String()
	states.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	well(t, "the server", probed(t, plan.Probe{URL: url}))
	well(t, "a service", probed(t, plan.Probe{URL: url + "/shop.Cart", Host: "shop.example.com", Fresh: true}))
	fails(t, "a service that is not there", "grpc-status 5", probed(t, plan.Probe{URL: url + "/shop.Other"}))
	states.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	fails(t, "one that says no", "it is NOT_SERVING", probed(t, plan.Probe{URL: url + "/shop.Cart"}))
	web := httptest.NewServer(status(200, "hello"))
	t.Cleanup(web.Close)
	fails(t, "no server of gRPC", "", probed(t, plan.Probe{URL: "grpc://" + strings.TrimPrefix(web.URL, "http://")}))
}

func TestProbesOfTCP(t *testing.T) {
	listen := func(serve func(net.Conn)) string {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		return "tcp://" + l.Addr().String()
	}
	silent := listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	w := probed(t, plan.Probe{URL: silent})
	well(t, "one that stays", w)
	if w.P50 > 80*time.Millisecond {
		t.Errorf("the time in which it was only watched counts: %s", w.P50)
	}
	closing := listen(func(c net.Conn) { _ = c.Close() })
	fails(t, "a gateway with nobody behind it", "closed at once", probed(t, plan.Probe{URL: closing}))
	redis := listen(func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 6))
		_, _ = io.WriteString(c, "+PONG\r\n")
	})
	well(t, "an answer", probed(t, plan.Probe{URL: redis, Send: "PING\r\n", Expect: "+PONG"}))
	fails(t, "another answer", `want "-PONG", got "+PONG"`, probed(t, plan.Probe{URL: redis, Send: "PING\r\n", Expect: "-PONG"}))
	fails(t, "a closed port", "refused", probed(t, plan.Probe{URL: "tcp://" + closed(t)}))
}

// closed is an address at which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Several probes send each by itself; one that cannot is said, and keeps none of the others from it.
func TestProbersAreColdUntilThereIsSomethingToCompareWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(http.ResponseWriter, *http.Request) {})
		probers := evidence.NewProbers([]plan.Probe{
			{Name: "a", URL: "http://mesh.example/", Rate: 60}, {Name: "b", URL: "http://mesh.example/b", Rate: 20, Samples: 10},
		}, now, evidence.WithDial(p.dial))
		g := evidence.New(evidence.Config{Probers: probers, Now: now, Forwarder: newNetwork()})
		if !strings.Contains(g.Cold(), "probe a is not running") {
			t.Errorf("before they run: %q", g.Cold())
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- probers.Run(ctx) }()
		wait(900 * time.Millisecond)
		if why := g.Cold(); !strings.Contains(why, "probe a has sent") {
			t.Errorf("after a second: %q", why)
		}
		wait(time.Second)
		if why := g.Cold(); why != "" {
			t.Errorf("after two: %q", why)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		ended, failed := probers.Ended()
		if ended < 140 || failed != 0 {
			t.Errorf("%d ended, %d failed", ended, failed)
		}
	})
	if evidence.NewProbers(nil, now) != nil {
		t.Error("none are some")
	}
}
