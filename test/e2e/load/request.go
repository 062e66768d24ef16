package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"

	counted "github.com/serin-mesh/serin/lab/load"

	"github.com/serin-mesh/serin/test/e2e/service"
)

// patience is long: a slow answer is latency, and is shown as such; an answer that
// does not come is a loss.
const patience = 30 * time.Second

// requests sends at a fixed rate until ctx ends, and returns when all that it
// has sent is accounted for.
func requests(ctx context.Context, cfg Config, kind Kind, c *counter) {
	client := client(kind)
	defer client.CloseIdleConnections()
	address := cfg.Gateway
	if kind == DirectNew || kind == DirectKept {
		address = cfg.Direct
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	t := time.NewTicker(time.Second / time.Duration(cfg.Rates[kind]))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			wg.Go(func() { request(context.WithoutCancel(ctx), client, "http://"+address+cfg.Path, cfg.Host, c) })
		}
	}
}

func client(kind Kind) *http.Client {
	c := counted.Config{
		Fresh: kind == HTTP1New || kind == DirectNew, HTTP2: kind == HTTP2,
		Dial: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	return &http.Client{Transport: c.Transport(), Timeout: patience}
}

// request sends one and counts what became of it. Its context is its own: the
// end of the load must not be counted as a loss.
func request(ctx context.Context, client *http.Client, url, host string, c *counter) {
	began, n, connections := time.Now(), c.send(), 0
	var on httptrace.GotConnInfo
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { on = i },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if connections++; connections > 1 {
				c.again()
			}
		},
	})
	if cause := ask(ctx, client, url, host, string(c.kind)+"-"+strconv.Itoa(n)); cause != "" {
		if on.Reused {
			cause += fmt.Sprintf(" (on a connection that was idle for %s)", on.IdleTime.Round(time.Millisecond))
		}
		c.fail(began, cause)
		return
	}
	c.ok(time.Since(began))
}

// ask says what was wrong with an answer, "" if nothing was.
func ask(ctx context.Context, client *http.Client, url, host, id string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	req.Host = host
	kind, _, _ := cutLast(id)
	req.Header.Set(service.KindHeader, kind)
	req.Header.Set(service.IDHeader, id)
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
	return judge(body, id)
}

// judge reads an answer: it must be this request's, from all that had to take part.
func judge(body []byte, id string) string {
	var h service.Hop
	if err := json.Unmarshal(body, &h); err != nil {
		return fmt.Sprintf("the answer is no answer: %v: %.100s", err, body)
	}
	if h.ID != id {
		return fmt.Sprintf("the answer is another request's: %q, not %q", h.ID, id)
	}
	if len(h.Up) != 2 || h.Up[0].ID != id || h.Up[1].ID != id {
		return fmt.Sprintf("the answer is not whole: %.200s", body)
	}
	return ""
}
