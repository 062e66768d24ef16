package mesh

import (
	"maps"
	"slices"
	"time"
)

// Edge is what is known of where traffic enters and leaves the mesh.
type Edge struct {
	Services []Service       `json:"services,omitempty"` // that select a gateway's pods, or that a Gateway is bound to
	Gateways []GatewayObject `json:"gateways,omitempty"` // Istio's, and those of the Gateway API that are of Istio's classes
	Scalers  []Scaler        `json:"scalers,omitempty"`  // that size a gateway
	FromMesh []string        `json:"fromMesh,omitempty"` // namespace/name of Services that VirtualServices lead traffic of the mesh itself to
}

// Service is what clients dial: its identity and addresses must outlive any move.
type Service struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	UID       string            `json:"uid,omitempty"`
	Type      string            `json:"type"`
	ClusterIP string            `json:"clusterIP,omitempty"`
	Addresses []string          `json:"addresses,omitempty"` // external ones, as its status and spec have them
	Ports     []ServicePort     `json:"ports,omitempty"`
	Selector  map[string]string `json:"selector,omitempty"`
	Owner     Owner             `json:"owner"`
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name     string `json:"name,omitempty"`
	Port     int    `json:"port"`
	NodePort int    `json:"nodePort,omitempty"`
	Target   string `json:"target,omitempty"` // a number or a name
}

// Scaler is a HorizontalPodAutoscaler.
type Scaler struct {
	Name   string `json:"name"`
	Target Ref    `json:"target"`
	Min    int    `json:"min"`
	Max    int    `json:"max"`
}

// GatewayAPIGroup is the API group of Kubernetes' own Gateways.
const GatewayAPIGroup = "gateway.networking.k8s.io"

// The controllers of Istio's GatewayClasses.
const (
	ControllerGateway   = "istio.io/gateway-controller"
	ControllerWaypoint  = "istio.io/mesh-controller"
	ControllerUnmanaged = "istio.io/unmanaged-gateway"
)

// GatewayObject is a Gateway: Istio's own, which selects pods by labels, or the
// Gateway API's, which a revision programs.
type GatewayObject struct {
	Namespace  string            `json:"namespace"`
	Name       string            `json:"name"`
	Class      string            `json:"class,omitempty"`      // Gateway API: its class
	Controller string            `json:"controller,omitempty"` // Gateway API: of its class
	Managed    bool              `json:"managed,omitempty"`    // Gateway API: istiod makes its Deployment
	Bound      []string          `json:"bound,omitempty"`      // Gateway API, not managed: host names it is bound to
	Revision   string            `json:"revision,omitempty"`   // its label istio.io/rev
	Frozen     string            `json:"frozen,omitempty"`     // controller-version, where no release takes it for its own (S-20)
	Since      string            `json:"since,omitempty"`      // when serin has frozen it, RFC 3339; empty where it has not
	Overdue    bool              `json:"overdue,omitempty"`    // when it was looked at, it had been frozen for longer than FreezeDeadline
	Stamp      string            `json:"stamp,omitempty"`      // controller-version, where it is istiod's
	Parameters string            `json:"parameters,omitempty"` // Gateway API: what its infrastructure.parametersRef names
	Owner      Owner             `json:"owner,omitzero"`       // Gateway API: a tool that would write its labels back
	Selector   map[string]string `json:"selector,omitempty"`   // Istio's: of pods, in any namespace
	Listeners  []Listener        `json:"listeners,omitempty"`
}

// Listener is one port that a Gateway opens.
type Listener struct {
	Name     string   `json:"name,omitempty"`
	Port     int      `json:"port"`
	Protocol string   `json:"protocol"`
	Hosts    []string `json:"hosts,omitempty"`
	TLS      string   `json:"tls,omitempty"` // mode
}

// FreezeDeadline is how long a Gateway may be frozen: as long as a large upgrade
// takes. Its new listeners wait all the while, and nobody notices by themselves (S-27).
const FreezeDeadline = 4 * time.Hour

