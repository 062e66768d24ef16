package evidence

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/plan"
)

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// asker sends one request of a probe. It never sends it twice. idle is how long it
// only watched what it got, which nobody waited for.
type asker interface {
	ask(ctx context.Context) (idle time.Duration, err error)
	close()
}

// newAsker returns what speaks the probe's protocol.
func newAsker(p plan.Probe, dial dialer) (asker, error) {
	u, err := p.Address()
	if err != nil {
		return nil, err
	}
	secure, err := security(p, u)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "grpc", "grpcs":
		return newHealth(p, u, secure, dial), nil
	case "tcp", "tls":
		return &connecting{address: u.Host, secure: secure, dial: dial, send: p.Send, expect: p.Expect}, nil
	}
	return &getting{probe: p, client: httpClient(p, p.HTTP2, secure, dial)}, nil
}

// security is how certificates are looked at; nil where the protocol has none.
func security(p plan.Probe, u *url.URL) (*tls.Config, error) {
	if !slices.Contains([]string{"https", "grpcs", "tls"}, u.Scheme) {
		return nil, nil //nolint:nilnil // no TLS is an answer
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: cmp.Or(p.SNI, hostname(p.Host), u.Hostname()),
		InsecureSkipVerify: p.Insecure, //nolint:gosec // the user's own word, for this one probe
	}
	if p.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(p.CA)) {
			return nil, errors.New("its ca holds no certificate in PEM")
		}
	}
	return c, nil
}

// httpClient speaks one version of HTTP, directly: it neither falls back to another
// one nor asks a proxy, which would retry on its own. A redirect is an answer, not a
// reason to ask someone else.
func httpClient(p plan.Probe, two bool, secure *tls.Config, dial dialer) *http.Client {
	protocols := new(http.Protocols)
	switch {
	case two && secure == nil:
		protocols.SetUnencryptedHTTP2(true)
	case two:
		protocols.SetHTTP2(true)
	default:
		protocols.SetHTTP1(true)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         dial,
			TLSClientConfig:     secure,
			DisableKeepAlives:   p.Fresh,
			MaxIdleConnsPerHost: max(100, p.Rate),
			IdleConnTimeout:     30 * time.Second,
			Protocols:           protocols,
			DisableCompression:  true,
			// A peer that is gone without a word would keep the only connection for a quarter of an hour.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// getting asks by GET.
type getting struct {
	probe  plan.Probe
	client *http.Client
}

func (g *getting) close() { g.client.CloseIdleConnections() }

// ask sends one request. An answer counts when it is whole and of a good status:
// those the probe names, else neither an error of the server nor of the client. 404
// is what a gateway without its routes says.
func (g *getting) ask(ctx context.Context) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.probe.URL, onlyOnce{})
	if err != nil {
		return 0, err
	}
	req.Host = g.probe.Host
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	start, err := io.ReadAll(io.LimitReader(resp.Body, 120))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil {
		return 0, fmt.Errorf("status %s, reading the body: %w", resp.Status, err)
	}
	good := resp.StatusCode < http.StatusBadRequest
	if len(g.probe.Status) > 0 {
		good = slices.Contains(g.probe.Status, resp.StatusCode)
	}
	if !good {
		return 0, fmt.Errorf("status %s: %s", resp.Status, strings.Join(strings.Fields(string(start)), " "))
	}
	return 0, nil
}

// onlyOnce is an empty body that cannot be read again. With it net/http sends what
// it sends without a body, but does not retry by itself when a kept connection
// breaks: it would, and hide exactly the losses the prober is there to count.
type onlyOnce struct{}

// Read returns io.EOF.
func (onlyOnce) Read([]byte) (int, error) { return 0, io.EOF }
