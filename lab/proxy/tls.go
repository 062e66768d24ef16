package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path"
	"time"

	secrets "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// terminate ends a client's TLS with the certificate of the chain that it calls by
// name. What is missing, the name or the certificate, ends the connection.
func (p *Proxy) terminate(c *chain, conn net.Conn, original string) {
	var taken *chain
	server := tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if taken = named(c.secure, h.ServerName); taken == nil {
			return nil, fmt.Errorf("no chain is called %q", h.ServerName)
		}
		cert, err := certificate(p.state.Load().secrets[taken.secret])
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, err
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return
	}
	p.serveListener(taken, server, original)
}

// named is the chain that a client calls: by its very name, by a pattern, or any.
func named(chains []*chain, name string) *chain {
	var best *chain
	longest := -1
	for _, c := range chains {
		patterns := c.names
		if len(patterns) == 0 {
			patterns = []string{"*"}
		}
		for _, n := range patterns {
			if ok, err := path.Match(n, name); err == nil && ok && len(n) > longest {
				best, longest = c, len(n)
			}
		}
	}
	return best
}

func certificate(s *secrets.Secret) (tls.Certificate, error) {
	c := s.GetTlsCertificate()
	if c == nil {
		return tls.Certificate{}, errors.New("the certificate has not come")
	}
	cert, err := tls.X509KeyPair(c.GetCertificateChain().GetInlineBytes(), c.GetPrivateKey().GetInlineBytes())
	if err != nil {
		return cert, fmt.Errorf("reading the certificate %s: %w", s.GetName(), err)
	}
	return cert, nil
}
