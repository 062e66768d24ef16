package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/serin-mesh/serin/lab/load"
)

// Each request is counted once: as the server saw it, and as the client did.
func TestEveryRequestIsAccountedFor(t *testing.T) {
	var seen atomic.Int32
	enough := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "bookinfo.example" {
			t.Errorf("Host is %q", r.Host)
		}
		switch n := seen.Add(1); {
		case n == 20:
			close(enough)
		case n%5 == 0:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := load.Run(ctx, load.Config{URL: srv.URL, Host: "bookinfo.example", Rate: 500, Fresh: true})
	<-enough
	cancel()
	c.Wait()
	s := c.Snapshot()
	if s.Sent != int(seen.Load()) {
		t.Errorf("counted %d, the server has seen %d", s.Sent, seen.Load())
	}
	if s.Failed < 3 || s.Failed != len(s.Failures) || !strings.Contains(s.Failures[0].Cause, "503 not now") {
		t.Errorf("failed %d: %+v", s.Failed, s.Failures)
	}
	if s.P50 <= 0 || s.P99 < s.P50 {
		t.Errorf("p50 %s, p99 %s", s.P50, s.P99)
	}
}

// A connection that nobody takes is a lost request, and never tried again.
func TestARefusedConnectionIsLost(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := load.Run(ctx, load.Config{URL: srv.URL, Rate: 500})
	for c.Snapshot().Sent == 0 {
		if t.Context().Err() != nil {
			t.Fatal("nothing was sent")
		}
	}
	cancel()
	c.Wait()
	if s := c.Snapshot(); s.Failed != s.Sent || !strings.Contains(s.Failures[0].Cause, "refused") {
		t.Errorf("%+v", s)
	}
}

// The three kinds of a mixed load arrive as they say, at the rates they share.
func TestMixedIsOfEachKind(t *testing.T) {
	var mu sync.Mutex
	connections, seen := map[string]map[string]bool{}, map[string]int{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		kind := r.Proto
		if r.Close || r.Header.Get("Connection") == "close" {
			kind += " new"
		}
		mu.Lock()
		defer mu.Unlock()
		seen[kind]++
		if connections[kind] == nil {
			connections[kind] = map[string]bool{}
		}
		connections[kind][r.RemoteAddr] = true
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	cfgs := load.Mixed(load.Config{URL: srv.URL, Rate: 200})
	if total := cfgs[0].Rate + cfgs[1].Rate + cfgs[2].Rate; total != 200 {
		t.Errorf("together they send %d a second, want 200", total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := load.Run(ctx, cfgs...)
	enough := func(s load.Snapshot) bool {
		return s.Kinds["http1-new"] > 5 && s.Kinds["http1-kept"] > 5 && s.Kinds["http2"] > 5
	}
	for !enough(c.Snapshot()) {
		if t.Context().Err() != nil {
			t.Fatal("a kind was not sent")
		}
	}
	cancel()
	c.Wait()
	s := c.Snapshot()
	want := map[string]int{"HTTP/1.1 new": s.Kinds["http1-new"], "HTTP/1.1": s.Kinds["http1-kept"], "HTTP/2.0": s.Kinds["http2"]}
	for kind, n := range want {
		if seen[kind] != n {
			t.Errorf("%s: counted %d, the server has seen %d", kind, n, seen[kind])
		}
	}
	if s.Failed > 0 || len(connections["HTTP/1.1 new"]) != seen["HTTP/1.1 new"] || len(connections["HTTP/2.0"]) != 1 || len(connections["HTTP/1.1"]) >= seen["HTTP/1.1"] {
		t.Errorf("failed %d; connections: %d new, %d kept, %d of HTTP/2", s.Failed, len(connections["HTTP/1.1 new"]), len(connections["HTTP/1.1"]), len(connections["HTTP/2.0"]))
	}
}
