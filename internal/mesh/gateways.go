package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// Shape is how a gateway came to be, which decides how it can move.
type Shape string

// The shapes. They are told by what is there, never by names.
const (
	ShapeHelm     Shape = "helm"     // injected, from a release of Istio's gateway chart
	ShapeInPlace  Shape = "in-place" // injected, from anything else
	ShapeRendered Shape = "rendered" // its template has the proxy's image, as istioctl's and IstioOperators' have
	ShapeManaged  Shape = "managed"  // istiod makes it, of a Gateway of the Gateway API
	ShapeWaypoint Shape = "waypoint" // as managed, for traffic within an ambient mesh
	ShapeUnknown  Shape = "unknown"  // a Gateway selects it, and nothing says that it is one
)

// Role is which way a gateway's traffic goes.
type Role string

// The roles.
const (
	RoleIngress  Role = "ingress"
	RoleEgress   Role = "egress"    // the mesh's own traffic is led through it
	RoleEastWest Role = "east-west" // it passes other clusters' traffic on by SNI
	RoleWaypoint Role = "waypoint"
)

// Labels and annotations of what istiod makes of a Gateway (R§9.3, R§16).
const (
	ManagedLabel       = "gateway.istio.io/managed"
	GatewayNameLabel   = "gateway.networking.k8s.io/gateway-name"
	VersionAnnotation  = "gateway.istio.io/controller-version"
	autoImage          = "auto"
	roleRouter         = "router"
	modeAutoPassthough = "AUTO_PASSTHROUGH"
)

// ProvenGate is the readiness gate that holds a gateway's new pods out of their
// Service until they are proven (S-29).
const ProvenGate = "serin.dev/proven"

// TemplateProxy is a proxy that a pod template brings along itself.
type TemplateProxy struct {
	Image string `json:"image"`          // "auto" is the injector's to fill in
	Role  string `json:"role,omitempty"` // the second word of its arguments: router, sidecar, waypoint
	Alone bool   `json:"alone,omitempty"`
	// Account is the service account of the pods, whose name policies and certificates trust (S-31).
	Account string `json:"account,omitempty"`
}

// Gateway is a gateway as it is deployed.
type Gateway struct {
	Ref       Ref             `json:"ref"` // its Deployment; of a managed one that has none, what istiod would call it
	Shape     Shape           `json:"shape"`
	Role      Role            `json:"role"`
	Owner     Owner           `json:"owner"`
	Replicas  int             `json:"replicas"`
	Ready     int             `json:"ready"`
	Revisions []string        `json:"revisions,omitempty"` // that its pods run
	Versions  []string        `json:"versions,omitempty"`
	Follows   string          `json:"follows,omitempty"` // what decides the revision of its next pod
	Next      string          `json:"next,omitempty"`    // that revision; empty where nobody or not one alone would
	Services  []Service       `json:"services,omitempty"`
	Serves    []GatewayObject `json:"serves,omitempty"`
	Beside    []Ref           `json:"beside,omitempty"`    // other Deployments behind the same Service
	Held      int             `json:"held,omitempty"`      // pods that a readiness gate keeps out
	Questions []string        `json:"questions,omitempty"` // what cannot be told
}

// Gateways are all gateways of the mesh, by namespace and name.
func (s Snapshot) Gateways() []Gateway {
	var out []Gateway
	for _, w := range s.Workloads {
		if shape := s.shapeOf(w); shape != "" {
			out = append(out, s.gateway(w, shape))
		}
	}
	for _, o := range s.Edge.Gateways {
		if o.Managed && !slices.ContainsFunc(out, func(g Gateway) bool { return slices.ContainsFunc(g.Serves, o.same) }) {
			out = append(out, s.undeployed(o))
		}
	}
	for i := range out {
		out[i].Beside = beside(out, out[i])
	}
	slices.SortStableFunc(out, func(a, b Gateway) int {
		return cmp.Or(cmp.Compare(a.Ref.Namespace, b.Ref.Namespace), cmp.Compare(a.Ref.Name, b.Ref.Name))
	})
	return out
}

// Gateway returns the gateway of that Deployment.
func (s Snapshot) Gateway(ref Ref) (Gateway, bool) {
	all := s.Gateways()
	if i := slices.IndexFunc(all, func(g Gateway) bool { return g.Ref == ref }); i >= 0 {
		return all[i], true
	}
	return Gateway{}, false
}

func (g GatewayObject) same(o GatewayObject) bool {
	return g.Namespace == o.Namespace && g.Name == o.Name && g.OfGatewayAPI() == o.OfGatewayAPI()
}

