package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
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
