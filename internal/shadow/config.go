package shadow

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Kind is a type of resource.
type Kind string

// The kinds, in the order in which they are shown.
const (
	Pods       Kind = "Pod"
	Clusters   Kind = "CDS"
	Endpoints  Kind = "EDS"
	Listeners  Kind = "LDS"
	Routes     Kind = "RDS"
	Extensions Kind = "ECDS"
	Names      Kind = "NDS"
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{Pods, Clusters, Endpoints, Listeners, Routes, Extensions, Names}
}

// Config are the resources of one proxy, by kind and name, as protobuf's JSON has them.
type Config map[Kind]map[string]any

// Subject is a workload and what it is given on either side.
type Subject struct {
	Workload string
	Old, New Config
	Failed   string                     // why it could not be asked; then there is nothing to compare
	Later    bool                       // it was not asked because the step that moves it does that
	Rejects  map[Kind]map[string]string // what of New Envoy would not accept, by name, and why
	Refused  string                     // why the new side would not come to be at all: a pod that a policy rejects
}

// Sides says what is compared with what.
type Sides struct {
	Old Side `json:"old"`
	New Side `json:"new"`
}

// Side is one revision and its version.
type Side struct {
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

// String is "default 1.27.0".
func (s Side) String() string { return s.Revision + " " + s.Version }

// normal takes out what differs without meaning: hosts of the control planes,
// which come and go with a revision, and the health and order of endpoints, which
// change from one moment to the next.
func (c Config) normal(hosts []string) Config {
	out := Config{}
	for kind, resources := range c {
		kept := map[string]any{}
		for name, body := range resources {
			if kind != Pods && about(name, hosts) {
				continue
			}
			if kind == Routes { // it is the same table: of its name that it changes is seen inside
				name = sameName(name)
			}
			kept[name] = normalBody(kind, body, hosts)
		}
		out[kind] = kept
	}
	return out
}

// about says whether a name is that of one of the hosts or of its cluster,
// "outbound|15010||istiod.istio-system.svc.cluster.local".
func about(name string, hosts []string) bool {
	name = name[strings.LastIndexByte(name, '|')+1:]
	for _, h := range hosts {
		if rest, ok := strings.CutPrefix(name, h); ok && (rest == "" || rest[0] == '.' || rest[0] == ':') {
			return true
		}
	}
	return false
}

func normalBody(kind Kind, body any, hosts []string) any {
	m, ok := body.(map[string]any)
	if !ok {
		return body
	}
	switch kind {
	case Routes:
		m = maps.Clone(m)
		m["virtualHosts"] = without(m["virtualHosts"], func(v map[string]any) bool { return about(text(v["name"]), hosts) })
		return m
	case Endpoints:
		return addresses(m)
	case Names:
		table, _ := m["table"].(map[string]any)
		kept := maps.Clone(table)
		maps.DeleteFunc(kept, func(name string, _ any) bool { return about(name, hosts) })
		return map[string]any{"table": kept}
	case Pods:
		return podBody(m)
	case Clusters, Listeners, Extensions:
	}
	return body
}

// podBody is a pod with its proxy as the last of the containers, wherever it runs: as a
// native sidecar it is an init container that restarts, and all else of it is
// compared as before. What the injector notes of its own work is in the pod itself.
func podBody(m map[string]any) map[string]any {
	m = maps.Clone(m)
	if meta, ok := m["metadata"].(map[string]any); ok {
		meta, m["metadata"] = maps.Clone(meta), nil
		if notes, ok := meta["annotations"].(map[string]any); ok {
			notes = maps.Clone(notes)
			delete(notes, "sidecar.istio.io/status")
			meta["annotations"] = notes
		}
		m["metadata"] = meta
	}
	spec, ok := m["spec"].(map[string]any)
	if !ok {
		return m
	}
	spec = maps.Clone(spec)
	isProxy := func(c map[string]any) bool { return text(c["name"]) == "istio-proxy" }
	var proxies []any
	for _, field := range []string{"initContainers", "containers"} {
		if list, ok := spec[field].([]any); ok {
			spec[field] = without(list, func(c map[string]any) bool {
				if isProxy(c) {
					proxies = append(proxies, c)
				}
				return isProxy(c)
			})
		}
	}
	if list, ok := spec["initContainers"].([]any); ok && len(list) == 0 {
		delete(spec, "initContainers")
	}
	others, _ := spec["containers"].([]any)
	spec["containers"] = append(others, proxies...)
	m["spec"] = spec
	return m
}

func without(v any, drop func(map[string]any) bool) any {
	list, _ := v.([]any)
	var out []any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && drop(m) {
			continue
		}
		out = append(out, e)
	}
	return out
}

// addresses is a ClusterLoadAssignment as a map of endpoints by their address,
// each with its locality and without its health.
func addresses(m map[string]any) map[string]any {
	out := map[string]any{}
	groups, _ := m["endpoints"].([]any)
	for _, g := range groups {
		group, _ := g.(map[string]any)
		list, _ := group["lbEndpoints"].([]any)
		for _, e := range list {
			lb, _ := e.(map[string]any)
			lb = maps.Clone(lb)
			delete(lb, "healthStatus")
			for _, k := range []string{"locality", "priority"} {
				if v, ok := group[k]; ok {
					lb[k] = v
				}
			}
			out[address(lb)] = lb
		}
	}
	rest := maps.Clone(m)
	rest["endpoints"] = out
	return rest
}

// address is the address of an endpoint: the only thing that tells it from others.
func address(lb map[string]any) string {
	endpoint, _ := lb["endpoint"].(map[string]any)
	return compact(cmp.Or[any](endpoint["address"], any("?")))
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// compact is a value as JSON, with the keys of its objects sorted.
func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // what came from JSON goes back into it
		return err.Error()
	}
	return string(b)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
