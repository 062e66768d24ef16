package evidence

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// connection is a proxy as one istiod lists it, and when that istiod last sent to it.
type connection struct {
	proxy gate.Proxy
	sent  time.Time
}

// syncStatus is one element of /debug/syncz. The fields by type are in every
// release so far; resources, which also has the types that have no field of their
// own and the reason of a rejection, from 1.26 on at the latest.
type syncStatus struct {
	Proxy         string                    `json:"proxy"` // pod.namespace
	ClusterSent   string                    `json:"cluster_sent"`
	ClusterAcked  string                    `json:"cluster_acked"`
	ListenerSent  string                    `json:"listener_sent"`
	ListenerAcked string                    `json:"listener_acked"`
	RouteSent     string                    `json:"route_sent"`
	RouteAcked    string                    `json:"route_acked"`
	EndpointSent  string                    `json:"endpoint_sent"`
	EndpointAcked string                    `json:"endpoint_acked"`
	ECDSSent      string                    `json:"extensionconfig_sent"`
	ECDSAcked     string                    `json:"extensionconfig_acked"`
	ProxyVersion  string                    `json:"proxy_version"`
	IstioVersion  string                    `json:"istio_version"`
	Resources     map[string]resourceStatus `json:"resources"`
}

type resourceStatus struct {
	Sent      string    `json:"sent"`
	Acked     string    `json:"acked"`
	SentTime  time.Time `json:"sentTime"`
	LastError string    `json:"lastError"` // of the last NACK; an ACK clears it
}

// parseSyncz reads /debug/syncz of one istiod, an element at a time: at ten
// thousand proxies the whole is too much to hold twice. A body that is cut short
// is an error and not a short list.
func parseSyncz(body io.Reader, revision, istiod string) ([]connection, error) {
	dec := json.NewDecoder(body)
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, cmp.Or(err, fmt.Errorf("want a list of proxies, got %v", t))
	}
	var list []connection
	for dec.More() {
		var s syncStatus
		if err := dec.Decode(&s); err != nil {
			return nil, fmt.Errorf("reading proxy %d: %w", len(list)+1, err)
		}
		if s.debugger() {
			continue
		}
		name, namespace, ok := cutLast(s.Proxy)
		if !ok {
			return nil, fmt.Errorf("want a proxy named pod.namespace, got %q", s.Proxy)
		}
		p := gate.Proxy{Namespace: namespace, Name: name, Revision: revision, Istiod: istiod, Version: cmp.Or(s.IstioVersion, s.ProxyVersion)}
		p.Stale, p.Rejected = s.unwell()
		list = append(list, connection{proxy: p, sent: s.lastSent()})
	}
	if _, err := dec.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading after proxy %d: %w", len(list), err)
	}
	return list, nil
}

// cutLast splits pod.namespace: a pod's name may have dots, a namespace's may not.
func cutLast(id string) (string, string, bool) {
	i := strings.LastIndexByte(id, '.')
	if i <= 0 || i == len(id)-1 {
		return "", "", false
	}
	return id[:i], id[i+1:], true
}

// debugger says whether the client only asks istiod about itself, as istioctl
// proxy-status does while it runs. It is no proxy.
func (s syncStatus) debugger() bool {
	for url := range s.Resources {
		if !strings.HasPrefix(url, "istio.io/debug") {
			return false
		}
	}
	return len(s.Resources) > 0
}

// byType returns the state of each type by its short name.
func (s syncStatus) byType() map[string]resourceStatus {
	types := map[string]resourceStatus{}
	for url, r := range s.Resources {
		types[short(url)] = r
	}
	if len(types) > 0 {
		return types
	}
	return map[string]resourceStatus{
		"CDS":  {Sent: s.ClusterSent, Acked: s.ClusterAcked},
		"LDS":  {Sent: s.ListenerSent, Acked: s.ListenerAcked},
		"RDS":  {Sent: s.RouteSent, Acked: s.RouteAcked},
		"EDS":  {Sent: s.EndpointSent, Acked: s.EndpointAcked},
		"ECDS": {Sent: s.ECDSSent, Acked: s.ECDSAcked},
	}
}

// unwell returns the types that were sent and not acknowledged, and those that
// the proxy refused with its reason. A refused type is not listed as stale too.
func (s syncStatus) unwell() ([]string, []string) {
	var stale, rejected []string
	for name, r := range s.byType() {
		switch {
		case r.LastError != "":
			rejected = append(rejected, name+": "+r.LastError)
		case r.Sent != r.Acked:
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	slices.Sort(rejected)
	return stale, rejected
}

func (s syncStatus) lastSent() time.Time {
	var last time.Time
	for _, r := range s.Resources {
		if r.SentTime.After(last) {
			last = r.SentTime
		}
	}
	return last
}

// short is what Istio's users call a type. One that is not known keeps its URL.
func short(url string) string {
	switch strings.TrimPrefix(url, "type.googleapis.com/") {
	case "envoy.config.cluster.v3.Cluster":
		return "CDS"
	case "envoy.config.listener.v3.Listener":
		return "LDS"
	case "envoy.config.route.v3.RouteConfiguration":
		return "RDS"
	case "envoy.config.endpoint.v3.ClusterLoadAssignment":
		return "EDS"
	case "envoy.config.core.v3.TypedExtensionConfig":
		return "ECDS"
	case "envoy.extensions.transport_sockets.tls.v3.Secret":
		return "SDS"
	case "istio.networking.nds.v1.NameTable":
		return "NDS"
	case "istio.mesh.v1alpha1.ProxyConfig":
		return "PCDS"
	}
	return url
}

// newest keeps one connection for each proxy and revision, the one last sent to, and sorts.
func newest(list []connection) []gate.Proxy {
	slices.SortStableFunc(list, func(a, b connection) int {
		return cmp.Or(
			cmp.Compare(a.proxy.Namespace, b.proxy.Namespace),
			cmp.Compare(a.proxy.Name, b.proxy.Name),
			cmp.Compare(a.proxy.Revision, b.proxy.Revision),
			b.sent.Compare(a.sent),
		)
	})
	list = slices.CompactFunc(list, func(a, b connection) bool {
		return a.proxy.Namespace == b.proxy.Namespace && a.proxy.Name == b.proxy.Name && a.proxy.Revision == b.proxy.Revision
	})
	proxies := make([]gate.Proxy, 0, len(list))
	for _, c := range list {
		proxies = append(proxies, c.proxy)
	}
	return proxies
}
