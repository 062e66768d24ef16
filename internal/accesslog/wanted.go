package accesslog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
)

// The codes of why no Telemetry can be added. A code keeps its meaning for ever.
const (
	CodeSelected = "SRN1420" // one is there that selects the pods
	CodeScope    = "SRN1421" // no selector takes these pods and no others
	CodeDiverts  = "SRN1422" // it would take access logs away from where they go
	CodeUnshown  = "SRN1423" // access logs are not written to where logs show them
)

// Ask is for which pods access logs are wanted.
type Ask struct {
	Gateway  mesh.Gateway
	Services []mesh.Service // those behind which all of the pods are
	Pods     []mesh.Pod     // old and new
}

// Marks is who adds a Telemetry, by which command, and until when it is his unless he
// says so again.
type Marks struct {
	By, Command string
	Until       time.Time
}

// For says whether a Telemetry is for pods that are asked about, or has the name that
// one for them would have.
func (a Ask) For(t Telemetry) bool {
	named := func(s mesh.Service) bool { return s.Namespace == t.Namespace && nameOf(s) == t.Name }
	return slices.ContainsFunc(a.Pods, t.Selects) || slices.ContainsFunc(a.Services, named)
}

// nameOf is what the Telemetry for a Service's pods is called: two commands cannot
// both make it.
func nameOf(s mesh.Service) string { return "serin-logs-" + s.Name }

// Refusal is why there is no Telemetry to add.
type Refusal struct {
	Code, Object, Reason, Remedy string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s %s: %s\n  remedy: %s", r.Code, r.Object, r.Reason, r.Remedy)
}

// Wanted is the Telemetry that has the pods write their access logs, or why there
// can be none. Of what is there nothing is changed: where access logs go besides,
// they go on going.
func (f Facts) Wanted(a Ask) (Telemetry, error) {
	svc, err := a.service()
	if err != nil {
		return Telemetry{}, err
	}
	if err := f.free(a, svc); err != nil {
		return Telemetry{}, err
	}
	also, err := f.also(a)
	if err != nil {
		return Telemetry{}, err
	}
	name, err := f.file(a)
	if err != nil {
		return Telemetry{}, err
	}
	out := Telemetry{
		Namespace: svc.Namespace, Name: nameOf(svc), Selector: maps.Clone(svc.Selector),
		Logging: []Logging{{Providers: []string{name}}}, Own: &mesh.Telemetry{},
	}
	for _, p := range slices.Sorted(maps.Keys(also)) {
		if p != name {
			out.Logging = append(out.Logging, Logging{Providers: []string{p}, Filter: also[p].filter})
		}
	}
	return out, nil
}

// service is the one whose selector takes all of the pods: what it selects is behind
// it, by definition, and nothing else.
func (a Ask) service() (mesh.Service, error) {
	object := "gateway " + a.Gateway.Ref.String()
	if a.Gateway.Shape == mesh.ShapeWaypoint {
		return mesh.Service{}, &Refusal{CodeScope, object, "it is a waypoint, which heeds no selector", "a Telemetry of your own with targetRefs: https://istio.io/latest/docs/reference/config/telemetry/"}
	}
	for _, s := range a.Services {
		if !slices.ContainsFunc(a.Pods, func(p mesh.Pod) bool { return p.Namespace != s.Namespace || !mesh.Selects(s.Selector, p.Labels) }) {
			return s, nil
		}
	}
	return mesh.Service{}, &Refusal{
		CodeScope, object, fmt.Sprintf("none of its %s selects all of its pods and those beside it: no one selector is theirs alone", mesh.Count(len(a.Services), "Service")),
		"a Telemetry of your own, for the labels that you mean",
	}
}

