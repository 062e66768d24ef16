package envoy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Table is part of a proxy's configuration: rows for people, and the same
// elements as the proxy wrote them for programs.
type Table struct {
	Heads    []string
	Rows     [][]string
	Elements []map[string]any // one for each that passed the filter, under their canonical names
}

// key is a cluster's name in its parts: direction|port|subset|host.
type key struct {
	direction, subset, host string
	port                    int
	parts                   bool // it has four
}

// parseKey takes apart the name of a cluster, in either of Istio's ways to write it.
func parseKey(name string) key {
	sep := "|"
	if strings.HasPrefix(name, "outbound_") || strings.HasPrefix(name, "inbound_") {
		sep = "_."
	}
	parts := strings.SplitN(name, sep, 4)
	if strings.Count(name, "|") < 3 || len(parts) < 4 {
		return key{host: name}
	}
	port, _ := strconv.Atoi(parts[1]) // a name without a number has port 0 in istioctl, too
	return key{parts[0], parts[2], parts[3], port, true}
}

// byKey orders cluster names as istioctl does.
func byKey(a, b string) int {
	x, y := parseKey(a), parseKey(b)
	return cmp.Or(strings.Compare(x.host, y.host), strings.Compare(x.subset, y.subset), cmp.Compare(x.port, y.port), strings.Compare(x.direction, y.direction))
}

// managed is the Istio object that an element comes from, from its metadata.
func managed(m *core.Metadata) string {
	path := m.GetFilterMetadata()["istio"].GetFields()["config"]
	if path == nil {
		return ""
	}
	if !strings.HasPrefix(path.GetStringValue(), "/apis/networking.istio.io/") {
		return "<unknown>"
	}
	pieces := strings.Split(path.GetStringValue(), "/")
	if len(pieces) != 8 {
		return ""
	}
	return pieces[7] + "." + pieces[5]
}

// sortBy orders pairs that belong together.
func sortBy[T any](list []T, compare func(a, b T) int) []T {
	slices.SortStableFunc(list, compare)
	return list
}