// shapeOf is empty for what is no gateway.
func (s Snapshot) shapeOf(w Workload) Shape {
	switch {
	case w.Managed() && strings.Contains(w.TemplateLabels[ManagedLabel], "mesh"):
		return ShapeWaypoint
	case w.Managed():
		return ShapeManaged
	case w.HasOwnProxy():
		return ShapeRendered
	case w.injectedGateway() && s.ofGatewayChart(w.Owner):
		return ShapeHelm
	case w.injectedGateway():
		return ShapeInPlace
	case slices.ContainsFunc(s.Edge.Gateways, func(o GatewayObject) bool { return !o.OfGatewayAPI() && o.selects(w) }):
		return ShapeUnknown
	}
	return ""
}

// HasOwnProxy says whether the template is a gateway's that brings its image along.
func (w Workload) HasOwnProxy() bool {
	return !w.Managed() && w.Proxy != nil && w.Proxy.Role == roleRouter && w.Proxy.Image != autoImage
}

// injectedGateway says whether the template is all gateway, its proxy left to the injector.
func (w Workload) injectedGateway() bool {
	return w.Gateway() || w.Proxy != nil && w.Proxy.Alone && w.Proxy.Image == autoImage
}

// Rendered says whether the template brings its proxy along whole: no injector has a say.
func (w Workload) Rendered() bool { return w.Managed() || w.Proxy != nil && w.Proxy.Role != "" }

func (s Snapshot) ofGatewayChart(o Owner) bool {
	r, ok := s.Release(o)
	return ok && r.Chart == "gateway"
}

// Managed says whether istiod makes the workload, of a Gateway of the Gateway API.
func (w Workload) Managed() bool { return w.TemplateLabels[ManagedLabel] != "" }

// Selects says whether a selector takes what has these labels. An empty one takes
// nothing: a Service without one has no pods, and an Istio Gateway's, which takes every
// proxy, says nothing about what is a gateway.
func Selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// selects says whether an Istio Gateway's selector takes the workload's pods.
func (g GatewayObject) selects(w Workload) bool { return Selects(g.Selector, w.TemplateLabels) }

// Together are its Deployment and those beside it.
func (g Gateway) Together() []Ref { return append([]Ref{g.Ref}, g.Beside...) }

func (s Snapshot) gateway(w Workload, shape Shape) Gateway {
	g := Gateway{Ref: w.Ref, Shape: shape, Owner: w.Owner, Replicas: w.Replicas, Ready: w.Ready}
	for _, p := range s.PodsOf(w.Ref) {
		if p.Leaving {
			continue
		}
		g.Revisions, g.Versions = append(g.Revisions, cmp.Or(p.Revision, "none")), append(g.Versions, cmp.Or(p.Version, "unknown"))
		if p.Held {
			g.Held++
		}
	}
	g.Revisions, g.Versions = unique(g.Revisions), unique(g.Versions)
	for _, id := range w.Services {
		if svc, ok := s.Edge.Service(id); ok {
			g.Services = append(g.Services, svc)
		}
	}
	g.Serves = s.servedBy(w, g.Services)
	g.Role = s.roleOf(g)
	s.follow(&g, w)
	g.Questions = append(g.Questions, s.questions(g, w)...)
	return g
}

// servedBy are the Gateways that the workload's pods serve: Istio's by their
// labels, those of the Gateway API by its name or the Service's.
func (s Snapshot) servedBy(w Workload, services []Service) []GatewayObject {
	var out []GatewayObject
	for _, o := range s.Edge.Gateways {
		switch {
		case !o.OfGatewayAPI() && o.selects(w),
			o.Managed && o.Namespace == w.Namespace && w.TemplateLabels[GatewayNameLabel] == o.Name,
			!o.Managed && slices.ContainsFunc(services, o.boundTo):
			out = append(out, o)
		}
	}
	return out
}

// boundTo says whether a Gateway names the Service: "name", "name.ns" or in full.
func (g GatewayObject) boundTo(svc Service) bool {
	return slices.ContainsFunc(g.Bound, func(host string) bool {
		name, rest, _ := strings.Cut(host, ".")
		ns, _, _ := strings.Cut(rest, ".")
		return name == svc.Name && cmp.Or(ns, g.Namespace) == svc.Namespace
	})
}

func (s Snapshot) roleOf(g Gateway) Role {
	passes := func(o GatewayObject) bool {
		return slices.ContainsFunc(o.Listeners, func(l Listener) bool { return l.TLS == modeAutoPassthough })
	}
	led := func(svc Service) bool { return slices.Contains(s.Edge.FromMesh, svc.Namespace+"/"+svc.Name) }
	switch {
	case g.Shape == ShapeWaypoint:
		return RoleWaypoint
	case slices.ContainsFunc(g.Serves, passes):
		return RoleEastWest
	case slices.ContainsFunc(g.Services, led):
		return RoleEgress
	}
	return RoleIngress
}

