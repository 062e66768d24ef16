package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/serin-mesh/serin/test/e2e/service"
)

// server begins, ends and shows loads, one at a time.
type server struct {
	ctx   context.Context //nolint:containedctx // the process's own: a load outlives the request that began it
	books *ledger

	mu   sync.Mutex
	load *Load
}

// Serve answers at address until ctx ends: POST /start a Config, GET /report,
// POST /stop; and POST /served, the services' counts.
func Serve(ctx context.Context, address string) error {
	srv := &http.Server{Addr: address, Handler: Handler(ctx), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the load: %w", err)
	}
	return nil
}

// Handler is what Serve serves.
func Handler(ctx context.Context) http.Handler {
	s := &server{ctx: ctx, books: &ledger{pods: map[string]service.Count{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /served", s.served)
	mux.HandleFunc("POST /start", s.start)
	mux.HandleFunc("POST /stop", s.stop)
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) { s.show(w) })
	return mux
}

func (s *server) served(w http.ResponseWriter, r *http.Request) {
	var c service.Count
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Pod == "" {
		http.Error(w, "want the counts of a pod", http.StatusBadRequest)
		return
	}
	s.books.add(c)
}

func (s *server) start(w http.ResponseWriter, r *http.Request) {
	var cfg Config
	if err := json.NewDecoder(r.Body).Decode(&cfg); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := cfg.validate(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load != nil && s.load.to.IsZero() {
		http.Error(w, "a load runs", http.StatusConflict)
		return
	}
	s.load = start(s.ctx, cfg, s.books) //nolint:contextcheck // it outlives this request
}

func (s *server) stop(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	if s.load != nil {
		s.load.end()
	}
	s.mu.Unlock()
	s.show(w)
}

func (s *server) show(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load == nil {
		http.Error(w, "no load has run", http.StatusNotFound)
		return
	}
	body, err := json.Marshal(s.load.report())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}
