package evidence

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// grace is how long the reason of a broken forward may come after the break.
const grace = time.Second

// streamConn is a port-forward as a net.Conn: the data stream of a connection of
// its own, and what the node says on the error stream beside it.
type streamConn struct {
	connection httpstream.Connection
	data       httpstream.Stream
	addr       forwardAddr
	told       chan struct{} // closed when the error stream has ended
	reason     string        // may be read once told is closed
}

func newStreamConn(connection httpstream.Connection, pod string, port int) (*streamConn, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0") // one pair of streams a connection
	// Order: the node pairs the streams by request and expects the error stream first.
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	errs, err := connection.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening the error stream: %w", err)
	}
	if err := errs.Close(); err != nil { // we only read from it
		return nil, fmt.Errorf("half-closing the error stream: %w", err)
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := connection.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening the data stream: %w", err)
	}
	c := &streamConn{
		connection: connection,
		data:       data,
		addr:       forwardAddr(fmt.Sprintf("%s:%d", pod, port)),
		told:       make(chan struct{}),
	}
	go func() {
		defer close(c.told)
		b, _ := io.ReadAll(errs) // a break of the connection is seen on the data stream
		c.reason = string(b)
	}()
	return c, nil
}

// Read reads from the pod. When the stream ends because the node could not reach
// the port, its reason is the error: "EOF" alone would tell nobody anything.
func (c *streamConn) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	if err == nil || n > 0 {
		return n, err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.told:
		if c.reason != "" {
			return 0, fmt.Errorf("forwarding to %s: %s", c.addr, c.reason)
		}
	case <-c.connection.CloseChan():
	case <-timer.C:
	}
	return 0, err // io.EOF stays as it is: net/http compares it
}

// Write writes to the pod.
func (c *streamConn) Write(p []byte) (int, error) { return c.data.Write(p) }

// Close ends the stream and its connection.
func (c *streamConn) Close() error {
	_ = c.data.Reset() // what is unsent would keep the connection from closing
	return c.connection.Close()
}

// LocalAddr names the forward; there is no local port.
func (c *streamConn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr names the pod and port.
func (c *streamConn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline is not supported: callers bound their requests by a context.
func (c *streamConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is not supported.
func (c *streamConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is not supported.
func (c *streamConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type forwardAddr string

// Network is not one that net knows.
func (forwardAddr) Network() string { return "portforward" }

// String returns namespace/pod:port.
func (a forwardAddr) String() string { return string(a) }
