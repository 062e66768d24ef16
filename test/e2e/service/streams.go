package service

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the websocket protocol's handshake
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Watch is the gRPC stream: the standard health service, ten answers a second.
func (a *app) Watch(_ *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if err := s.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
		select {
		case <-s.Context().Done():
			return nil
		case <-t.C:
		}
	}
}

// echo answers each line of a TCP connection with itself, until ctx ends.
func echo(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		go func() {
			over := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer func() { over(); _ = c.Close() }()
			lines(c, c)
		}()
	}
}

// lines sends back what it reads, line by line, until either end is closed.
func lines(r io.Reader, w io.Writer) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if _, err := fmt.Fprintln(w, s.Text()); err != nil {
			return
		}
	}
}

// websocket takes the handshake and echoes lines: what passes through a proxy
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
	_, err = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		Accept(r.Header.Get("Sec-WebSocket-Key")))
	if err != nil || rw.Flush() != nil {
		return
	}
	lines(rw, c)
}

// Accept is the answer to a websocket's key.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the protocol's
	return base64.StdEncoding.EncodeToString(sum[:])
}
