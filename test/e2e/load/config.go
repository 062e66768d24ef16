package load

import (
	"fmt"
	"slices"
	"time"
)

// Port is where Serve listens.
const Port = "9090"

// Kind is a kind of load.
type Kind string

// The kinds of load. Those through the gateway are told from those that call
// productpage's Service: from pod to pod, through its sidecar alone.
const (
	HTTP1New   Kind = "http1-new"   // through the gateway, a new connection for each request
	HTTP1Kept  Kind = "http1-kept"  // through the gateway, connections kept
	HTTP2      Kind = "http2"       // through the gateway, HTTP/2
	DirectNew  Kind = "direct-new"  // pod to pod, a new connection for each request
	DirectKept Kind = "direct-kept" // pod to pod, connections kept
	GRPCStream Kind = "grpc-stream" // through the gateway, held; ten messages a second
	TCP        Kind = "tcp"         // through the gateway, held; ten lines a second
	WebSocket  Kind = "websocket"   // through the gateway, held; ten lines a second
)

// Kinds are all kinds, in the order they are shown.
func Kinds() []Kind {
	return []Kind{HTTP1New, HTTP1Kept, HTTP2, DirectNew, DirectKept, GRPCStream, TCP, WebSocket}
}

// Held says whether a kind holds connections open, and counts messages.
func (k Kind) Held() bool { return k == GRPCStream || k == TCP || k == WebSocket }

// Config says what to send where.
type Config struct {
	Host    string // that the gateway serves
	Path    string // of the requests
	Gateway string // host:port of the gateway's HTTP
	Stream  string // host:port of the gateway's TCP
	Direct  string // host:port of productpage's Service
	// Rates are requests a second, or connections that are held.
	Rates map[Kind]int
}

func (c Config) validate() error {
	for k, rate := range c.Rates {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("reading the load: there is no kind %q", k)
		}
		if rate < 1 || rate > 2000 {
			return fmt.Errorf("reading the load: %s at %d: want 1 to 2000", k, rate)
		}
	}
	return nil
}

// Failure is a request that was lost, or a connection that was cut.
type Failure struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
}

// Count accounts for one kind: Sent = OK + Failed + Cut, once it has ended.
type Count struct {
	Kind   Kind `json:"kind"`
	Sent   int  `json:"sent"`
	OK     int  `json:"ok"`
	Failed int  `json:"failed"`
	Cut    int  `json:"cut"` // messages that a held connection ended in
	// Resent are requests that the HTTP client sent again by itself, unseen by its
	// user, because a kept connection was closed before any answer.
	Resent   int       `json:"resent"`
	P50      float64   `json:"p50ms"`
	P99      float64   `json:"p99ms"`
	Max      float64   `json:"maxms"`
	Failures []Failure `json:"failures,omitempty"` // the first thousand
	Cuts     []Failure `json:"cuts,omitempty"`
}

// Report is all that is known.
type Report struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Counts []Count   `json:"counts"`
	// Served is what the services have answered, by name and kind.
	Served map[string]map[Kind]int `json:"served"`
}

// Total sums up all kinds of requests, without the held ones.
func (r Report) Total() Count {
	var t Count
	for _, c := range r.Counts {
		if c.Kind.Held() {
			continue
		}
		t.Sent, t.OK, t.Failed, t.Resent = t.Sent+c.Sent, t.OK+c.OK, t.Failed+c.Failed, t.Resent+c.Resent
	}
	return t
}
