package evidence

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// watched is how long a connection of which nothing is expected is watched. A
// gateway accepts before it knows whether anybody is behind it, and closes then.
const watched = 100 * time.Millisecond

// connecting opens a connection, and says something where it has something to say.
type connecting struct {
	address      string
	secure       *tls.Config
	dial         dialer
	send, expect string
}

func (*connecting) close() {}

func (c *connecting) ask(ctx context.Context) (time.Duration, error) {
	conn, err := c.dial(ctx, "tcp", c.address)
	if err != nil {
		return 0, err
	}
	if c.secure != nil {
		shaken := tls.Client(conn, c.secure)
		if err := shaken.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's error is what matters
			return 0, fmt.Errorf("shaking hands: %w", err)
		}
		conn = shaken
	}
	defer func() { _ = conn.Close() }() // it has served
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return 0, fmt.Errorf("bounding the connection: %w", err)
		}
	}
	if c.send != "" {
		if _, err := io.WriteString(conn, c.send); err != nil {
			return 0, fmt.Errorf("sending: %w", err)
		}
	}
	if c.expect != "" {
		return 0, c.answered(conn)
	}
	return stays(conn)
}

// answered wants the answer that is expected.
func (c *connecting) answered(conn net.Conn) error {
	got := make([]byte, len(c.expect))
	n, err := io.ReadFull(conn, got)
	switch {
	case string(got[:n]) == c.expect:
		return nil
	case err != nil:
		return fmt.Errorf("want %q, got %q: %w", c.expect, got[:n], err)
	}
	return fmt.Errorf("want %q, got %q", c.expect, got)
}

// stays wants a connection not to be closed at once: what comes over it, or nothing,
// is well.
func stays(conn net.Conn) (time.Duration, error) {
	if err := conn.SetReadDeadline(time.Now().Add(watched)); err != nil { //nolint:forbidigo // the deadlines of connections are of the wall
		return 0, fmt.Errorf("watching the connection: %w", err)
	}
	_, err := conn.Read(make([]byte, 1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return watched, nil
	case err != nil:
		return 0, fmt.Errorf("closed at once: %w", err)
	}
	return 0, nil
}
