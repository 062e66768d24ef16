package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/run"
)

// Status is the mesh as a person looks at it: who injects whom, what runs on
// what, and the upgrade that is under way.
type Status struct {
	KubernetesVersion string            `json:"kubernetesVersion"`
	IstioNamespace    string            `json:"istioNamespace"`
	Revisions         []RevisionStatus  `json:"revisions"`
	Tags              []TagStatus       `json:"tags"`
	Namespaces        []NamespaceStatus `json:"namespaces"`
	Workloads         []WorkloadStatus  `json:"workloads"`
	Proxies           []ProxyStatus     `json:"proxies"`
	ProxiesUnknown    string            `json:"proxiesUnknown,omitempty"` // why no istiod could be asked
	Frozen            []FrozenStatus    `json:"frozen,omitempty"`         // Gateways whose new listeners wait
	Telemetries       []TelemetryStatus `json:"telemetries,omitempty"`    // that gateway logs has added
	Run               *RunStatus        `json:"run,omitempty"`
	RunUnknown        string            `json:"runUnknown,omitempty"` // why it is not known whether an upgrade is under way
}

// RevisionStatus is one control plane.
type RevisionStatus struct {
	Revision  string   `json:"revision"`
	Version   string   `json:"version"`
	Namespace string   `json:"namespace"`
	Ready     int      `json:"ready"`
	Replicas  int      `json:"replicas"`
	Tags      []string `json:"tags,omitempty"`
	Pods      int      `json:"pods"`      // that it injected
	Connected *int     `json:"connected"` // proxies connected to it; null is unknown
	Owner     string   `json:"owner"`
}

// TagStatus is one revision tag and the three objects that carry it.
type TagStatus struct {
	Tag       string `json:"tag"`
	Revision  string `json:"revision"`
	Injector  string `json:"injector,omitempty"`  // the name of its webhook configuration
	Service   string `json:"service,omitempty"`   // the revision its Service selects
	Validator string `json:"validator,omitempty"` // the revision its validator calls
	Agree     bool   `json:"agree"`
}

// NamespaceStatus is one namespace that is injected or has pods that are.
type NamespaceStatus struct {
	Namespace string         `json:"namespace"`
	Label     string         `json:"label,omitempty"`
	Injector  string         `json:"injector"`           // the revision that a plain new pod would get, or none or conflict
	Conflict  []string       `json:"conflict,omitempty"` // the injectors of different revisions that would both take it
	Workloads int            `json:"workloads"`
	Pods      map[string]int `json:"pods,omitempty"` // by revision
}

