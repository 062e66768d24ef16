package envoy

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"time"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// secret is one certificate of a proxy.
type secret struct {
	name, kind, state, trustDomain string
	valid                          bool
	serial, notAfter, notBefore    string
}

// Secrets are the proxy's certificates, as istioctl proxy-config secret shows
// them. Its one element is that part of the dump: Envoy itself redacts the keys.
func (d Dump) Secrets(now time.Time) (Table, error) {
	t := Table{Heads: []string{"RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"}}
	s, err := d.section("SecretsConfigDump")
	if err != nil {
		return t, err
	}
	t.Elements = []map[string]any{document(s, &admin.SecretsConfigDump{})}
	var all []secret
	for _, part := range []struct{ list, state string }{{"dynamic_warming_secrets", "WARMING"}, {"dynamic_active_secrets", "ACTIVE"}} {
		for _, o := range objects(field(s, part.list)) {
			found, err := certificates(o, part.state, now)
			if err != nil {
				return t, err
			}
			all = append(all, found...)
		}
	}
	domains := len(all) > 0 // shown when every one has one: then trust domains are federated
	for _, c := range all {
		domains = domains && c.trustDomain != ""
	}
	if domains {
		t.Heads = append(t.Heads, "TRUST DOMAIN")
	}
	for _, c := range all {
		row := []string{c.name, c.kind, c.state, strconv.FormatBool(c.valid), c.serial, c.notAfter, c.notBefore}
		if domains {
			row = append(row, c.trustDomain)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// certificates are those of one secret: more than one where it has a bundle for
// each trust domain.
func certificates(o map[string]any, state string, now time.Time) ([]secret, error) {
	name, _ := o["name"].(string)
	m := &tls.Secret{}
	if err := into(inside(o, "secret"), m); err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	}
	if chain := m.GetTlsCertificate().GetCertificateChain().GetInlineBytes(); len(chain) > 0 {
		return []secret{certificate(secret{name: name, state: state}, chain, now)}, nil
	}
	if ca := m.GetValidationContext().GetTrustedCa().GetInlineBytes(); len(ca) > 0 {
		return []secret{certificate(secret{name: name, state: state}, ca, now)}, nil
	}
	spiffe := &tls.SPIFFECertValidatorConfig{}
	if custom := m.GetValidationContext().GetCustomValidatorConfig(); custom.GetTypedConfig().MessageIs(spiffe) {
		if err := custom.GetTypedConfig().UnmarshalTo(spiffe); err != nil {
			return nil, fmt.Errorf("reading secret %s: %w", name, err)
		}
		var out []secret
		for _, td := range spiffe.GetTrustDomains() {
			out = append(out, certificate(secret{name: m.GetName(), state: state, trustDomain: td.GetName()}, td.GetTrustBundle().GetInlineBytes(), now))
		}
		return out, nil
	}
	return []secret{{name: name, state: state}}, nil
}

// certificate completes a secret from its first certificate. One that cannot be
// read is shown as not valid, and is no error.
func certificate(s secret, text []byte, now time.Time) secret {
	block, _ := pem.Decode(text)
	if block == nil {
		return s
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return s
	}
	s.kind = "Cert Chain"
	if c.IsCA {
		s.kind = "CA"
	}
	for _, uri := range c.URIs {
		if s.trustDomain == "" && uri.Scheme == "spiffe" {
			s.trustDomain = uri.Host
		}
	}
	s.valid = now.After(c.NotBefore) && now.Before(c.NotAfter)
	s.serial = fmt.Sprintf("%032x", c.SerialNumber)
	s.notAfter, s.notBefore = c.NotAfter.Format(time.RFC3339), c.NotBefore.Format(time.RFC3339)
	return s
}
