package evidence

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Forwarder opens a connection to a port of a pod.
type Forwarder interface {
	Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
}

// NewForwarder returns the Forwarder of a cluster: the API server's port-forward,
// over a websocket or, where the API server or a proxy before it does not know
// that, over SPDY. Nothing listens on this machine.
func NewForwarder(config *rest.Config) Forwarder { return forwarder{config} }

type forwarder struct{ config *rest.Config }

// Dial does not wait longer than ctx, which client-go's dialers do not know: one
// that comes late is closed.
func (f forwarder) Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		conn, err := f.open(namespace, pod, port)
		done <- opened{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				_ = o.conn.Close() // nobody is left to be told
			}
		}()
		return nil, fmt.Errorf("forwarding to port %d of %s/%s: %w", port, namespace, pod, ctx.Err())
	}
}

func (f forwarder) open(namespace, pod string, port int) (net.Conn, error) {
	dialer, err := f.dialer(namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("preparing a port-forward to %s/%s: %w", namespace, pod, err)
	}
	connection, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("forwarding to port %d of %s/%s: %w", port, namespace, pod, err)
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		_ = connection.Close() // the protocol is what matters
		return nil, fmt.Errorf("forwarding to port %d of %s/%s: the server speaks %q", port, namespace, pod, protocol)
	}
	conn, err := newStreamConn(connection, fmt.Sprintf("%s/%s", namespace, pod), port)
	if err != nil {
		_ = connection.Close() // the stream's error is what matters
		return nil, fmt.Errorf("forwarding to port %d of %s/%s: %w", port, namespace, pod, err)
	}
	return conn, nil
}

func (f forwarder) dialer(namespace, pod string) (httpstream.Dialer, error) {
	server, _, err := rest.DefaultServerUrlFor(f.config)
	if err != nil {
		return nil, err
	}
	target := server.JoinPath("api/v1/namespaces", namespace, "pods", pod, "portforward")
	overSPDY, err := f.spdyDialer(target)
	if err != nil {
		return nil, err
	}
	overWebsocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, f.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(overWebsocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

func (f forwarder) spdyDialer(target *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target), nil
}

// connections says how many a client holds to one host, and idle ones to all (0 is no bound).
type connections struct {
	each int
	idle int
}

// clientOver returns an HTTP client whose hosts are pods, named as address does.
// The transport keeps connections, and so port-forwards, open, and dials again
// when one broke.
func clientOver(f Forwarder, c connections) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, service, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			port, err := strconv.Atoi(service)
			if err != nil {
				return nil, fmt.Errorf("reading the port of %s: %w", addr, err)
			}
			pod, namespace, ok := cutLast(host)
			if !ok {
				return nil, fmt.Errorf("want a host named pod.namespace, got %q", host)
			}
			return f.Dial(ctx, namespace, pod, port)
		},
		MaxConnsPerHost:     c.each,
		MaxIdleConnsPerHost: c.each,
		MaxIdleConns:        c.idle,
		IdleConnTimeout:     5 * time.Minute,
	}}
}

// address is the URL of a path at a pod's port, for clientOver's clients.
func address(namespace, pod string, port int, path string) string {
	return fmt.Sprintf("http://%s.%s:%d%s", pod, namespace, port, path)
}
