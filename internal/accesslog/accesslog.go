package accesslog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Facts are what decides whether a proxy writes access logs.
type Facts struct {
	Meshes      map[string]Mesh // by revision
	Telemetries []Telemetry     // of the root namespaces and the gateway's, the oldest first
}

// Mesh is what the configuration of a revision's mesh says of access logs.
type Mesh struct {
	Root      string              // its root namespace
	File      string              // accessLogFile
	Service   bool                // enableEnvoyAccessLogService
	Defaults  []string            // defaultProviders.accessLogging
	Providers map[string]Provider // extensionProviders, by name in lower case, those that istiod has built in among them
}

// Provider is where access logs may go.
type Provider struct {
	Path string // of a file; empty where they are sent
	Logs bool   // it takes access logs at all
}

// Telemetry is one of any owner.
type Telemetry struct {
	Namespace, Name string
	Revision        string            // its label istio.io/rev: no other revision reads it (R§1.6)
	Selector        map[string]string // of pods; empty is of the namespace
	Targets         []string          // Gateways of the Gateway API that it is for
	Logging         []Logging
	Own             *mesh.Telemetry // where serin has added it
}

// Logging is one entry of accessLogging.
type Logging struct {
	Mode      string // CLIENT, SERVER; empty is both
	Providers []string
	Disabled  bool
	Filter    string // an expression
}

// String is what a person calls it.
func (t Telemetry) String() string { return "Telemetry " + t.Namespace + "/" + t.Name }

// State is whether access logs are written to where logs show them.
type State string

// The states.
const (
	Written   State = "written"
	Filtered  State = "filtered" // some of them
	Unwritten State = "unwritten"
	Unknown   State = "unknown"
)

// Verdict is what becomes of a proxy's access logs, and why.
type Verdict struct {
	State State
	Why   string
}

// builtin are the providers that every mesh has.
func builtin() map[string]Provider {
	return map[string]Provider{"envoy": {Path: stdout, Logs: true}, "prometheus": {}, "stackdriver": {}}
}

const stdout = "/dev/stdout"

// shown says whether what is written to the file is what logs show.
func shown(path string) bool {
	return slices.Contains([]string{stdout, "/dev/stderr", "/proc/self/fd/1", "/proc/self/fd/2", "/dev/fd/1", "/dev/fd/2"}, path)
}

// Of says whether the pod's proxy writes access logs.
func (f Facts) Of(p mesh.Pod) Verdict {
	m, ok := f.mesh(p)
	if !ok {
		return Verdict{Unknown, "the mesh configuration of revision " + p.Revision + " is not there"}
	}
	levels := f.levels(m, p)
	set := m.settings(levels)
	if len(set) == 0 {
		return m.fallback()
	}
	filter, elsewhere, off := "", []string(nil), ""
	for _, name := range slices.Sorted(maps.Keys(set)) {
		switch s := set[name]; {
		case s.disabled:
			off = s.by
		case !shown(m.provider(name).Path):
			elsewhere = append(elsewhere, name)
		case s.filter == "":
			return Verdict{Written, s.by}
		default:
			filter = s.by
		}
	}
	switch {
	case filter != "":
		return Verdict{Filtered, "only those that the filter of " + filter + " lets through are written"}
	case len(elsewhere) > 0:
		return Verdict{Unwritten, "they go to " + strings.Join(elsewhere, ", ") + " alone"}
	}
	return Verdict{Unwritten, off + " turns them off"}
}

// mesh is the configuration that the pod's istiod has; of a pod that says no
// revision, where there is only one.
func (f Facts) mesh(p mesh.Pod) (Mesh, bool) {
	if p.Revision == "" && len(f.Meshes) == 1 {
		for _, m := range f.Meshes {
			return m, true
		}
	}
	m, ok := f.Meshes[p.Revision]
	return m, ok
}

