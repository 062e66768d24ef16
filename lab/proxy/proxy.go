package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/lab/fabric"
)

// Ports of a proxy that are its own, not the application's (R§7.1 and the injection template).
const (
	adminPort     = 15000
	mergedPort    = 15020
	readinessPort = 15021
	metricsPort   = 15090
)

// Config is an injected pod and its surroundings.
type Config struct {
	Pod    *corev1.Pod                               // as injected
	Env    map[string]string                         // resolved environment of the istio-proxy container
	Image  string                                    // of the istio-proxy container; its tag is the version
	Router bool                                      // a gateway
	Token  func(ctx context.Context) (string, error) // a bound token, audience istio-ca
	RootCA func() []byte                             // PEM, as in ConfigMap istio-ca-root-cert
	Net    *fabric.Fabric                            // the network
	App    func(port int, c net.Conn) bool           // hands the application a connection
	Log    io.Writer
}

// Proxy is one istio-proxy. Make one with New; it is the pod's fabric.PodNet.
type Proxy struct {
	cfg       Config
	proxyConf proxyConfig
	version   string
	dialer    fabric.Dialer
	state     atomic.Pointer[state]
	mu        sync.Mutex // guards next, the state being built
	next      state
	draining  atomic.Bool
	deaf      atomic.Bool // drained: new connections are refused
	transport *http.Transport
	stats     *stats
	rejects   sync.Map // type URL -> struct{}: a fault
	lost      sync.Map // host -> struct{}: a fault
	connected atomic.Bool
}

// proxyConfig is the part of PROXY_CONFIG that the proxy uses.
type proxyConfig struct {
	DiscoveryAddress         string `json:"discoveryAddress"`
	TerminationDrainDuration string `json:"terminationDrainDuration"`
}

// New returns a proxy that is not running yet.
func New(cfg Config) (*Proxy, error) {
	p := &Proxy{cfg: cfg, dialer: cfg.Net.Namespace(cfg.Pod.Namespace), version: tagOf(cfg.Image), stats: newStats(tagOf(cfg.Image))}
	if err := json.Unmarshal([]byte(cfg.Env["PROXY_CONFIG"]), &p.proxyConf); err != nil {
		return nil, fmt.Errorf("reading PROXY_CONFIG of %s/%s: %w", cfg.Pod.Namespace, cfg.Pod.Name, err)
	}
	if p.proxyConf.DiscoveryAddress == "" {
		return nil, fmt.Errorf("reading PROXY_CONFIG of %s/%s: no discoveryAddress", cfg.Pod.Namespace, cfg.Pod.Name)
	}
	p.state.Store(&state{})
	p.transport = &http.Transport{DialContext: p.dialUpstream, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, DisableCompression: true}
	return p, nil
}

// dialUpstream connects to an endpoint; the address is always podIP:port.
func (p *Proxy) dialUpstream(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, &connectError{err}
	}
	return c, nil
}

// connectError marks a failure before anything was sent, which Envoy retries as connect-failure.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// Run keeps the proxy connected to its istiod until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := p.stream(ctx)
		p.connected.Store(false)
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(p.cfg.Log, "xds stream to %s ended: %v\n", p.proxyConf.DiscoveryAddress, err)
		if time.Since(began) > 10*time.Second {
			wait = 100 * time.Millisecond
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, 5*time.Second)
	}
	p.transport.CloseIdleConnections()
	return nil //nolint:nilerr // the streams' errors were logged; the end of ctx is no error
}

// Ready says whether the proxy has all its first configuration.
func (p *Proxy) Ready() bool { return p.state.Load().complete && !p.draining.Load() }

// Drain is SIGTERM: pilot-agent lets Envoy serve on for terminationDrainDuration
// (5 seconds unless set), then it goes.
func (p *Proxy) Drain() {
	p.draining.Store(true)
	d := 5 * time.Second
	if v, err := time.ParseDuration(p.proxyConf.TerminationDrainDuration); err == nil {
		d = v
	}
	time.AfterFunc(d, func() { p.deaf.Store(true) })
}

// Drained says whether the drain has ended.
func (p *Proxy) Drained() bool { return p.deaf.Load() }

// Reject makes the proxy refuse every further push of a type: a fault.
func (p *Proxy) Reject(typeURL string) { p.rejects.Store(typeURL, struct{}{}) }

// Lose makes the proxy answer a host with 404, whatever its routes say.
func (p *Proxy) Lose(host string) { p.lost.Store(host, struct{}{}) }

// Accept implements fabric.PodNet: traffic from other pods.
func (p *Proxy) Accept(port int, c net.Conn) bool {
	switch port {
	case readinessPort, mergedPort, metricsPort:
		return p.AcceptLocal(port, c)
	case adminPort:
		return false // loopback only
	}
	if p.deaf.Load() {
		return false
	}
	s := p.state.Load()
	if p.cfg.Router {
		l := s.byPort[port]
		if l == nil {
			return false
		}
		go p.serveListener(l, c, "")
		return true
	}
	if s.inbound == nil { // not configured yet: nothing listens on 15006
		return false
	}
	go p.serveInbound(s, port, c)
	return true
}

// AcceptLocal is a connection from inside the pod, as a port-forward makes it.
func (p *Proxy) AcceptLocal(port int, c net.Conn) bool {
	var h http.Handler
	switch port {
	case adminPort:
		h = p.admin()
	case readinessPort:
		h = http.HandlerFunc(p.readiness)
	case mergedPort, metricsPort:
		h = p.metrics()
	default:
		if p.cfg.Router { // its listeners are on every address of the pod
			l := p.state.Load().byPort[port]
			if l != nil && !p.deaf.Load() {
				go p.serveListener(l, c, "")
				return true
			}
			return false
		}
		return p.cfg.App != nil && p.cfg.App(port, c)
	}
	serveConn(c, h)
	return true
}

func (p *Proxy) readiness(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz/ready" || !p.Ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// serveConn serves HTTP on one connection, in the background: 1.1 or, as Envoy's
// codec AUTO does, 2 to a client that begins so.
func serveConn(c net.Conn, h http.Handler) {
	l := &oneConn{c: c, done: make(chan struct{})}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: protocols, ReadHeaderTimeout: 30 * time.Second, ConnState: func(_ net.Conn, st http.ConnState) {
		if st == http.StateClosed || st == http.StateHijacked {
			l.end()
		}
	}}
	go func() { _ = s.Serve(l) }()
}

// oneConn is a listener with a single connection.
type oneConn struct {
	c    net.Conn
	once sync.Once
	end1 sync.Once
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	var c net.Conn
	l.once.Do(func() { c = l.c })
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) end()         { l.end1.Do(func() { close(l.done) }) }
func (l *oneConn) Close() error { return nil }
func (l *oneConn) Addr() net.Addr {
	return l.c.LocalAddr()
}
