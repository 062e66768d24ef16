package istiod

import (
	"context"
	"crypto/x509"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-mesh/serin/internal/mesh"
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

// InPlaceOf is inPlaceOf.
func InPlaceOf(now corev1.Pod, t corev1.PodTemplateSpec) corev1.Pod { return inPlaceOf(now, t) }

// RootOf is rootOf.
func RootOf(chain, roots []*x509.Certificate) string { return rootOf(chain, roots) }

// Key is key.
func Key(c *x509.Certificate) string { return key(c) }

// NeedOf is what the second pod of a workload, in place of the first, needs of the nodes.
func NeedOf(ctx context.Context, c kubernetes.Interface, q shadow.Question, ref mesh.Ref, pods [2]corev1.Pod) (shadow.Need, error) {
	nodes, err := New(Config{Client: c}).places(ctx)
	return wishOf(q, ref, pods[0], pods[1]).need(nodes), err
}

// Rejects is rejects.
func Rejects(answer *discovery.DiscoveryResponse) map[string]string {
	_, out := rejects(answer)
	return out
}
