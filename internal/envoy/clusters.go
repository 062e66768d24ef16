package envoy

import (
	"fmt"
	"strconv"
	"strings"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// XDS is the cluster that leads to istiod: a unix pipe to the agent beside the
// proxy, which says nothing of where that one is connected.
const XDS = "xds-grpc"

// ClusterFilter says which clusters are wanted; an empty field asks for all.
type ClusterFilter struct {
	FQDN, Direction, Subset string // parts of the name
	Port                    int
}

func (f ClusterFilter) wants(name string) bool {
	return strings.Contains(name, f.FQDN) && strings.Contains(name, f.Direction) && strings.Contains(name, f.Subset) &&
		(f.Port == 0 || strings.Contains(name, fmt.Sprintf("|%d|", f.Port)))
}

// Clusters are the clusters, as istioctl proxy-config clusters shows them.
func (d Dump) Clusters(f ClusterFilter) (Table, error) {
	t := Table{Heads: []string{"SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"}}
	s, err := d.section("ClustersConfigDump")
	if err != nil {
		return t, err
	}
	type item struct {
		c   *cluster.Cluster
		doc map[string]any
	}
	var items []item
	for _, o := range append(objects(field(s, "dynamic_active_clusters")), objects(field(s, "static_clusters"))...) {
		o = inside(o, "cluster")
		c := &cluster.Cluster{}
		if err := into(o, c); err != nil {
			return t, fmt.Errorf("reading a cluster: %w", err)
		}
		if f.wants(c.GetName()) {
			items = append(items, item{c, document(o, c)})
		}
	}
	for _, i := range sortBy(items, func(a, b item) int { return byKey(a.c.GetName(), b.c.GetName()) }) {
		k := parseKey(i.c.GetName())
		row := []string{k.host, "-", "-", "-", i.c.GetType().String(), managed(i.c.GetMetadata())}
		if k.parts {
			row[1], row[2], row[3] = strconv.Itoa(k.port), orDash(k.subset), k.direction
		}
		t.Rows, t.Elements = append(t.Rows, row), append(t.Elements, i.doc)
	}
	return t, nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// EndpointFilter says which endpoints are wanted; an empty field asks for all.
type EndpointFilter struct {
	Address, Cluster, Status string
	Port                     uint32
}

func (f EndpointFilter) wants(h *admin.HostStatus, name string) bool {
	return (f.Address == "" || strings.EqualFold(hostAddress(h.GetAddress()), f.Address)) &&
		(f.Port == 0 || h.GetAddress().GetSocketAddress().GetPortValue() == f.Port) &&
		(f.Cluster == "" || strings.EqualFold(name, f.Cluster)) &&
		(f.Status == "" || strings.EqualFold(h.GetHealthStatus().GetEdsHealthStatus().String(), f.Status))
}

// Endpoints reads an answer of /clusters?format=json as istioctl proxy-config
// endpoints shows it.
func Endpoints(text []byte, f EndpointFilter) (Table, error) {
	t := Table{Heads: []string{"ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"}}
	var doc map[string]any
	if err := decode(text, &doc); err != nil {
		return t, fmt.Errorf("reading the proxy's clusters: %w", err)
	}
	type item struct {
		address string
		port    uint32
		row     []string
	}
	var items []item
	for _, o := range objects(field(doc, "cluster_statuses")) {
		c := &admin.ClusterStatus{}
		if err := into(o, c); err != nil {
			return t, fmt.Errorf("reading the endpoints of a cluster: %w", err)
		}
		wanted := len(items)
		for _, h := range c.GetHostStatuses() {
			if !f.wants(h, c.GetName()) {
				continue
			}
			i := item{address: hostAddress(h.GetAddress()), port: h.GetAddress().GetSocketAddress().GetPortValue()}
			at, outlier := i.address, "OK"
			if i.port != 0 {
				at = fmt.Sprintf("%s:%d", i.address, i.port)
			}
			if h.GetHealthStatus().GetFailedOutlierCheck() {
				outlier = "FAILED"
			}
			i.row = []string{at, h.GetHealthStatus().GetEdsHealthStatus().String(), outlier, c.GetName()}
			items = append(items, i)
		}
		if len(items) > wanted {
			t.Elements = append(t.Elements, document(o, c))
		}
	}
	for _, i := range sortBy(items, func(a, b item) int {
		if c := strings.Compare(a.address, b.address); c != 0 {
			return c
		}
		if a.port != b.port {
			return int(a.port) - int(b.port)
		}
		return strings.Compare(a.row[3], b.row[3])
	}) {
		t.Rows = append(t.Rows, i.row)
	}
	return t, nil
}

// hostAddress is where an endpoint is, without its port.
func hostAddress(a *core.Address) string {
	switch {
	case a.GetSocketAddress() != nil:
		return a.GetSocketAddress().GetAddress()
	case a.GetPipe() != nil:
		return "unix://" + a.GetPipe().GetPath()
	case a.GetEnvoyInternalAddress() != nil:
		i := a.GetEnvoyInternalAddress()
		return "envoy://" + i.GetServerListenerName() + "/" + i.GetEndpointId()
	}
	return "unknown"
}