// free refuses where a Telemetry is for the pods already, or has the selector. Of two
// such Istio reads the older one, or both, by its release: nobody could tell.
func (f Facts) free(a Ask, svc mesh.Service) error {
	for _, t := range f.Telemetries {
		taken := slices.ContainsFunc(a.Pods, t.Selects)
		alike := t.Namespace == svc.Namespace && len(t.Selector) > 0 && maps.Equal(t.Selector, svc.Selector)
		named := t.Namespace == svc.Namespace && t.Name == nameOf(svc)
		switch {
		case !taken && !alike && !named:
		case t.Own != nil:
			return &Refusal{CodeSelected, t.String(), "it has these pods write access logs already, for as long as another command runs: " + t.Own.Typed(), "leave --telemetry out: these lines show meanwhile"}
		default:
			return &Refusal{CodeSelected, t.String(), "it selects these pods already, and serin neither changes it nor adds a second one", "ask for access logs in it (accessLogging: [{providers: [{name: envoy}]}]), and leave --telemetry out"}
		}
	}
	return nil
}

// also are the providers that access logs go to already, which a Telemetry for the
// workload would take over for: they must stay what they are.
func (f Facts) also(a Ask) (map[string]setting, error) {
	var also map[string]setting
	of := ""
	for i, p := range a.Pods {
		m, ok := f.mesh(p)
		if !ok {
			return nil, &Refusal{CodeDiverts, "revision " + p.Revision, "its mesh configuration is not there: where its access logs go cannot be told", "ask for access logs in a Telemetry of your own, and leave --telemetry out"}
		}
		set := m.settings(f.levels(m, p))
		if why := m.diverted(set); why != "" {
			return nil, &Refusal{CodeDiverts, "revision " + p.Revision, why, "a provider of that name in extensionProviders, and a Telemetry of your own that names both; leave --telemetry out then"}
		}
		set = m.elsewhere(set)
		if i > 0 && !maps.EqualFunc(also, set, func(x, y setting) bool { return x.filter == y.filter }) {
			return nil, &Refusal{CodeDiverts, "revision " + p.Revision, "its access logs go to " + listed(set) + ", those of revision " + of + " to " + listed(also) + ": one Telemetry cannot keep both", "name the same providers in both mesh configurations"}
		}
		also, of = set, p.Revision
	}
	return also, nil
}

// diverted says where access logs would go no more: what only the mesh's
// configuration can ask for counts only while no Telemetry does.
func (m Mesh) diverted(set map[string]setting) string {
	switch {
	case len(set) > 0:
	case m.Service:
		return "the mesh configuration sends access logs to a service (enableEnvoyAccessLogService), and a Telemetry would end that"
	case m.File != "" && !shown(m.File):
		return "the mesh configuration has access logs written to " + m.File + ", and a Telemetry would end that"
	}
	return ""
}

// elsewhere are the providers that are on and are no file that logs show.
func (m Mesh) elsewhere(set map[string]setting) map[string]setting {
	out := map[string]setting{}
	for name, s := range set {
		if !s.disabled && !shown(m.provider(name).Path) {
			out[name] = s
		}
	}
	return out
}

func listed(set map[string]setting) string {
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// file is a provider whose file logs show, in the meshes of all pods: Istio's own,
// where nobody has made something else of that name.
func (f Facts) file(a Ask) (string, error) {
	var names []string
	for i, p := range a.Pods {
		m, _ := f.mesh(p)
		var here []string
		for n := range m.all() {
			if shown(m.provider(n).Path) && (i == 0 || slices.Contains(names, n)) {
				here = append(here, n)
			}
		}
		names = here
	}
	switch {
	case slices.Contains(names, "envoy"):
		return "envoy", nil
	case len(names) > 0:
		return slices.Min(names), nil
	}
	return "", &Refusal{CodeDiverts, "mesh", "no provider of the mesh configuration writes access logs to where logs show them: envoy has a file of its own there", "a provider with envoyFileAccessLog: {path: /dev/stdout} in extensionProviders"}
}

func (m Mesh) all() map[string]Provider {
	out := builtin()
	maps.Copy(out, m.Providers)
	return out
}
