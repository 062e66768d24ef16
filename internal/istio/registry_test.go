package istio_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/istio"
)

// A registry serves charts as the OCI's distribution specification has it: a
// manifest by its tag, in which "+" is "_", and its parts by their digests.
func TestChartsFromARegistry(t *testing.T) {
	served := map[string][]byte{} // by the end of the path
	types := map[string]string{}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	part := func(mediaType string, b []byte) map[string]any {
		served["/v2/mesh/charts/base/blobs/"+digest(b)] = b
		return map[string]any{"mediaType": mediaType, "digest": digest(b), "size": len(b)}
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	for _, version := range []string{"1.29.1", "1.29.1+build.2"} {
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": part("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"base","version":"`+version+`","apiVersion":"v2"}`)),
			"layers": []any{part("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archived(t, "base", version))},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []string{strings.ReplaceAll(version, "+", "_"), digest(manifest)} {
			at := "/v2/mesh/charts/base/manifests/" + by
			served[at], types[at] = manifest, manifestType
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := served[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if mediaType := types[r.URL.Path]; mediaType != "" {
			w.Header().Set("Content-Type", mediaType)
		}
		w.Header().Set("Docker-Content-Digest", digest(b))
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(b)
		}
	}))
	t.Cleanup(server.Close)
	trust := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", trust) // no other test of this package asks who is trusted: that is read once
	t.Setenv("HOME", t.TempDir())    // and whose credentials are kept is not this test's

	charts := istio.NewCharts("oci://" + strings.TrimPrefix(server.URL, "https://") + "/mesh/charts")
	for _, version := range []string{"1.29.1", "1.29.1+build.2"} {
		ch, err := charts.Load(t.Context(), "base", version)
		if err != nil {
			t.Fatal(err)
		}
		if ch.Metadata.Name != "base" || ch.Metadata.Version != version {
			t.Errorf("got %s %s, want base %s", ch.Metadata.Name, ch.Metadata.Version, version)
		}
	}
	if _, err := charts.Load(t.Context(), "base", "1.30.0"); err == nil || !strings.Contains(err.Error(), "mesh/charts/base:1.30.0") {
		t.Errorf("a version that is not there: %v", err)
	}
}
