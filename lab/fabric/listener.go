package fabric

import (
	"fmt"
	"net"
	"sync"
)

// Listener makes one port of an address on the fabric a net.Listener. Its Net is
// that address's PodNet: the two interfaces each have their own Accept.
type Listener struct {
	ip    string
	port  int
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewListener returns a Listener whose Net is to be attached at ip.
func NewListener(ip string, port int) *Listener {
	return &Listener{ip: ip, port: port, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return addr(fmt.Sprintf("%s:%d", l.ip, l.port)) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// Net is the listener as the fabric sees it.
func (l *Listener) Net() PodNet { return podSide{l} }

type podSide struct{ l *Listener }

// Accept implements PodNet.
func (p podSide) Accept(port int, c net.Conn) bool {
	if port != p.l.port {
		return false
	}
	select {
	case <-p.l.done:
		return false
	default:
	}
	go func() {
		select {
		case p.l.conns <- c:
		case <-p.l.done:
			_ = c.Close()
		}
	}()
	return true
}
