package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/serin-mesh/serin/lab/fabric"
)

// peerHeader carries who calls from proxy to proxy. It stands for what mutual
// TLS and the metadata exchange tell in a real mesh, and never reaches an app.
const peerHeader = "X-Lab-Peer"

// DialOutbound is the application's connection as iptables hands it to the
// proxy: by the listener for its original destination, or straight through.
func (p *Proxy) DialOutbound(ctx context.Context, network, address string) (net.Conn, error) {
	ip, port, err := p.cfg.Net.Resolve(p.cfg.Pod.Namespace, address)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	s := p.state.Load()
	dst := net.JoinHostPort(ip, strconv.Itoa(port))
	c := s.byAddr[dst]
	if c == nil {
		c = s.byPort[port]
	}
	if c == nil {
		return p.dialer.DialContext(ctx, network, dst)
	}
	near, far, err := p.cfg.Net.Pair(ctx)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	go p.serveListener(c, far, dst) //nolint:contextcheck // the connection outlives the dialing
	return near, nil
}

// serveListener forwards one downstream connection of an outbound or gateway listener.
func (p *Proxy) serveListener(c *chain, conn net.Conn, original string) {
	if len(c.secure) > 0 {
		p.terminate(c, conn, original)
		return
	}
	if !c.http {
		p.serveTCP(c.tcp, conn, original)
		return
	}
	serveConn(conn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.outbound(w, r, c, original) }))
}

func (p *Proxy) serveTCP(name string, conn net.Conn, original string) {
	addr := original
	if s := p.state.Load(); s.clusters[name].GetType() != cluster.Cluster_ORIGINAL_DST {
		a, ok := s.pick(name, nil)
		if !ok {
			_ = conn.Close()
			return
		}
		addr = a
	}
	up, err := p.dialer.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		_ = conn.Close()
		return
	}
	fabric.Splice(conn, up)
}

// outbound routes one request by the current configuration.
func (p *Proxy) outbound(w http.ResponseWriter, r *http.Request, c *chain, original string) {
	if p.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	began := time.Now()
	s := p.state.Load()
	name, retries, ok := s.routeFor(c, r.Host, r.URL.Path, r.Header)
	if _, lost := p.lost.Load(hostOf(r.Host)); !ok || lost {
		w.WriteHeader(http.StatusNotFound)
		p.stats.count(p.labels("source", r, "", http.StatusNotFound), time.Since(began))
		return
	}
	code := p.forward(w, r, target{name, retries, original})
	p.stats.count(p.labels("source", r, name, code), time.Since(began))
	p.logAccess(c, r, code, name)
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// target is where a request goes.
type target struct {
	cluster  string
	retries  int
	original string
}

// forward sends the request to an endpoint, and to another one where the route
// allows a retry and nothing was answered, as Istio's default policy says
// (connect-failure and a reset before the request). It returns the status.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, t target) int {
	tried := map[string]bool{}
	for attempt := 0; ; attempt++ {
		addr, ok := p.endpoint(t, tried)
		if !ok {
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
			return http.StatusServiceUnavailable
		}
		tried[addr] = true
		resp, err := p.roundTrip(r, addr)
		if err == nil {
			return relay(w, resp)
		}
		var refused *connectError
		if attempt >= t.retries || (r.Body != nil && r.ContentLength != 0) || r.Context().Err() != nil || (!errors.As(err, &refused) && !errors.Is(err, io.EOF)) {
			http.Error(w, "upstream connect error or disconnect/reset before headers: "+err.Error(), http.StatusServiceUnavailable)
			return http.StatusServiceUnavailable
		}
		select { // Envoy's base interval, jittered there
		case <-time.After(25 * time.Millisecond):
		case <-r.Context().Done():
		}
	}
}

// endpoint picks from the state as it is now: a retry sees what istiod has sent meanwhile.
func (p *Proxy) endpoint(t target, tried map[string]bool) (string, bool) {
	s := p.state.Load()
	if s.clusters[t.cluster].GetType() == cluster.Cluster_ORIGINAL_DST {
		return t.original, t.original != ""
	}
	return s.pick(t.cluster, tried)
}

func (p *Proxy) roundTrip(r *http.Request, addr string) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", addr
	out.Header.Set(peerHeader, p.peer())
	out.Header.Del("Connection")
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("forwarding to %s: %w", addr, err)
	}
	return resp, nil
}

func relay(w http.ResponseWriter, resp *http.Response) int {
	defer func() { _ = resp.Body.Close() }()
	for k, vs := range resp.Header {
		if k == "Connection" {
			continue
		}
		for _, v := range vs {
			w.Header().Add(k, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
	return resp.StatusCode
}

// serveInbound forwards a connection from another pod to the application.
func (p *Proxy) serveInbound(s *state, port int, conn net.Conn) {
	isHTTP, known := s.inbound[port]
	if !known || !isHTTP {
		if p.cfg.App == nil || !p.cfg.App(port, conn) {
			_ = conn.Close()
		}
		return
	}
	serveConn(conn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.inboundRequest(w, r, port) }))
}

func (p *Proxy) inboundRequest(w http.ResponseWriter, r *http.Request, port int) {
	began, labels := time.Now(), p.labels("destination", r, "", 0)
	if p.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	out.Header.Del(peerHeader)
	resp, err := p.local(port).RoundTrip(out)
	code := http.StatusServiceUnavailable
	if err != nil {
		// an app that is gone: the sidecar still answers, until its clients drop the endpoint
		http.Error(w, "upstream connect error or disconnect/reset before headers. reset reason: connection failure: "+err.Error(), code)
	} else {
		code = relay(w, resp)
	}
	labels["response_code"] = strconv.Itoa(code)
	p.stats.count(labels, time.Since(began))
}

// local is the transport to the application in the same pod.
func (p *Proxy) local(port int) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far, err := p.cfg.Net.Pair(ctx)
		if err != nil {
			return nil, fmt.Errorf("dialing the app: %w", err)
		}
		if p.cfg.App == nil || !p.cfg.App(port, far) {
			_ = near.Close()
			_ = far.Close()
			return nil, fmt.Errorf("dialing the app on %d: %w", port, fabric.ErrRefused)
		}
		return near, nil
	}}
}

func (p *Proxy) logAccess(c *chain, r *http.Request, code int, name string) {
	if c.access {
		fmt.Fprintf(p.cfg.Log, "[%s] \"%s %s HTTP/1.1\" %d %s host=%s revision=%s\n",
			time.Now().UTC().Format(time.RFC3339Nano), r.Method, r.URL.Path, code, name, r.Host, p.cfg.Pod.Annotations["istio.io/rev"])
	}
}

// regexes caches the compiled expressions of routes.
type regexes struct{ m sync.Map }

func (c *regexes) get(expr string) *regexp.Regexp {
	if v, ok := c.m.Load(expr); ok {
		re, _ := v.(*regexp.Regexp)
		return re
	}
	re, err := regexp.Compile("^(?:" + expr + ")$")
	if err != nil {
		re = nil
	}
	c.m.Store(expr, re)
	return re
}

var compiled regexes //nolint:gochecknoglobals // a cache shared by thousands of proxies

func regexMatches(expr, path string) bool {
	re := compiled.get(expr)
	return re != nil && re.MatchString(path)
}

// clusterParts splits "outbound|9080||reviews.default.svc.cluster.local".
func clusterParts(name string) (string, string) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 {
		return name, ""
	}
	host := strings.Split(parts[3], ".")
	if len(host) > 1 {
		return host[0], host[1]
	}
	return host[0], ""
}
