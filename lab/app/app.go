// Package app is the small HTTP service that runs in the lab's pods: it answers
// on its container's ports, calls the services named in UPSTREAMS and reports
// each hop. At SIGTERM it drains for DRAIN, or stops at once.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Config is a container and its network.
type Config struct {
	Pod       *corev1.Pod
	Container corev1.Container
	Env       map[string]string // resolved: NAME, UPSTREAMS, DRAIN, POD, FAIL
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Log       io.Writer
}

// App is one running container. Make one with New.
type App struct {
	cfg      Config
	ports    []int
	conns    chan net.Conn
	closed   chan struct{}
	close    sync.Once
	stopping atomic.Bool
	flaw     atomic.Pointer[Flaw]
	drain    time.Duration
	client   *http.Client
}

// Hop is what the service answers: its name, its pod, and what its upstreams answered.
type Hop struct {
	Name string `json:"name"`
	Pod  string `json:"pod"`
	Up   []Hop  `json:"up,omitempty"`
}

// New returns an app that is not running yet.
func New(cfg Config) *App {
	a := &App{cfg: cfg, conns: make(chan net.Conn), closed: make(chan struct{}), drain: 5 * time.Second}
	for _, p := range cfg.Container.Ports {
		a.ports = append(a.ports, int(p.ContainerPort))
	}
	if d, err := time.ParseDuration(cfg.Env["DRAIN"]); err == nil {
		a.drain = d
	}
	a.Spoil(Flaw{})
	if cfg.Env["FAIL"] != "" {
		a.Spoil(Flaw{Share: 1})
	}
	a.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: cfg.Dial, DisableKeepAlives: true}}
	return a
}

// Run serves until ctx ends or the app has stopped.
func (a *App) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if a.stopping.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/", a.answer)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		select {
		case <-ctx.Done():
			a.shut()
		case <-a.closed:
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(grace)
	}()
	if err := s.Serve(listener{a}); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// Stop is SIGTERM: the app drains, then closes its listener.
func (a *App) Stop() {
	a.stopping.Store(true)
	time.AfterFunc(a.drain, a.shut)
}

// shut lets it listen no more.
func (a *App) shut() { a.close.Do(func() { close(a.closed) }) }

// Flaw is what is wrong with an app.
type Flaw struct {
	Share float64       // of its answers that are 500
	Slow  time.Duration // that each takes longer
	Flap  time.Duration // for which all are 500, and then none for as long
}

// Spoil makes the app answer so from now on: a fault. The zero Flaw mends it.
func (a *App) Spoil(f Flaw) { a.flaw.Store(&f) }

// Ready is its readiness probe's answer.
func (a *App) Ready() bool { return !a.stopping.Load() }

// Listening says whether something answers on the port.
func (a *App) Listening(port int) bool {
	select {
	case <-a.closed:
		return false
	default:
		return slices.Contains(a.ports, port)
	}
}

// Accept hands the app a connection; false is "connection refused".
func (a *App) Accept(port int, c net.Conn) bool {
	if !a.Listening(port) {
		return false
	}
	go func() {
		select {
		case a.conns <- c:
		case <-a.closed:
			_ = c.Close()
		}
	}()
	return true
}

func (a *App) answer(w http.ResponseWriter, r *http.Request) {
	f := a.flaw.Load()
	if f.Slow > 0 {
		t := time.NewTimer(f.Slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
	}
	if f.Flap > 0 && time.Now().UnixNano()/int64(f.Flap)%2 == 1 || f.Share > 0 && rand.Float64() < f.Share { //nolint:gosec // no secret
		http.Error(w, "this app fails: a fault of the lab", http.StatusInternalServerError)
		return
	}
	h := Hop{Name: a.cfg.Env["NAME"], Pod: a.cfg.Pod.Name}
	if u := a.cfg.Env["UPSTREAMS"]; u != "" {
		for url := range strings.SplitSeq(u, ",") { //nolint:contextcheck // the loop body passes it
			up, code, err := a.call(r.Context(), url+r.URL.Path)
			if err != nil {
				http.Error(w, h.Name+": "+err.Error(), code)
				return
			}
			h.Up = append(h.Up, up)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(h); err != nil {
		return // the caller has gone
	}
}

func (a *App) call(ctx context.Context, url string) (Hop, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil) //nolint:gosec // the pod names its upstreams
	if err != nil {
		return Hop{}, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	resp, err := a.client.Do(req) //nolint:gosec // the pod names its upstreams
	if err != nil {
		return Hop{}, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Hop{}, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return Hop{}, resp.StatusCode, fmt.Errorf("calling %s: %d %s", url, resp.StatusCode, body)
	}
	var up Hop
	if err := json.Unmarshal(body, &up); err != nil {
		return Hop{}, http.StatusBadGateway, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return up, http.StatusOK, nil
}

// listener gives the HTTP server the connections that Accept took.
type listener struct{ a *App }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.a.conns:
		return c, nil
	case <-l.a.closed:
		return nil, net.ErrClosed
	}
}

func (listener) Close() error   { return nil }
func (listener) Addr() net.Addr { return &net.TCPAddr{} }
