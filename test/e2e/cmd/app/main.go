// Command app is the sample's service: on 9080 HTTP/1.1, HTTP/2 in clear text
// and a websocket, on 9081 a gRPC stream, on 9082 plain TCP. It calls the
// services named in UPSTREAMS and reports each hop.
//
// At SIGTERM it goes on serving for DRAIN before it closes its listeners, and
// stops at once when DRAIN is 0s. It counts what it has answered at /counts.
package main

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the websocket protocol's handshake
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

type hop struct {
	Name string `json:"name"`
	Pod  string `json:"pod"`
	Up   []any  `json:"up,omitempty"`
}

type app struct {
	name, pod string
	upstreams []string
	client    *http.Client
	stopping  atomic.Bool
	answered  atomic.Int64

	healthpb.UnimplementedHealthServer
}

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	a := &app{name: os.Getenv("NAME"), pod: os.Getenv("POD"), client: &http.Client{Timeout: 5 * time.Second}}
	if u := os.Getenv("UPSTREAMS"); u != "" {
		a.upstreams = strings.Split(u, ",")
	}
	drain, err := time.ParseDuration(os.Getenv("DRAIN"))
	if err != nil {
		drain = 5 * time.Second
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{Addr: ":9080", Handler: a.routes(), Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	streams := grpc.NewServer()
	healthpb.RegisterHealthServer(streams, a)
	listeners := [2]net.Listener{}
	for i, address := range []string{":9081", ":9082"} {
		if listeners[i], err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address); err != nil {
			return fmt.Errorf("listening on %s: %w", address, err)
		}
	}
	go func() { log.Print(web.ListenAndServe()) }()
	go func() { log.Print(streams.Serve(listeners[0])) }()
	go a.echo(listeners[1])

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	a.stopping.Store(true)
	if drain == 0 {
		return nil // stops at once: whatever is under way is cut
	}
	<-time.After(drain)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = listeners[1].Close()
	if err := web.Shutdown(ctx); err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	return nil
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if a.stopping.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, a.answered.Load()) })
	mux.HandleFunc("/ws", a.websocket)
	mux.HandleFunc("/", a.answer)
	return mux
}

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	h := hop{Name: a.name, Pod: a.pod}
	for _, u := range a.upstreams {
		up, code, err := a.call(r.Context(), u+r.URL.Path)
		if err != nil {
			http.Error(w, a.name+": "+err.Error(), code)
			return
		}
		h.Up = append(h.Up, up)
	}
	a.answered.Add(1)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h)
}

func (a *app) call(ctx context.Context, url string) (any, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, fmt.Errorf("calling %s: %d %s", url, resp.StatusCode, body)
	}
	var up any
	if err := json.Unmarshal(body, &up); err != nil {
		return nil, http.StatusBadGateway, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return up, http.StatusOK, nil
}

// Watch is the gRPC stream: the standard health service, ten answers a second.
func (a *app) Watch(_ *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if err := s.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
			return err //nolint:wrapcheck // gRPC's own
		}
		select {
		case <-s.Context().Done():
			return nil
		case <-t.C:
		}
	}
}

// echo answers each line of a TCP connection with itself.
func (a *app) echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

// websocket takes the handshake and echoes bytes: what passes through a proxy
// after the upgrade is opaque to it, so frames would prove nothing more.
func (a *app) websocket(w http.ResponseWriter, r *http.Request) {
	h, ok := w.(http.Hijacker)
	if !ok || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "not a websocket", http.StatusBadRequest)
		return
	}
	c, rw, err := h.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the protocol's
	_, err = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil || rw.Flush() != nil {
		return
	}
	for lines := bufio.NewScanner(rw); lines.Scan(); {
		if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
			return
		}
	}
}
