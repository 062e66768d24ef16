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
	"github.com/serin-mesh/serin/internal/shadow"
	"github.com/serin-mesh/serin/internal/xds"
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
	ProxyType     string                    `json:"proxy_type"`
	ClusterID     string                    `json:"cluster_id"`
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

// parseSyncz reads /debug/syncz of one istiod for the gates.
func parseSyncz(body io.Reader, revision, istiod string) ([]connection, error) {
	var list []connection
	err := readSyncz(body, func(namespace, name string, s syncStatus) {
		p := gate.Proxy{Namespace: namespace, Name: name, Revision: revision, Istiod: istiod, Version: s.version()}
		p.Stale, p.Rejected = s.unwell()
		list = append(list, connection{proxy: p, sent: s.lastSent()})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// parseConnections reads /debug/syncz of one istiod for people.
func parseConnections(body io.Reader) ([]xds.Connection, error) {
	list := []xds.Connection{}
	err := readSyncz(body, func(namespace, name string, s syncStatus) {
		list = append(list, xds.Connection{
			Namespace: namespace, Name: name, Cluster: s.ClusterID, Kind: s.ProxyType, Version: s.version(), Types: s.types(),
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// readSyncz reads /debug/syncz of one istiod, an element at a time: at ten
// thousand proxies the whole is too much to hold twice. A body that is cut short
// is an error and not a short list.
func readSyncz(body io.Reader, each func(namespace, name string, s syncStatus)) error {
	dec := json.NewDecoder(body)
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return cmp.Or(err, fmt.Errorf("want a list of proxies, got %v", t))
	}
	read := 0
	for dec.More() {
		var s syncStatus
		if err := dec.Decode(&s); err != nil {
			return fmt.Errorf("reading proxy %d: %w", read+1, err)
		}
		if s.debugger() || s.shadow() {
			continue
		}
		name, namespace, ok := cutLast(s.Proxy)
		if !ok {
			return fmt.Errorf("want a proxy named pod.namespace, got %q", s.Proxy)
		}
		read++
		each(namespace, name, s)
	}
	if _, err := dec.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading after proxy %d: %w", read, err)
	}
	return nil
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

// shadow says whether the connection is a question of serin's own, in the name of
// a proxy that is elsewhere (S-10).
func (s syncStatus) shadow() bool {
	_, is := s.Resources[shadow.Mark]
	return is
}

func (s syncStatus) version() string { return cmp.Or(s.IstioVersion, s.ProxyVersion) }

// byURL returns the state of each type by its URL.
func (s syncStatus) byURL() map[string]resourceStatus {
	if len(s.Resources) > 0 {
		return s.Resources
	}
	const prefix = "type.googleapis.com/envoy.config."
	return map[string]resourceStatus{
		prefix + "cluster.v3.Cluster":                {Sent: s.ClusterSent, Acked: s.ClusterAcked},
		prefix + "listener.v3.Listener":              {Sent: s.ListenerSent, Acked: s.ListenerAcked},
		prefix + "route.v3.RouteConfiguration":       {Sent: s.RouteSent, Acked: s.RouteAcked},
		prefix + "endpoint.v3.ClusterLoadAssignment": {Sent: s.EndpointSent, Acked: s.EndpointAcked},
		prefix + "core.v3.TypedExtensionConfig":      {Sent: s.ECDSSent, Acked: s.ECDSAcked},
	}
}

// types are the types that the proxy asked for, as istioctl tells their state.
func (s syncStatus) types() []xds.Type {
	list := make([]xds.Type, 0, len(s.Resources))
	for url, r := range s.byURL() {
		t := xds.Type{URL: url, Name: xds.Short(url), State: xds.Stale, Sent: r.SentTime, Error: r.LastError}
		switch {
		case r.LastError != "":
			t.State = xds.Failed
		case r.Sent == "":
			t.State = xds.NotSent
		case r.Sent == r.Acked:
			t.State = xds.Synced
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b xds.Type) int { return strings.Compare(a.URL, b.URL) })
	return list
}

// unwell returns the types that were sent and not acknowledged, and those that
// the proxy refused with its reason. A refused type is not listed as stale too.
func (s syncStatus) unwell() ([]string, []string) {
	var stale, rejected []string
	for url, r := range s.byURL() {
		name := xds.Short(url)
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
