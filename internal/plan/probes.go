package plan

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// Probe is the synthetic load serin sends: open loop, never retrying. It has no
// headers and no password: a request is stored, and shown.
type Probe struct {
	Name     string   `json:"name,omitempty"`     // default the URL
	URL      string   `json:"url"`                // http://address:port/path; also https, grpc and grpcs (the path is the service), tcp and tls
	Host     string   `json:"host,omitempty"`     // Host header, :authority, and the name asked for in TLS
	SNI      string   `json:"sni,omitempty"`      // that name, where it is another one
	Rate     int      `json:"rate,omitempty"`     // requests a second; default 20
	Fresh    bool     `json:"fresh,omitempty"`    // a new connection for each
	HTTP2    bool     `json:"http2,omitempty"`    // of http and https; gRPC always is
	CA       string   `json:"ca,omitempty"`       // PEM: whose certificates are trusted instead of this machine's
	Insecure bool     `json:"insecure,omitempty"` // whose certificate it is is not looked at
	Status   []int    `json:"status,omitempty"`   // of http: the answers that are good; default all below 400
	Send     string   `json:"send,omitempty"`     // of tcp: what is written first
	Expect   string   `json:"expect,omitempty"`   // of tcp: what the answer begins with
	Timeout  Duration `json:"timeout,omitempty"`  // of each; default 5s
	Samples  int      `json:"samples,omitempty"`  // fewer in a step say nothing; default 20
	Slower   float64  `json:"slower,omitempty"`   // so many times as slow is too slow; default 1.5
	SlowerBy Duration `json:"slowerBy,omitempty"` // if it is by so much as well; default 50ms
}

const (
	mostProbes  = 20                        // at once
	mostRate    = 1000                      // a second, of one
	mostTimeout = Duration(5 * time.Second) // latencies are told apart up to it
)

// Sends are all probes of the request.
func (r Request) Sends() []Probe {
	if r.Probe == nil {
		return r.Probes
	}
	return append([]Probe{*r.Probe}, r.Probes...)
}

// Title is what the probe is called.
func (p Probe) Title() string { return cmp.Or(p.Name, p.URL) }

// Limits are what is too few and too slow.
func (p Probe) Limits() gate.Limits {
	return gate.Limits{Samples: p.Samples, Slower: p.Slower, By: time.Duration(p.SlowerBy)}
}

// Address is the parsed URL of the probe.
func (p Probe) Address() (*url.URL, error) {
	u, err := url.Parse(p.URL)
	switch {
	case err != nil: // not shown: there may be a password in it
		return nil, errors.New("its url is not one as in http://192.0.2.1/path")
	case u.User != nil:
		return nil, errors.New("its url has a password in it, which everybody could read who may see the run")
	case u.Host == "" || !slices.Contains(schemes(), u.Scheme):
		return nil, fmt.Errorf("its url is %q: want http://address/path, or https, grpc, grpcs, tcp or tls", p.URL)
	case !p.web() && u.Port() == "":
		return nil, fmt.Errorf("its url is %s, which names no port", p.URL)
	}
	return u, nil
}

func schemes() []string { return []string{"http", "https", "grpc", "grpcs", "tcp", "tls"} }

func (p Probe) scheme() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return ""
	}
	return u.Scheme
}

func (p Probe) web() bool { return p.scheme() == "http" || p.scheme() == "https" }

func (p Probe) raw() bool { return p.scheme() == "tcp" || p.scheme() == "tls" }

// wrong says what of it cannot be.
func (p Probe) wrong() string {
	if _, err := p.Address(); err != nil {
		return err.Error()
	}
	switch {
	case p.Rate < 0 || p.Rate > mostRate:
		return fmt.Sprintf("its rate is %d: it is to be from 1 to %d a second", p.Rate, mostRate)
	case p.Timeout < 0 || p.Timeout > mostTimeout:
		return fmt.Sprintf("its timeout is %s: it is to be more than nothing and at most %s", time.Duration(p.Timeout), time.Duration(mostTimeout))
	case p.Samples < 0 || p.SlowerBy < 0 || p.Slower != 0 && p.Slower <= 1:
		return "samples and slowerBy cannot be negative, and slower has to be more than 1"
	}
	return cmp.Or(p.misplaced(), p.untrusted())
}

// misplaced says what is said that its protocol has no use for: it would be read
// and ignored, and somebody would rely on it.
func (p Probe) misplaced() string {
	for _, rule := range []struct {
		broken bool
		says   string
	}{
		{p.HTTP2 && !p.web(), "http2 is of http and https only"},
		{len(p.Status) > 0 && !p.web(), "status is of http and https only"},
		{(p.Send != "" || p.Expect != "") && !p.raw(), "send and expect are of tcp and tls only"},
		{p.Fresh && p.raw(), "fresh is of requests: every probe of tcp and tls is a connection of its own"},
		{p.Host != "" && p.scheme() == "tcp", "host is of protocols that have one, which tcp does not"},
	} {
		if rule.broken {
			return rule.says
		}
	}
	for _, code := range p.Status {
		if code < 100 || code > 599 {
			return strconv.Itoa(code) + " is no status of HTTP"
		}
	}
	return ""
}

func (p Probe) untrusted() string {
	secure := slices.Contains([]string{"https", "grpcs", "tls"}, p.scheme())
	switch {
	case (p.CA != "" || p.Insecure || p.SNI != "") && !secure:
		return "ca, insecure and sni are of https, grpcs and tls only"
	case p.CA != "" && p.Insecure:
		return "it has to have one of ca and insecure"
	case p.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(p.CA)):
		return "its ca holds no certificate in PEM"
	}
	return ""
}

// judgeProbes refuses probes that could not be sent.
func (b *builder) judgeProbes() {
	all, names := b.req.Sends(), map[string]bool{}
	for i, p := range all {
		why := p.wrong()
		if why == "" && names[p.Title()] {
			why = "another probe has this name"
		}
		names[p.Title()] = true
		if why != "" {
			b.find(codeProbe, Mandatory, "probe "+cmp.Or(p.Name, strconv.Itoa(i+1)), why, "mend the request's probes")
		}
	}
	if len(all) > mostProbes {
		b.find(codeProbe, Mandatory, "request", fmt.Sprintf("it has %d probes: %d are the most", len(all), mostProbes), "leave some out")
	}
}
