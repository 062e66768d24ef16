package mesh_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Whatever form a credential has, nothing of it is in what is shown; what is next
// to it is.
func TestRedacted(t *testing.T) {
	for name, doc := range map[string]string{
		"a field by its name":       `{"clientSecret":"LEAK","kept":"kept"}`,
		"an environment variable":   `[{"name":"DB_PASSWORD","value":"LEAK"},"kept"]`,
		"a header that is set":      `{"header":{"key":"Authorization","value":"LEAK"},"append":"kept"}`,
		"a header that is matched":  `{"name":"cookie","stringMatch":{"exact":"LEAK"},"x":"kept"}`,
		"a JWKS":                    `{"localJwks":{"inlineString":"{\"keys\":[{\"k\":\"LEAK\"}]}"},"issuer":"kept"}`,
		"a JWKS in a text":          `{"x":"{\"keys\":[{\"kty\":\"oct\", \"k\": \"LEAK\"}]} kept"}`,
		"a private key in a text":   `{"inlineString":"kept -----BEGIN RSA PRIVATE KEY-----\nLEAK\n-----END RSA PRIVATE KEY-----"}`,
		"a private key cut off":     `{"inlineString":"kept -----BEGIN PRIVATE KEY-----\nLEAK"}`,
		"Basic authentication":      `"kept: Basic TEVBSzpMRUFLLEAK=="`,
		"a bearer of a token":       `"kept: authorization: bearer abc.LEAK-def"`,
		"a password in a URL":       `"https://user:LEAK@kept.example.com/path"`,
		"a token of Kubernetes":     `"kept eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0LEAK.c2lnbmF0dXJlLEAK"`,
		"deep in lists and objects": `{"a":[{"b":[{"apiKey":"LEAK"}]}],"c":"kept"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(doc), &v); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(mesh.Redacted(v))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(b); strings.Contains(got, "LEAK") || !strings.Contains(got, "kept") {
				t.Error(got)
			}
		})
	}
}