// OverdueAt says whether serin has frozen it for too long by then.
func (g GatewayObject) OverdueAt(now time.Time) bool {
	since, err := time.Parse(time.RFC3339, g.Since)
	return err == nil && !now.IsZero() && now.Sub(since) > FreezeDeadline
}

// OfGatewayAPI says whether it is Kubernetes' own kind of Gateway.
func (g GatewayObject) OfGatewayAPI() bool { return g.Class != "" }

// String is what findings call it.
func (g GatewayObject) String() string {
	kind := "gateway"
	if g.OfGatewayAPI() {
		kind += "." + GatewayAPIGroup
	}
	return kind + " " + g.Namespace + "/" + g.Name
}

// Service returns a Service of the edge by namespace/name.
func (e Edge) Service(id string) (Service, bool) {
	for _, s := range e.Services {
		if s.Namespace+"/"+s.Name == id {
			return s, true
		}
	}
	return Service{}, false
}

// Scaler returns what sizes a workload.
func (e Edge) Scaler(of Ref) (Scaler, bool) {
	for _, s := range e.Scalers {
		if s.Target == of {
			return s, true
		}
	}
	return Scaler{}, false
}

func (e Edge) clone() Edge {
	e.Services = each(e.Services, func(s Service) Service {
		s.Addresses, s.Ports, s.Selector = slices.Clone(s.Addresses), slices.Clone(s.Ports), maps.Clone(s.Selector)
		return s
	})
	e.Gateways = each(e.Gateways, func(g GatewayObject) GatewayObject {
		g.Bound, g.Selector = slices.Clone(g.Bound), maps.Clone(g.Selector)
		g.Listeners = each(g.Listeners, func(l Listener) Listener { l.Hosts = slices.Clone(l.Hosts); return l })
		return g
	})
	e.Scalers, e.FromMesh = slices.Clone(e.Scalers), slices.Clone(e.FromMesh)
	return e
}

// Programmers are the revisions whose istiods program a Gateway of the Gateway
// API, by the rule that istiod itself has (R§4): its label, else its namespace's,
// else the default. One is right: with none it is frozen, with two they fight.
func (s Snapshot) Programmers(g GatewayObject) []string {
	label := s.gatewayLabel(g.Revision, g.Namespace)
	var out []string
	for _, c := range s.ControlPlanes {
		if c.Ready > 0 && s.claims(c.Revision, label) {
			out = append(out, c.Revision)
		}
	}
	slices.Sort(out)
	return out
}

// claims says whether a revision takes a label's value for its own. A tag whose
// injector and Service disagree is taken by both (R§2.1); an istiod without a
// revision takes "default" to its end.
func (s Snapshot) claims(revision, label string) bool {
	if label == revision || slices.Contains(s.claimants(label), revision) {
		return true
	}
	tagged := slices.ContainsFunc(s.Injectors, func(in Injector) bool { return in.Tag == DefaultTag })
	if slices.ContainsFunc(s.Injectors, func(in Injector) bool { return in.Tag == label && in.Revision == revision }) {
		return true
	}
	for _, t := range s.TagServices {
		if t.Tag == label && t.Revision == revision {
			return true
		}
	}
	v, ok := s.DefaultValidator()
	return label == DefaultTag && !tagged && ok && v.Revision == revision
}

// ScalersOf is how many HorizontalPodAutoscalers size a workload.
func (e Edge) ScalersOf(of Ref) int {
	n := 0
	for _, s := range e.Scalers {
		if s.Target == of {
			n++
		}
	}
	return n
}

// Leads says whether a Gateway of the Gateway API is bound to a Service of the workload's.
func (e Edge) Leads(g GatewayObject, w Workload) bool {
	for _, id := range w.Services {
		if svc, ok := e.Service(id); ok && g.boundTo(svc) {
			return true
		}
	}
	return false
}
