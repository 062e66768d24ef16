package xds

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Answer is what one istiod says of its proxies, or why it says nothing.
type Answer struct {
	Istiod      Istiod
	Connections []Connection
}

// Istiod is one istiod pod.
type Istiod struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Revision  string `json:"revision"`
	Version   string `json:"version,omitempty"`
	Proxies   int    `json:"proxies"`
	Error     string `json:"error,omitempty"` // why it did not answer
}

// Connection is a proxy as the istiod that programs it lists it.
type Connection struct {
	Namespace string
	Name      string // of the pod
	Cluster   string
	Kind      string // sidecar, router, waypoint, ztunnel
	Version   string
	Types     []Type // those it asked for, sorted by URL
}

// State is how a type of configuration stands between istiod and a proxy.
type State string

// The states, in the words of istioctl proxy-status.
const (
	Synced  State = "SYNCED"
	Stale   State = "STALE"    // sent and not acknowledged
	Failed  State = "ERROR"    // the proxy refused it
	NotSent State = "NOT SENT" // asked for, and there is nothing of it
)

// Type is one type of configuration that a proxy asked for.
type Type struct {
	URL   string    `json:"-"`
	Name  string    `json:"type"` // as people call it: CDS
	State State     `json:"state"`
	Sent  time.Time `json:"sent,omitzero"`
	Error string    `json:"error,omitempty"` // why the proxy refused it
}

// The types that Istio's tools show first, in their order.
const (
	clusters   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listeners  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	endpoints  = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	routes     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	extensions = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
)

// Short is what Istio's users call a type. One that is not known keeps its URL.
func Short(url string) string {
	switch url {
	case clusters:
		return "CDS"
	case listeners:
		return "LDS"
	case routes:
		return "RDS"
	case endpoints:
		return "EDS"
	case extensions:
		return "ECDS"
	case "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret":
		return "SDS"
	case "type.googleapis.com/istio.networking.nds.v1.NameTable":
		return "NDS"
	case "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig":
		return "PCDS"
	}
	return url
}

// subscribed are the names of the types in the order of istioctl's column:
// clusters, listeners, endpoints and routes, then the others by their URLs.
func subscribed(types []Type) []string {
	first := []string{clusters, listeners, endpoints, routes}
	rank := func(t Type) int {
		if i := slices.Index(first, t.URL); i >= 0 {
			return i
		}
		return len(first)
	}
	sorted := slices.SortedFunc(slices.Values(types), func(a, b Type) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.URL, b.URL))
	})
	names := make([]string, len(sorted))
	for i, t := range sorted {
		names[i] = t.Name
	}
	return names
}

// Columns are the types that istioctl proxy-status -v 1 shows for these proxies:
// the five of every proxy, and those that any of them asked for, by URL.
func Columns(rows []Row) []string {
	urls := []string{clusters, listeners, endpoints, routes, extensions}
	for _, r := range rows {
		for _, t := range r.Types {
			urls = append(urls, t.URL)
		}
	}
	slices.Sort(urls)
	urls = slices.Compact(urls)
	names := make([]string, len(urls))
	for i, u := range urls {
		names[i] = Short(u)
	}
	return names
}