// follow says what decides the revision of the gateway's next pod.
func (s Snapshot) follow(g *Gateway, w Workload) {
	switch g.Shape {
	case ShapeManaged, ShapeWaypoint:
		for _, o := range g.Serves {
			s.programmed(g, o)
		}
	case ShapeRendered:
		g.Follows = "its template's image"
		if len(g.Revisions) == 1 {
			g.Next = g.Revisions[0]
		}
	case ShapeHelm, ShapeInPlace, ShapeUnknown:
		i := s.InjectionOf(w)
		g.Next, g.Follows = i.Revision, s.decides(w, i)
	}
}

// decides names the label or tag that an injection goes by (R§1.2).
func (s Snapshot) decides(w Workload, i Injection) string {
	ns, _ := s.Namespace(w.Namespace)
	label := ""
	switch {
	case ns.Labels[InjectionLabel] != "":
		label = "namespace label " + InjectionLabel + "=" + ns.Labels[InjectionLabel]
	case ns.Labels[RevLabel] != "":
		label = "namespace label " + RevLabel + "=" + ns.Labels[RevLabel]
	case w.TemplateLabels[RevLabel] != "":
		label = "pod label " + RevLabel + "=" + w.TemplateLabels[RevLabel]
	case w.TemplateLabels[InjectLabel] != "":
		label = "pod label " + InjectLabel + "=" + w.TemplateLabels[InjectLabel]
	default:
		label = "no label"
	}
	if i.Tag != "" {
		label += ", tag " + i.Tag
	}
	return label
}

func (s Snapshot) programmed(g *Gateway, o GatewayObject) {
	g.Follows = "the default"
	ns, _ := s.Namespace(o.Namespace)
	switch {
	case o.Revision != "":
		g.Follows = "label " + RevLabel + "=" + o.Revision
	case ns.Labels[RevLabel] != "":
		g.Follows = "namespace label " + RevLabel + "=" + ns.Labels[RevLabel]
	}
	if by := s.Programmers(o); len(by) == 1 {
		g.Next = by[0]
	}
}

// undeployed is a managed Gateway for which there is no Deployment.
func (s Snapshot) undeployed(o GatewayObject) Gateway {
	g := Gateway{
		Ref: Ref{Kind: KindDeployment, Namespace: o.Namespace, Name: o.Name + "-" + o.Class}, Shape: ShapeManaged, Role: RoleIngress,
		Owner: Owner{Kind: OwnerNone}, Serves: []GatewayObject{o},
	}
	if o.Controller == ControllerWaypoint {
		g.Shape, g.Role = ShapeWaypoint, RoleWaypoint
	}
	s.programmed(&g, o)
	g.Questions = append(g.Questions, "nothing is deployed for it: does an istiod program it at all?")
	return g
}

// questions are what cannot be told of a gateway: they are for its owner, serin does not guess.
func (s Snapshot) questions(g Gateway, w Workload) []string {
	var out []string
	if g.Shape == ShapeUnknown {
		out = append(out, "a Gateway selects its pods, which are an application's with a sidecar: is it a gateway, to move as one, or is the selector too wide?")
	}
	if g.Shape == ShapeHelm || g.Shape == ShapeInPlace {
		out = append(out, s.injectionQuestions(w)...)
	}
	if g.Role == RoleWaypoint {
		return out
	}
	if len(w.Services) == 0 {
		out = append(out, "no Service selects its pods: how do clients reach it?")
	}
	if len(g.Serves) == 0 {
		out = append(out, "no Gateway selects it or is bound to its Service: what does it serve?")
	}
	return out
}

func (s Snapshot) injectionQuestions(w Workload) []string {
	var out []string
	switch i := s.InjectionOf(w); {
	case i.Conflict:
		out = append(out, "injectors of different revisions take its pods ("+strings.Join(i.Injectors, ", ")+"): which is meant?")
	case i.None():
		out = append(out, "nobody injects its next pod, which could not start: which revision or tag is it to follow?")
	}
	if w.Owner.Kind == OwnerHelm && !s.ofGatewayChart(w.Owner) {
		out = append(out, "its release "+w.Owner.Name+" is not of Istio's gateway chart: which values would a second one take?")
	}
	return out
}

// beside are the other Deployments behind one of the gateway's Services.
func beside(all []Gateway, g Gateway) []Ref {
	var out []Ref
	for _, o := range all {
		shared := slices.ContainsFunc(o.Services, func(a Service) bool {
			return slices.ContainsFunc(g.Services, func(b Service) bool { return a.Namespace == b.Namespace && a.Name == b.Name })
		})
		if o.Ref != g.Ref && shared {
			out = append(out, o.Ref)
		}
	}
	return out
}

func unique(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
