package istiod

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// certified shakes hands with every running istiod of both revisions, says nothing,
// and finds the root that each one's certificate comes from. The same authority
// signs the certificates of proxies.
func (a *Asker) certified(ctx context.Context, q shadow.Question) ([]shadow.Certified, map[string][]string, error) {
	roots, trusted, err := a.trusted(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	var out []shadow.Certified
	for _, revision := range []string{q.Old.Revision, q.New.Revision} {
		servers, err := a.servers(ctx, revision)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range servers {
			if !ready(s.pod) {
				continue
			}
			chain, err := s.chain(ctx)
			if err != nil {
				return nil, nil, fmt.Errorf("asking istiod %s for its certificate: %w", s.pod.Name, err)
			}
			out = append(out, shadow.Certified{Revision: revision, Pod: s.pod.Name, Root: rootOf(chain, roots), Issuer: "issued by " + chain[len(chain)-1].Issuer.String()})
		}
	}
	return out, trusted, nil
}

// trusted are the roots in the namespace of the control planes, and what the
// namespaces that move verify istiod by.
func (a *Asker) trusted(ctx context.Context, q shadow.Question) ([]*x509.Certificate, map[string][]string, error) {
	spaces := map[string]bool{a.Namespace: true}
	for _, w := range q.Workloads {
		spaces[w.Namespace] = true
	}
	var roots []*x509.Certificate
	trusted := map[string][]string{}
	for _, ns := range slices.Sorted(maps.Keys(spaces)) {
		cm, err := a.Client.CoreV1().ConfigMaps(ns).Get(ctx, rootsName, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("reading the roots of namespace %s: %w", ns, err)
		}
		var certs []*x509.Certificate
		if err == nil {
			certs = certificates(cm.Data["root-cert.pem"])
		}
		trusted[ns] = []string{}
		for _, c := range certs {
			trusted[ns] = append(trusted[ns], key(c))
		}
		if ns == a.Namespace {
			roots = certs
		}
	}
	return roots, trusted, nil
}

func certificates(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// key tells one root from another. A root that was renewed with its key is the
// same: what it signed before is verified by it as well.
func key(c *x509.Certificate) string {
	h := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(h[:8])
}

// rootOf is the one of the roots that verifies the chain; empty where none does.
func rootOf(chain, roots []*x509.Certificate) string {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for _, root := range roots {
		pool := x509.NewCertPool()
		pool.AddCert(root)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			return key(root)
		}
	}
	return ""
}

// errNoCertificate is a server that shows none.
var errNoCertificate = errors.New("it shows no certificate")

// chain is what the istiod shows to whoever connects to its secure port.
func (s *server) chain(ctx context.Context) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := s.dial(ctx, fmt.Sprintf("%s:%d", s.pod.Name, securePort))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName: mesh.IstiodName(s.revision) + "." + s.pod.Namespace + ".svc", MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // nothing is sent: which root it comes from is the question
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errNoCertificate
	}
	return chain, nil
}