// fallback is what the mesh's configuration says where no Telemetry and no default
// provider says anything.
func (m Mesh) fallback() Verdict {
	switch {
	case m.File == "":
		return Verdict{Unwritten, "the mesh configuration has no accessLogFile, and no Telemetry asks for them"}
	case !shown(m.File):
		return Verdict{Unwritten, "the mesh configuration has them written to " + m.File + ", which no log shows"}
	}
	return Verdict{Written, "accessLogFile of the mesh configuration"}
}

func (m Mesh) provider(name string) Provider {
	if p, ok := m.Providers[strings.ToLower(name)]; ok {
		return p
	}
	return builtin()[strings.ToLower(name)]
}

// levels are the Telemetries that have a say of the pod's access logs, the weakest
// first: the root namespace's, the namespace's, and those for the workload. Of each
// namespace the oldest counts.
func (f Facts) levels(m Mesh, p mesh.Pod) []Telemetry {
	var out []Telemetry
	for _, ns := range slices.Compact([]string{m.Root, p.Namespace}) {
		i := slices.IndexFunc(f.Telemetries, func(t Telemetry) bool { return t.Namespace == ns && t.wide() && t.readBy(p.Revision) })
		if i >= 0 && ns != "" {
			out = append(out, f.Telemetries[i])
		}
	}
	for _, t := range f.Telemetries {
		if t.Selects(p) && t.readBy(p.Revision) {
			out = append(out, t)
		}
	}
	return slices.DeleteFunc(out, func(t Telemetry) bool { return len(t.Logging) == 0 })
}

func (t Telemetry) wide() bool { return len(t.Selector) == 0 && len(t.Targets) == 0 }

// readBy says whether the istiods of a revision read it.
func (t Telemetry) readBy(revision string) bool {
	return t.Revision == "" || t.Revision == cmp.Or(revision, mesh.DefaultRevision)
}

// Selects says whether it is for the pod: by its labels, or by the Gateway that the
// pod is deployed for.
func (t Telemetry) Selects(p mesh.Pod) bool {
	if t.Namespace != p.Namespace || t.wide() {
		return false
	}
	if gateway := p.Labels[mesh.GatewayNameLabel]; len(t.Targets) > 0 {
		return gateway != "" && slices.Contains(t.Targets, gateway)
	}
	return mesh.Selects(t.Selector, p.Labels)
}

// setting is what is said of one provider, and by which Telemetry.
type setting struct {
	disabled bool
	filter   string
	by       string
}

// settings are the providers that a gateway's access logs go to. It merges as istiod
// does (mergeLogs in pilot/pkg/model/telemetry.go, alike in 1.27 and 1.29): the last
// level that names providers decides which there are, whatever levels above said of
// others; what is not known to the mesh, or takes no access logs, is left out.
func (m Mesh) settings(levels []Telemetry) map[string]setting {
	out := map[string]setting{}
	names, filters := m.named(levels)
	for _, p := range names {
		if len(levels) == 0 {
			out[p] = setting{by: "the default providers of the mesh configuration"}
		}
	}
	parents := m.Defaults
	for _, t := range levels {
		for _, l := range t.Logging {
			if len(l.Providers) > 0 {
				parents = l.Providers
			}
			for _, p := range parents {
				switch {
				case !slices.Contains(names, p) || !l.ofGateways():
				case l.Disabled:
					out[p] = setting{disabled: true, by: t.String()}
				default:
					out[p] = setting{filter: filters[p], by: t.String()}
				}
			}
		}
	}
	maps.DeleteFunc(out, func(p string, _ setting) bool { return !m.provider(p).Logs })
	return out
}

// named are the providers that count, and their filters.
func (m Mesh) named(levels []Telemetry) ([]string, map[string]string) {
	names, filters := m.Defaults, map[string]string{}
	for _, t := range levels {
		var own []string
		for _, l := range t.Logging {
			if !l.ofGateways() {
				continue
			}
			own = append(own, l.Providers...)
			for _, p := range l.Providers {
				filters[p] = l.Filter
			}
		}
		if len(own) > 0 {
			names = own
		}
	}
	return names, filters
}

// ofGateways says whether the entry is for the clients' side, as gateways are.
func (l Logging) ofGateways() bool { return l.Mode != "SERVER" }
