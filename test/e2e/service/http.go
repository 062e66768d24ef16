package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// The headers that a request of the load carries from hop to hop.
const (
	KindHeader = "X-Load-Kind" // which load sent it
	IDHeader   = "X-Load-Id"   // which of its requests it is
)

// Hop is one service's part of an answer.
type Hop struct {
	Name string `json:"name"`
	Pod  string `json:"pod"`
	ID   string `json:"id,omitempty"`
	Up   []Hop  `json:"up,omitempty"`
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if a.stopping.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/ws", a.websocket)
	mux.HandleFunc("/", a.answer)
	return mux
}

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	h := Hop{Name: a.cfg.Name, Pod: a.cfg.Pod, ID: r.Header.Get(IDHeader)}
	for _, u := range a.cfg.Upstreams {
		up, code, err := a.call(r, u+r.URL.Path)
		if err != nil {
			http.Error(w, a.cfg.Name+": "+err.Error(), code)
			return
		}
		h.Up = append(h.Up, up)
	}
	body, err := json.Marshal(h)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(body); err == nil {
		a.tally.add(r.Header.Get(KindHeader))
	}
}

// call asks an upstream, and passes on what says which request this is.
func (a *app) call(r *http.Request, url string) (Hop, int, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil) //nolint:gosec // an upstream of the configuration
	if err != nil {
		return Hop{}, http.StatusBadGateway, fmt.Errorf("calling %s: %w", url, err)
	}
	for _, name := range []string{KindHeader, IDHeader, "X-Request-Id"} {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := a.client.Do(req) //nolint:gosec // an upstream of the configuration
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

// post sends a JSON document.
func post(ctx context.Context, client *http.Client, url string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", url, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", url, err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("posting to %s: %s", url, resp.Status)
	}
	return nil
}
