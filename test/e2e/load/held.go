package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/serin-mesh/serin/test/e2e/service"
)

const (
	pace  = 100 * time.Millisecond // between the messages of a held connection
	limit = 20 * time.Second       // for an answer
)

// channel is a connection that is held: each message is answered.
type channel interface {
	message() error
	close()
}

// held holds connections until ctx ends. One that ends is opened again at once.
func held(ctx context.Context, cfg Config, kind Kind, c *counter) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range cfg.Rates[kind] {
		wg.Go(func() {
			for ctx.Err() == nil {
				hold(ctx, cfg, kind, c)
				pause(ctx)
			}
		})
	}
}

func pause(ctx context.Context) {
	t := time.NewTimer(pace)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// hold opens one connection and uses it until it ends. What fails before the
// first answer is a failure, what fails later a cut.
func hold(ctx context.Context, cfg Config, kind Kind, c *counter) {
	began := time.Now()
	c.send()
	ch, err := open(ctx, cfg, kind)
	if err != nil {
		if ctx.Err() != nil {
			c.forget()
			return
		}
		c.fail(began, "opening: "+err.Error())
		return
	}
	defer ch.close()
	for n := 0; ; n++ {
		if n > 0 {
			pause(ctx)
			if ctx.Err() != nil {
				return
			}
			began = time.Now()
			c.send()
		}
		err := ch.message()
		switch {
		case err == nil:
			c.ok(time.Since(began))
		case ctx.Err() != nil: // we ended it ourselves
			c.forget()
			return
		case n == 0:
			c.fail(began, "opening: "+err.Error())
			return
		default:
			c.broke(began, fmt.Sprintf("after %d messages: %v", n, err))
			return
		}
	}
}

func open(ctx context.Context, cfg Config, kind Kind) (channel, error) {
	if kind == GRPCStream {
		return openStream(ctx, cfg)
	}
	if kind == WebSocket {
		return openWebSocket(ctx, cfg)
	}
	return openTCP(ctx, cfg.Stream)
}

// line is a connection whose peer echoes lines.
type line struct {
	net.Conn

	in *bufio.Reader
}

func openTCP(ctx context.Context, address string) (*line, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &line{c, bufio.NewReader(c)}, nil
}

func (l *line) message() error {
	if err := l.SetDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	const text = "ping\n"
	if _, err := l.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	got, err := l.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if got != text {
		return fmt.Errorf("reading: got %q", got)
	}
	return nil
}

func (l *line) close() { _ = l.Close() }

func openWebSocket(ctx context.Context, cfg Config) (*line, error) {
	l, err := openTCP(ctx, cfg.Gateway)
	if err != nil {
		return nil, err
	}
	const key = "c2VyaW4gY291bnRzIGl0IQ=="
	_ = l.SetDeadline(time.Now().Add(limit))
	_, err = fmt.Fprintf(l, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", cfg.Host, key)
	if err == nil {
		err = l.handshake(service.Accept(key))
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *line) handshake(accept string) error {
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return fmt.Errorf("shaking hands: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Accept") != accept {
		return errors.New("shaking hands: " + resp.Status)
	}
	return nil
}

// stream is a gRPC stream that the server sends on.
type stream struct {
	conn   *grpc.ClientConn
	watch  grpc.ServerStreamingClient[healthpb.HealthCheckResponse]
	cancel context.CancelFunc
}

func openStream(ctx context.Context, cfg Config) (*stream, error) {
	conn, err := grpc.NewClient("passthrough:///"+cfg.Gateway, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(cfg.Host))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, err
	}
	return &stream{conn, watch, cancel}, nil
}

func (s *stream) message() error {
	stuck := time.AfterFunc(limit, s.cancel)
	defer stuck.Stop()
	_, err := s.watch.Recv()
	return err
}

func (s *stream) close() {
	s.cancel()
	_ = s.conn.Close()
}
