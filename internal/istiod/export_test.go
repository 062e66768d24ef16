package istiod

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/shadow"
)

// ParseDump is parseDump.
func ParseDump(b []byte) (shadow.Config, error) { return parseDump(b) }

// References are the endpoints, routes and extensions that a configuration leads to.
func References(c shadow.Config) [3]map[string]bool {
	r := references(c)
	return [3]map[string]bool{r.endpoints, r.routes, r.extensions}
}

// NodeOf is nodeOf.
func NodeOf(injected, now corev1.Pod, metadata map[string]any, version string) *core.Node {
	return nodeOf(injected, now, client{Metadata: metadata, Locality: []byte(`{"region":"r"}`)}, version)
}
