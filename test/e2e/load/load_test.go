package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/test/e2e/load"
	"github.com/serin-mesh/serin/test/e2e/service"
)

// listener is one on the loopback.
func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run starts a service and returns its addresses by port, and what ends it.
func run(t *testing.T, cfg service.Config) (map[string]string, func()) {
	t.Helper()
	cfg.Listeners = map[string]net.Listener{}
	addresses := map[string]string{}
	for _, port := range []string{service.HTTPPort, service.GRPCPort, service.TCPPort} {
		cfg.Listeners[port] = listener(t)
		addresses[port] = cfg.Listeners[port].Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, cfg) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return addresses, stop
}

// post speaks with the load as the tests do.
func post(t *testing.T, url string, body any) load.Report {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	var r load.Report
	if strings.HasSuffix(url, "/stop") {
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func count(t *testing.T, r load.Report, kind load.Kind) load.Count {
	t.Helper()
	for _, c := range r.Counts {
		if c.Kind == kind {
			return c
		}
	}
	t.Fatalf("there is no %s in %+v", kind, r.Counts)
	return load.Count{}
}

// wait is the time that a load runs.
func wait() { <-time.After(time.Second) }

func TestEveryKindIsAnsweredAndCountedAtBothEnds(t *testing.T) {
	books := httptest.NewServer(load.Handler(t.Context()))
	defer books.Close()
	leaf, _ := run(t, service.Config{Name: "details-v1", Pod: "d", Ledger: books.URL + "/served"})
	up := "http://" + leaf[service.HTTPPort]
	page, _ := run(t, service.Config{Name: "productpage-v1", Pod: "p", Upstreams: []string{up, up}, Ledger: books.URL + "/served"})
	web := page[service.HTTPPort]
	for kind, gateway := range map[load.Kind]string{
		load.HTTP1New: web, load.HTTP1Kept: web, load.HTTP2: web, load.DirectNew: web, load.DirectKept: web,
		load.GRPCStream: page[service.GRPCPort], load.TCP: web, load.WebSocket: web,
	} {
		cfg := load.Config{Host: "a.example", Path: "/x", Gateway: gateway, Direct: web, Stream: page[service.TCPPort], Rates: map[load.Kind]int{kind: 2}}
		if !kind.Held() {
			cfg.Rates[kind] = 50
		}
		post(t, books.URL+"/start", cfg)
		wait()
		r := post(t, books.URL+"/stop", nil)
		c := count(t, r, kind)
		if c.Sent < 10 || c.OK != c.Sent || c.Failed+c.Cut+c.Resent > 0 {
			t.Errorf("%+v", c)
		}
		if served := r.Served["productpage-v1"][kind]; !kind.Held() && served != c.OK {
			t.Errorf("%s: productpage answered %d of %d", kind, served, c.OK)
		}
	}
}

func TestWhatIsLostIsCountedAsLost(t *testing.T) {
	books := httptest.NewServer(load.Handler(t.Context()))
	defer books.Close()
	leaf, stop := run(t, service.Config{Name: "details-v1", Pod: "d"})
	up := "http://" + leaf[service.HTTPPort]
	page, _ := run(t, service.Config{Name: "productpage-v1", Pod: "p", Upstreams: []string{up, up}})
	cfg := load.Config{
		Path: "/x", Gateway: page[service.HTTPPort], Stream: leaf[service.TCPPort],
		Rates: map[load.Kind]int{load.HTTP1New: 50, load.TCP: 1},
	}
	post(t, books.URL+"/start", cfg)
	wait()
	stop() // at once
	wait()
	r := post(t, books.URL+"/stop", nil)
	c := count(t, r, load.HTTP1New)
	if c.Failed < 10 || c.OK < 10 || c.Sent != c.OK+c.Failed || !strings.Contains(c.Failures[0].Cause, "502 productpage-v1: calling") {
		t.Errorf("%+v", c)
	}
	held := count(t, r, load.TCP)
	if held.Cut != 1 || held.OK < 5 || held.Failed < 2 || held.Sent != held.OK+held.Failed+held.Cut {
		t.Errorf("a held connection is cut once, and then cannot be opened: %+v", held)
	}
	if total := r.Total(); total.Sent != c.Sent {
		t.Errorf("the total counts %d, want the %d of requests", total.Sent, c.Sent)
	}
}

func TestAnAnswerThatIsNotWholeIsLost(t *testing.T) {
	books := httptest.NewServer(load.Handler(t.Context()))
	defer books.Close()
	for cause, answer := range map[string]string{
		"the answer is another request's": `{"name":"p","id":"http1-new-0","up":[]}`,
		"the answer is no answer":         `hello`,
		"503":                             "",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if answer == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte(answer))
		}))
		post(t, books.URL+"/start", load.Config{Gateway: strings.TrimPrefix(srv.URL, "http://"), Rates: map[load.Kind]int{load.HTTP1New: 50}})
		wait()
		c := count(t, post(t, books.URL+"/stop", nil), load.HTTP1New)
		srv.Close()
		if c.OK > 0 || c.Failed != c.Sent || c.Sent == 0 || !strings.HasPrefix(c.Failures[0].Cause, cause) {
			t.Errorf("want %q: %+v", cause, c)
		}
	}
}

func TestALoadThatIsNotUnderstoodIsRefused(t *testing.T) {
	books := httptest.NewServer(load.Handler(t.Context()))
	defer books.Close()
	for _, body := range []string{`{"rates":{"http9":3}}`, `{"rates":{"tcp":0}}`, `nothing`} {
		resp, err := http.Post(books.URL+"/start", "application/json", strings.NewReader(body)) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", body, resp.Status)
		}
	}
}

func TestALossSaysForHowLongItsConnectionWasIdle(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer web.Close()
	address := web.Listener.Addr().String()
	books := httptest.NewServer(load.Handler(t.Context()))
	defer books.Close()
	post(t, books.URL+"/start", load.Config{Path: "/", Gateway: address, Direct: address, Rates: map[load.Kind]int{load.DirectNew: 5, load.DirectKept: 5}})
	wait()
	r := post(t, books.URL+"/stop", nil)
	const says = "on a connection that was idle for "
	for _, f := range count(t, r, load.DirectNew).Failures {
		if strings.Contains(f.Cause, says) {
			t.Errorf("a new connection was never idle: %s", f.Cause)
		}
	}
	kept := count(t, r, load.DirectKept).Failures
	if len(kept) < 2 {
		t.Fatalf("%d requests were lost, want several", len(kept))
	}
	for _, f := range kept[1:] {
		if !strings.Contains(f.Cause, says) {
			t.Errorf("the connection was kept: %s", f.Cause)
		}
	}
}