// WorkloadStatus is one workload and what its pods run.
type WorkloadStatus struct {
	Namespace string   `json:"namespace"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Ready     int      `json:"ready"`
	Replicas  int      `json:"replicas"`
	Revisions []string `json:"revisions"` // of its pods
	Next      string   `json:"next"`      // the revision its next pod would get
	Versions  []string `json:"versions"`
	Synced    *int     `json:"synced"` // proxies in sync; null is unknown
	Pods      int      `json:"pods"`
	Skew      string   `json:"skew,omitempty"`
}

// ProxyStatus is one pod with a proxy.
type ProxyStatus struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Workload  string   `json:"workload"`
	Revision  string   `json:"revision"` // that injected it
	Version   string   `json:"version"`
	Istiod    string   `json:"istiod,omitempty"` // the istiod's pod it is connected to
	Sync      string   `json:"sync"`             // synced, stale, rejected, disconnected, unknown
	Detail    []string `json:"detail,omitempty"` // the types that are stale, or rejected and why
	Skew      string   `json:"skew,omitempty"`
}

// FrozenStatus is a Gateway that istiod's deployment controller leaves alone (S-27).
type FrozenStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	By        string `json:"by"`              // what its annotation says
	Since     string `json:"since,omitempty"` // where it is serin's
	Overdue   bool   `json:"overdue,omitempty"`
	Next      string `json:"next"`
}

func frozen(l Look) []FrozenStatus {
	var out []FrozenStatus
	for _, g := range l.Snapshot.Edge.Gateways {
		tag := mesh.PrivateTag(g.Namespace, g.Name)
		if g.Frozen == "" && (g.Revision != tag || !g.OfGatewayAPI()) {
			continue
		}
		f := FrozenStatus{Namespace: g.Namespace, Name: g.Name, By: g.Frozen, Since: g.Since, Next: "serin repair"}
		switch {
		case g.Frozen == "":
			f.By = "label " + mesh.RevLabel + "=" + g.Revision
		case g.Frozen != tag:
			f.Next = "not serin's: who has frozen it thaws it"
		}
		if l.Run != nil && Open(*l.Run) && f.Next == "serin repair" {
			f.Next = "the open run returns it"
		}
		f.Overdue = g.OverdueAt(l.Now)
		out = append(out, f)
	}
	return out
}

// TelemetryStatus is a Telemetry that gateway logs has added (S-34).
type TelemetryStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	By        string `json:"by"`
	Command   string `json:"command"`
	Since     string `json:"since"`
	Left      bool   `json:"left,omitempty"` // its command was killed
	Next      string `json:"next"`
}

func telemetries(s mesh.Snapshot) []TelemetryStatus {
	var out []TelemetryStatus
	for _, t := range s.Telemetries {
		next := "it goes when its command ends"
		if t.Left {
			next = "its command was killed: serin repair"
		}
		out = append(out, TelemetryStatus{Namespace: t.Namespace, Name: t.Name, By: t.By, Command: t.Command, Since: t.Since, Left: t.Left, Next: next})
	}
	return out
}

// RunStatus is where an open upgrade stands.
type RunStatus struct {
	ID      string         `json:"id"`
	From    []string       `json:"from"`
	To      string         `json:"to"`
	Version string         `json:"version"`
	Phase   run.Phase      `json:"phase"`
	Paused  bool           `json:"paused,omitempty"`
	Step    int            `json:"step"`
	Steps   int            `json:"steps"`
	What    string         `json:"what"`
	Gates   []gate.Verdict `json:"gates,omitempty"`
	Cause   string         `json:"cause,omitempty"`
	By      string         `json:"by"`
	Holder  string         `json:"holder,omitempty"` // the process that drives it
	Started time.Time      `json:"started"`
	Sent    int            `json:"requestsSent"`
	Failed  int            `json:"requestsFailed"`
	Budget  *int           `json:"budget,omitempty"`          // failed requests that the upgrade may cost
	Let     int            `json:"requestsLetPass,omitempty"` // failed ones in spite of which it was resumed
	Next    string         `json:"next"`
}

// Look is what a Status is made from.
type Look struct {
	Snapshot       mesh.Snapshot
	Proxies        []gate.Proxy // as the istiods report them
	ProxiesUnknown string       // why they could not be asked
	Run            *run.Run     // the open run, if there is one
	Holder         string
	RunUnknown     string // why the journal could not be read
	Now            time.Time
}

// NewStatus puts together what is known of a mesh.
func NewStatus(l Look) Status {
	s := Status{
		KubernetesVersion: l.Snapshot.KubernetesVersion, IstioNamespace: l.Snapshot.IstioNamespace,
		ProxiesUnknown: l.ProxiesUnknown, RunUnknown: l.RunUnknown, Proxies: proxies(l),
		Revisions: []RevisionStatus{}, Tags: tags(l.Snapshot), Namespaces: []NamespaceStatus{}, Workloads: []WorkloadStatus{},
	}
	s.Frozen, s.Telemetries = frozen(l), telemetries(l.Snapshot)
	for _, c := range l.Snapshot.ControlPlanes {
		s.Revisions = append(s.Revisions, revision(c, l, s.Tags))
	}
	for _, w := range l.Snapshot.Workloads {
		if ws := workload(w, l.Snapshot, s.Proxies); ws.Pods > 0 || ws.Next != none {
			s.Workloads = append(s.Workloads, ws)
		}
	}
	for _, n := range l.Snapshot.Namespaces {
		if ns := namespace(n, l.Snapshot); ns.Injector != none || len(ns.Pods) > 0 {
			s.Namespaces = append(s.Namespaces, ns)
		}
	}
	if l.Run != nil && Open(*l.Run) {
		s.Run = runStatus(*l.Run, l.Holder)
	}
	return s
}

const (
	none    = "none"
	unknown = "unknown"
)

func revision(c mesh.ControlPlane, l Look, ts []TagStatus) RevisionStatus {
	out := RevisionStatus{
		Revision: c.Revision, Version: c.Version, Namespace: c.Namespace,
		Ready: c.Ready, Replicas: c.Replicas, Owner: owner(c.Owner),
	}
	for _, t := range ts {
		if t.Revision == c.Revision {
			out.Tags = append(out.Tags, t.Tag)
		}
	}
	for _, p := range l.Snapshot.Pods {
		if p.Revision == c.Revision && !p.Leaving {
			out.Pods++
		}
	}
	if l.ProxiesUnknown == "" {
		n := 0
		for _, p := range l.Proxies {
			if p.Revision == c.Revision {
				n++
			}
		}
		out.Connected = &n
	}
	return out
}

func owner(o mesh.Owner) string {
	if o.Name == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + ":" + o.Name
}

func tags(s mesh.Snapshot) []TagStatus {
	out := []TagStatus{}
	for _, t := range s.Tags() {
		out = append(out, TagStatus{
			Tag: t.Name, Revision: t.Revision, Injector: t.Injector, Service: t.Service, Validator: t.Validator, Agree: !t.Split,
		})
	}
	return out
}

func namespace(n mesh.Namespace, s mesh.Snapshot) NamespaceStatus {
	plain := s.InjectionOf(mesh.Workload{Ref: mesh.Ref{Namespace: n.Name}})
	out := NamespaceStatus{Namespace: n.Name, Label: injectionLabel(n.Labels), Injector: gets(plain), Pods: map[string]int{}}
	if plain.Conflict {
		out.Conflict = plain.Injectors
	}
	for _, w := range s.Workloads {
		if w.Namespace == n.Name {
			out.Workloads++
		}
	}
	for _, p := range s.Pods {
		if p.Namespace == n.Name && p.Revision != "" && !p.Leaving {
			out.Pods[p.Revision]++
		}
	}
	return out
}

func injectionLabel(labels map[string]string) string {
	var out []string
	for _, k := range []string{mesh.InjectionLabel, mesh.RevLabel} {
		if v, ok := labels[k]; ok {
			out = append(out, k+"="+v)
		}
	}
	return strings.Join(out, ",")
}

func workload(w mesh.Workload, s mesh.Snapshot, ps []ProxyStatus) WorkloadStatus {
	out := WorkloadStatus{
		Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name, Ready: w.Ready, Replicas: w.Replicas,
		Next: gets(s.InjectionOf(w)), Revisions: []string{}, Versions: []string{},
	}
	synced, known := 0, true
	for _, p := range ps {
		if p.Workload != w.String() {
			continue
		}
		out.Pods++
		out.Revisions = include(out.Revisions, p.Revision)
		out.Versions = include(out.Versions, p.Version)
		switch p.Sync {
		case "synced":
			synced++
		case unknown:
			known = false
		}
		if out.Skew == "" {
			out.Skew = p.Skew
		}
	}
	if known {
		out.Synced = &synced
	}
	if out.Skew == "" && len(out.Revisions) > 0 && !slices.Equal(out.Revisions, []string{out.Next}) {
		out.Skew = "restart" // what runs is not what a new pod would get
	}
	return out
}

func include(list []string, v string) []string {
	if slices.Contains(list, v) {
		return list
	}
	list = append(list, v)
	slices.Sort(list)
	return list
}

func runStatus(r run.Run, holder string) *RunStatus {
	out := &RunStatus{
		ID: r.ID, From: r.Plan.From, To: r.Plan.To, Version: r.Plan.Version, Phase: r.Phase, Paused: r.Paused,
		Steps: len(r.Plan.Steps), Gates: relevant(r), Cause: r.Cause, By: r.By, Holder: holder, Started: r.Started, Next: Next(r, holder),
	}
	if r.At >= 0 && r.At < len(r.Plan.Steps) {
		s := r.Plan.Steps[r.At]
		out.Step, out.What = s.Number, fmt.Sprintf("%s %s", Step(s), s.Target)
		if r.Awaits() {
			out.What += ", " + outcome(r)
		}
	}
	out.Sent, out.Failed = totals(r)
	out.Budget, out.Let = r.Plan.Request.Budget, r.Pardoned
	return out
}
