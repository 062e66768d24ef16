package explain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Kind is what a question is about.
type Kind string

// What can be explained. A Gateway is one of the Gateway API that istiod deploys;
// an injected gateway is a Workload.
const (
	Pod       Kind = "Pod"
	Workload  Kind = "Workload"
	Namespace Kind = "Namespace"
	Tag       Kind = "Tag"
	Gateway   Kind = "Gateway"
)

// Subject is what a question is about, by name.
type Subject struct {
	Kind      Kind     `json:"kind"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Workload  mesh.Ref `json:"workload,omitzero"` // of a Pod or a Workload: what makes the next pod
}

// String names it as a command line does.
func (s Subject) String() string {
	name := strings.TrimPrefix(s.Namespace+"/"+s.Name, "/")
	if s.Kind == Workload {
		return strings.ToLower(string(s.Workload.Kind)) + " " + name
	}
	return strings.ToLower(string(s.Kind)) + " " + name
}

// Look is what the answer is found in.
type Look struct {
	Snapshot       mesh.Snapshot
	Proxies        []gate.Proxy // as the istiods report them
	ProxiesUnknown string       // why they could not be asked
}

// Answer is what is known of a Subject, and why it is so.
type Answer struct {
	Subject        Subject    `json:"subject"`
	Next           string     `json:"next"`               // the revision that takes its next pod, none, or conflict
	Tag            string     `json:"tag,omitempty"`      // the tag that leads there
	Because        []string   `json:"because"`            // the labels that decided, or what keeps it from being injected
	Injectors      []Injector `json:"injectors"`          // every one that was evaluated, also those that do not match
	Runs           []Run      `json:"runs"`               // its pods as they are
	ProxiesUnknown string     `json:"unknown,omitempty"`  // why no istiod could be asked about them
	Waits          []Wait     `json:"waits"`              // what stands between it and what it should be
	Along          []Along    `json:"along"`              // what would move with it
	Services       []Service  `json:"services,omitempty"` // its Services, where pods of two revisions or versions stand behind one
}

// Run is the pods of the subject that are alike.
type Run struct {
	Revision string   `json:"revision,omitempty"` // empty: they were not injected
	Version  string   `json:"version,omitempty"`
	Sync     string   `json:"sync"` // synced, stale, not connected, unknown, no proxy
	Istiod   string   `json:"istiod,omitempty"`
	Pods     []string `json:"pods"`
}

// Wait is one thing that stands in the way, and what to do about it.
type Wait struct {
	For    string `json:"for"`
	Remedy string `json:"remedy,omitempty"`
}

// Along is what would move together when its cause moves.
type Along struct {
	When       string   `json:"when"` // "tag prod moves"
	Namespaces []string `json:"namespaces,omitempty"`
	Workloads  []string `json:"workloads,omitempty"`
	Gateways   []string `json:"gateways,omitempty"` // managed ones, which roll at once
	Also       []string `json:"also,omitempty"`
}

// Service is one that pods of several revisions or versions stand behind.
type Service struct {
	Name     string    `json:"name"`
	Backends []Backend `json:"backends"`
}

// Backend is the pods behind a Service that are alike.
type Backend struct {
	Revision  string   `json:"revision,omitempty"`
	Version   string   `json:"version,omitempty"`
	Pods      int      `json:"pods"`
	Workloads []string `json:"workloads"`
}

// Explain answers for a subject that is in the snapshot.
func Explain(l Look, of Subject) Answer {
	a := Answer{
		Subject: of, ProxiesUnknown: l.ProxiesUnknown, Next: "none",
		Because: []string{}, Injectors: []Injector{}, Runs: []Run{}, Waits: []Wait{}, Along: []Along{},
	}
	switch of.Kind {
	case Pod, Workload:
		a.workload(l, of.Workload)
	case Namespace:
		a.namespace(l)
	case Tag:
		a.tag(l)
	case Gateway:
		a.gateway(l)
	}
	a.Services = services(l.Snapshot, a.workloads(l.Snapshot))
	return a
}

func (a *Answer) workload(l Look, ref mesh.Ref) {
	s := l.Snapshot
	w, _ := s.Workload(ref)
	ns, _ := s.Namespace(w.Namespace)
	a.injected(s, ns, w)
	pods := s.PodsOf(ref)
	if a.Subject.Kind == Pod {
		pods = slices.DeleteFunc(pods, func(p mesh.Pod) bool { return p.Name != a.Subject.Name })
	}
	a.Runs = runs(l, pods)
	a.waitsFor(s, w, pods)
	switch {
	case ns.Labelled():
		a.Along = append(a.Along, along(s, "namespace "+ns.Name+" moves", func(o mesh.Workload) bool { return o.Namespace == ns.Name }))
	default:
		a.Along = append(a.Along, along(s, "its own labels change", func(o mesh.Workload) bool { return o.Ref == ref }))
	}
	a.withTag(s)
}

func (a *Answer) namespace(l Look) {
	s := l.Snapshot
	ns, _ := s.Namespace(a.Subject.Name)
	plain := mesh.Workload{Ref: mesh.Ref{Namespace: ns.Name}}
	a.injected(s, ns, plain)
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(p mesh.Pod) bool { return p.Namespace != ns.Name })
	a.Runs = runs(l, pods)
	a.waitsFor(s, plain, pods)
	if ns.Labelled() {
		a.Along = append(a.Along, along(s, "its labels change", func(w mesh.Workload) bool { return w.Namespace == ns.Name }))
	} else {
		a.Because = append(a.Because, "it has neither label: each pod's own labels decide")
		a.eachByItself(s, ns)
	}
	a.withTag(s)
}

// eachByItself lists where the workloads of a namespace without a label go.
func (a *Answer) eachByItself(s mesh.Snapshot, ns mesh.Namespace) {
	by := map[string][]string{}
	for _, w := range s.Workloads {
		if w.Namespace == ns.Name {
			i := s.InjectionOf(w)
			by[i.String()] = append(by[i.String()], w.Name)
		}
	}
	for _, next := range sortedKeys(by) {
		slices.Sort(by[next])
		a.Because = append(a.Because, "by their own labels, to "+next+": "+strings.Join(by[next], ", "))
	}
}

func (a *Answer) tag(l Look) {
	s := l.Snapshot
	t, _ := s.Tag(a.Subject.Name)
	a.Next, a.Tag = t.Revision, t.Name
	switch {
	case t.Injector != "":
		a.Because = append(a.Because, "its injector "+t.Injector+" calls revision "+t.Revision)
	default:
		a.Because = append(a.Because, "its Service selects revision "+t.Revision)
	}
	if t.Service != "" {
		a.Because = append(a.Because, "its Service selects revision "+t.Service)
	}
	if t.Validator != "" {
		a.Because = append(a.Because, "its validator calls revision "+t.Validator)
	}
	follows := followers(s, t.Name)
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(p mesh.Pod) bool { return !follows[p.Workload] })
	a.Runs = runs(l, pods)
	a.waitsFor(s, mesh.Workload{}, pods)
	a.withTag(s)
}

func (a *Answer) gateway(l Look) {
	s := l.Snapshot
	i := slices.IndexFunc(s.ManagedGateways, func(g mesh.Object) bool { return g.Namespace == a.Subject.Namespace && g.Name == a.Subject.Name })
	if i < 0 {
		return
	}
	g := s.ManagedGateways[i]
	a.Next = cmp.Or(s.GatewayRevision(g), "none")
	label, why := g.Revision, "its own label"
	if ns, _ := s.Namespace(g.Namespace); label == "" && ns.Labels[mesh.RevLabel] != "" {
		label, why = ns.Labels[mesh.RevLabel], "the label of namespace "+g.Namespace
	}
	if label == "" {
		label, why = mesh.DefaultTag, "without a label, the default"
	}
	a.Because = append(a.Because, why+": "+mesh.RevLabel+"="+label)
	if _, ok := s.Tag(label); ok {
		a.Tag = label
	}
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(p mesh.Pod) bool { return p.Namespace != g.Namespace || p.Labels[gatewayName] != g.Name })
	a.Runs = runs(l, pods)
	a.waitsFor(s, mesh.Workload{}, nil)
	a.withTag(s)
}

// gatewayName is the label that istiod puts on the pods of a managed Gateway.
const gatewayName = "gateway.networking.k8s.io/gateway-name"
