package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// The ports of each service, beside HTTP's.
const (
	HTTPPort = "9080"
	GRPCPort = "9081"
	TCPPort  = "9082"
)

// Config says what the service is.
type Config struct {
	Name      string   // as in reviews-v2
	Pod       string   // its pod's name
	Upstreams []string // URLs it calls for each request
	// Drain is how long it goes on answering after it was told to stop. None: it
	// stops at once, and cuts what is under way.
	Drain  time.Duration
	Ledger string // URL that counts are sent to, "" for none
	// Listeners are by port, for tests; its own when there are none.
	Listeners map[string]net.Listener
}

// app is a service that runs.
type app struct {
	cfg      Config
	client   *http.Client
	stopping atomic.Bool
	tally    tally

	healthpb.UnimplementedHealthServer
}

// Run serves until ctx ends, and then as Config.Drain says.
func Run(ctx context.Context, cfg Config) error {
	a := &app{cfg: cfg, client: &http.Client{Timeout: 25 * time.Second}, tally: newTally()}
	l := cfg.Listeners
	if len(l) == 0 {
		var err error
		if l, err = listen(ctx); err != nil {
			return err
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{Handler: a.routes(), Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	streams := grpc.NewServer()
	healthpb.RegisterHealthServer(streams, a)
	ended := make(chan error, 3)
	go func() { ended <- web.Serve(l[HTTPPort]) }()
	go func() { ended <- streams.Serve(l[GRPCPort]) }()
	living, die := context.WithCancel(context.WithoutCancel(ctx)) // till Run returns
	defer die()
	go func() { ended <- echo(living, l[TCPPort]) }()
	go a.report(living)

	select {
	case err := <-ended:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	a.stopping.Store(true)
	err := a.stop(context.WithoutCancel(ctx), web, streams, l[TCPPort])
	a.send(context.WithoutCancel(ctx)) // the last count
	return err
}

func listen(ctx context.Context) (map[string]net.Listener, error) {
	all := map[string]net.Listener{}
	for _, port := range []string{HTTPPort, GRPCPort, TCPPort} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+port)
		if err != nil {
			return nil, fmt.Errorf("listening on %s: %w", port, err)
		}
		all[port] = l
	}
	return all, nil
}

// stop drains, or cuts everything at once.
func (a *app) stop(ctx context.Context, web *http.Server, streams *grpc.Server, tcp net.Listener) error {
	if a.cfg.Drain <= 0 {
		streams.Stop()
		_ = tcp.Close()
		if err := web.Close(); err != nil {
			return fmt.Errorf("stopping: %w", err)
		}
		return nil
	}
	<-time.After(a.cfg.Drain)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = tcp.Close()
	streams.Stop() // a stream that is watched ends never by itself
	if err := web.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("draining: %w", err)
	}
	return nil
}

// Parse splits a list of URLs.
func Parse(upstreams string) []string {
	return strings.FieldsFunc(upstreams, func(r rune) bool { return r == ',' })
}
