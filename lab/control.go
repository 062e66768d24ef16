package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// State is what a running lab says of itself, in state.json of its directory.
type State struct {
	PID        int           `json:"pid"`
	Kubeconfig string        `json:"kubeconfig"`
	ChartRepo  string        `json:"chartRepo"`
	Control    string        `json:"control"` // unix socket
	Dir        string        `json:"dir"`
	AuditLog   string        `json:"auditLog"`
	Istio      []string      `json:"istio"`
	StartTime  time.Duration `json:"startTime"`
}

// stateFile is written when the lab is ready.
const stateFile = "state.json"

// State is what the lab says of itself.
func (l *Lab) State() State {
	s := State{
		PID: os.Getpid(), Kubeconfig: l.Kubeconfig(), ChartRepo: l.charts, Control: l.control, Dir: l.dir,
		AuditLog: l.AuditLog(), StartTime: l.started,
	}
	for v := range l.releases {
		s.Istio = append(s.Istio, v)
	}
	return s
}

// WriteState tells other processes that the lab is ready.
func (l *Lab) WriteState() error {
	data, err := json.MarshalIndent(l.State(), "", "  ")
	if err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	path := filepath.Join(l.dir, stateFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the lab's state: %w", err)
	}
	return nil
}

// ReadState reads what the lab of a directory says of itself.
func ReadState(dir string) (State, error) {
	var s State
	data, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // the lab's own file
	if err != nil {
		return s, fmt.Errorf("reading the lab's state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("reading the lab's state: %w", err)
	}
	return s, nil
}

// Runs says whether the lab that wrote s still runs: a process number alone may be
// somebody else's by now.
func (s State) Runs(ctx context.Context) bool {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", s.Control)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// serveControl takes faults from other processes on a unix socket.
func (l *Lab) serveControl(ctx context.Context) error {
	l.control = filepath.Join(l.sockets, "control")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", l.control)
	if err != nil {
		return fmt.Errorf("serving the control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		err := json.NewDecoder(r.Body).Decode(&f)
		if err == nil {
			err = l.Fault(r.Context(), f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.say("serving the control socket: %v", err)
		}
	}()
	go func() { <-ctx.Done(); _ = s.Close() }()
	return nil
}

// SendFault makes a fault happen in the lab that has this state.
func (s State) SendFault(ctx context.Context, f Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("sending the fault: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Control)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/fault", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("sending the fault: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("sending the fault: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("sending the fault: %s", bytes.TrimSpace(text))
	}
	return nil
}
