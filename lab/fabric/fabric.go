package fabric

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrRefused is what a dialer gets when nothing listens.
var ErrRefused = errors.New("connection refused")

// Fabric is the table of pods and Services. Make one with New.
type Fabric struct {
	delay time.Duration
	loop  net.Listener // makes the two ends of connections

	dialing sync.Mutex
	mu      sync.RWMutex
	pods    map[string]PodNet
	svcs    map[string]*service // namespace/name
	byIP    map[string]*service
	queue   chan change
}

// service is what a dialer needs of a Service and its EndpointSlices.
type service struct {
	key    string
	ips    []string
	ports  map[int]string                  // port -> name
	slices map[string]map[string]endpoints // slice -> port name -> where
}

// endpoints are a port's targets. Those that serve while they leave count only
// when there is no other, as kube-proxy has it.
type endpoints struct{ ready, leaving []target }

type target struct {
	ip   string
	port int
}

// change is an update of the table that takes effect when it has propagated.
type change struct {
	due time.Time
	do  func()
}

// New returns an empty fabric whose Service and endpoint changes take effect
// after delay.
func New(ctx context.Context, delay time.Duration) (*Fabric, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening the fabric's loopback listener: %w", err)
	}
	f := &Fabric{
		delay: delay, loop: l, pods: map[string]PodNet{}, svcs: map[string]*service{}, byIP: map[string]*service{},
		queue: make(chan change, 4096),
	}
	go f.propagate(ctx)
	go func() { <-ctx.Done(); _ = l.Close() }()
	return f, nil
}

// propagate applies changes in order, each when it is due.
func (f *Fabric) propagate(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-f.queue:
			t := time.NewTimer(time.Until(c.due))
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			f.mu.Lock()
			c.do()
			f.mu.Unlock()
		}
	}
}

func (f *Fabric) later(do func()) { f.queue <- change{time.Now().Add(f.delay), do} }

// Attach makes p answer at ip until Detach.
func (f *Fabric) Attach(ip string, p PodNet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods[ip] = p
}

// Detach takes the pod at ip off the network: dialers are refused.
func (f *Fabric) Detach(ip string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, ip)
}

// Pair returns the two ends of a loopback TCP connection.
func (f *Fabric) Pair(ctx context.Context) (net.Conn, net.Conn, error) {
	f.dialing.Lock()
	defer f.dialing.Unlock()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.loop.Addr().String())
	if err != nil {
		return nil, nil, fmt.Errorf("opening a connection in the fabric: %w", err)
	}
	for {
		s, err := f.loop.Accept()
		if err != nil {
			_ = c.Close()
			return nil, nil, fmt.Errorf("accepting a connection in the fabric: %w", err)
		}
		if s.RemoteAddr().String() == c.LocalAddr().String() {
			return c, s, nil
		}
		_ = s.Close() // of a dialer that gave up, or a stranger's
	}
}

// Namespace returns a Dialer that resolves short names in ns.
func (f *Fabric) Namespace(ns string) Dialer { return dialer{f, ns} }

type dialer struct {
	f  *Fabric
	ns string
}

// DialContext implements Dialer.
func (d dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	ip, port, err := d.f.Resolve(d.ns, address)
	if err != nil {
		return nil, err
	}
	return d.f.DialIP(ctx, ip, port)
}

// Resolve turns "host:port" into an IP and a port: host may be an IP or a
// cluster DNS name, short names being in namespace ns.
func (f *Fabric) Resolve(ns, address string) (string, int, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("resolving %s: %w", address, err)
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return "", 0, fmt.Errorf("resolving %s: %w", address, err)
	}
	if net.ParseIP(host) != nil {
		return host, port, nil
	}
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 1 {
		ns = parts[1]
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.svcs[ns+"/"+parts[0]]
	if s == nil {
		return "", 0, fmt.Errorf("resolving %s: no such host", host)
	}
	if len(s.ips) > 0 {
		return s.ips[0], port, nil
	}
	if t, ok := s.pick(""); ok { // headless
		return t.ip, port, nil
	}
	return "", 0, fmt.Errorf("resolving %s: no endpoints", host)
}

// DialIP connects to a pod or to a Service by its address.
func (f *Fabric) DialIP(ctx context.Context, ip string, port int) (net.Conn, error) {
	f.mu.RLock()
	if s := f.byIP[ip]; s != nil {
		name, known := s.ports[port]
		t, ok := s.pick(name)
		if !known || !ok {
			f.mu.RUnlock()
			return nil, fmt.Errorf("dialing %s:%d (%s, no ready endpoint): %w", ip, port, s.key, ErrRefused)
		}
		ip, port = t.ip, t.port
	}
	p := f.pods[ip]
	f.mu.RUnlock()
	if p == nil {
		return nil, fmt.Errorf("dialing %s:%d: %w", ip, port, ErrRefused)
	}
	c, s, err := f.Pair(ctx)
	if err != nil {
		return nil, err
	}
	if !p.Accept(port, s) {
		_ = c.Close()
		_ = s.Close()
		return nil, fmt.Errorf("dialing %s:%d: %w", ip, port, ErrRefused)
	}
	return c, nil
}

// DialService connects to a port of a Service, as the external load balancer does.
func (f *Fabric) DialService(ctx context.Context, key, portName string) (net.Conn, error) {
	f.mu.RLock()
	s := f.svcs[key]
	var t target
	ok := false
	if s != nil {
		t, ok = s.pick(portName)
	}
	f.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("dialing %s (no ready endpoint): %w", key, ErrRefused)
	}
	return f.DialIP(ctx, t.ip, t.port)
}

func (s *service) pick(portName string) (target, bool) {
	var all endpoints
	for _, ports := range s.slices {
		for name, e := range ports {
			if name == portName || portName == "" {
				all.ready = append(all.ready, e.ready...)
				all.leaving = append(all.leaving, e.leaving...)
			}
		}
	}
	from := all.ready
	if len(from) == 0 {
		from = all.leaving
	}
	if len(from) == 0 {
		return target{}, false
	}
	return from[rand.IntN(len(from))], true //nolint:gosec // which endpoint is no secret
}
