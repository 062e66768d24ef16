package xds

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Sync is how a proxy stands with the control plane, in a word.
type Sync string

// The words. Only InSync is well.
const (
	InSync       Sync = "synced"
	IsStale      Sync = "stale"
	Rejected     Sync = "rejected"
	NotConnected Sync = "not connected"
	Unknown      Sync = "unknown" // an istiod that might know did not answer
)

// Row is one proxy: a connection that an istiod lists, or a pod with a proxy that
// none lists. A proxy that two istiods list has two rows.
type Row struct {
	Namespace  string   `json:"namespace"`
	Name       string   `json:"name"`
	Cluster    string   `json:"cluster,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Istiod     string   `json:"istiod,omitempty"`    // the pod it is connected to
	Connected  string   `json:"connected,omitempty"` // the revision of that istiod
	Version    string   `json:"version,omitempty"`   // of the proxy
	Subscribed []string `json:"subscribed,omitempty"`
	Types      []Type   `json:"types,omitempty"`
	Actual     string   `json:"actual,omitempty"`  // the revision that injected the pod: its annotation (R§1.5)
	Desired    string   `json:"desired,omitempty"` // the revision that a new pod of its workload would get; none, or conflict
	Sync       Sync     `json:"sync"`
	Why        []string `json:"why,omitempty"` // the types that are stale, or refused and why
	Note       string   `json:"note,omitempty"`
}

// ID is the proxy's name in Istio's tools.
func (r Row) ID() string { return r.Name + "." + r.Namespace }

// Report is every proxy of a mesh, and every istiod that was asked.
type Report struct {
	Istiods   []Istiod        `json:"istiods"`
	Revisions []RevisionCount `json:"revisions"`
	Proxies   []Row           `json:"proxies"`
}

// RevisionCount is how many proxies a revision has, by three measures that agree
// when nothing is under way.
type RevisionCount struct {
	Revision  string `json:"revision"`
	Desired   int    `json:"desired"`   // pods that a restart would put on it
	Actual    int    `json:"actual"`    // pods that it injected
	Connected int    `json:"connected"` // proxies that its istiods program
}

// Join puts together what the istiods say and what the pods are. Pods that are
// leaving count only while they are connected.
func Join(s mesh.Snapshot, answers []Answer) Report {
	report := Report{Istiods: []Istiod{}, Proxies: []Row{}}
	pods := map[[2]string]mesh.Pod{}
	for _, p := range s.Pods {
		pods[[2]string{p.Namespace, p.Name}] = p
	}
	wants := desires(s)
	silent := false
	listed := map[[2]string]int{}
	for _, a := range answers {
		i := a.Istiod
		i.Proxies = len(a.Connections)
		report.Istiods = append(report.Istiods, i)
		silent = silent || i.Error != ""
		for _, c := range a.Connections {
			key := [2]string{c.Namespace, c.Name}
			listed[key]++
			row := connected(i, c)
			if p, known := pods[key]; known {
				row.Actual, row.Desired = p.Revision, wants[p.Workload]
			}
			report.Proxies = append(report.Proxies, row)
		}
	}
	lost := NotConnected
	if silent || len(answers) == 0 {
		lost = Unknown
	}
	for _, p := range s.Pods {
		if !proxied(p) || listed[[2]string{p.Namespace, p.Name}] > 0 {
			continue
		}
		report.Proxies = append(report.Proxies, Row{Namespace: p.Namespace, Name: p.Name, Version: p.Version, Actual: p.Revision, Desired: wants[p.Workload], Sync: lost})
	}
	for i := range report.Proxies {
		r := &report.Proxies[i]
		r.Note = note(*r, listed[[2]string{r.Namespace, r.Name}], s)
	}
	return report.sorted()
}

// proxied says whether a pod has a proxy that ought to be connected.
func proxied(p mesh.Pod) bool { return p.Revision != "" && !p.Leaving }

// desires is who would inject a new pod of each workload, asked once for each and
// not once for each pod.
func desires(s mesh.Snapshot) map[mesh.Ref]string {
	out := make(map[mesh.Ref]string, len(s.Workloads))
	for _, w := range s.Workloads {
		i := s.InjectionOf(w)
		switch {
		case i.None():
			out[w.Ref] = "none"
		case i.Conflict:
			out[w.Ref] = "conflict"
		default:
			out[w.Ref] = i.Revision
		}
	}
	return out
}

func connected(i Istiod, c Connection) Row {
	row := Row{
		Namespace: c.Namespace, Name: c.Name, Cluster: c.Cluster, Kind: c.Kind, Version: c.Version,
		Istiod: i.Pod, Connected: i.Revision, Types: c.Types, Subscribed: subscribed(c.Types), Sync: InSync,
	}
	var refused, stale []string
	for _, t := range c.Types {
		switch t.State {
		case Failed:
			refused = append(refused, t.Name+": "+t.Error)
		case Stale:
			stale = append(stale, t.Name)
		case Synced, NotSent:
		}
	}
	switch {
	case len(refused) > 0:
		row.Sync, row.Why = Rejected, slices.Concat(refused, stale)
	case len(stale) > 0:
		row.Sync, row.Why = IsStale, stale
	}
	slices.Sort(row.Why)
	return row
}

// note says what does not agree about a proxy, the gravest first.
func note(r Row, times int, s mesh.Snapshot) string {
	var notes []string
	if times > 1 {
		notes = append(notes, "listed by several istiods: it has just reconnected, or one does not know that it is gone")
	}
	if r.Connected != "" && r.Actual != "" && r.Connected != r.Actual {
		notes = append(notes, "injected by "+r.Actual+", programmed by "+r.Connected)
	}
	if _, ok := s.ControlPlane(r.Actual); r.Actual != "" && !ok {
		notes = append(notes, "revision "+r.Actual+" has no control plane")
	}
	if r.Actual != "" && r.Desired != "" && r.Desired != r.Actual {
		notes = append(notes, "a restart moves it to "+r.Desired)
	}
	if r.Istiod != "" && r.Actual == "" {
		notes = append(notes, "no such pod: it is outside the cluster, or just gone")
	}
	return strings.Join(notes, "; ")
}

// sorted orders the rows as istioctl does, and counts them.
func (r Report) sorted() Report {
	slices.SortFunc(r.Proxies, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.ID(), b.ID()), strings.Compare(a.Istiod, b.Istiod))
	})
	slices.SortFunc(r.Istiods, func(a, b Istiod) int {
		return cmp.Or(strings.Compare(a.Revision, b.Revision), strings.Compare(a.Pod, b.Pod))
	})
	r.Revisions = count(r)
	return r
}

func count(r Report) []RevisionCount {
	by := map[string]*RevisionCount{}
	at := func(revision string) *RevisionCount {
		if by[revision] == nil {
			by[revision] = &RevisionCount{Revision: revision}
		}
		return by[revision]
	}
	for _, i := range r.Istiods {
		at(i.Revision)
	}
	seen := map[string]bool{}
	for _, p := range r.Proxies {
		if p.Connected != "" {
			at(p.Connected).Connected++
		}
		if seen[p.ID()] { // a pod that two istiods list is one pod
			continue
		}
		seen[p.ID()] = true
		if p.Actual != "" {
			at(p.Actual).Actual++
		}
		if p.Desired != "" {
			at(p.Desired).Desired++
		}
	}
	out := []RevisionCount{}
	for _, c := range by {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b RevisionCount) int { return strings.Compare(a.Revision, b.Revision) })
	return out
}

// Filter says which proxies are wanted; an empty field asks for all.
type Filter struct {
	Namespace string
	Revision  string // that the proxy wants, has, or is connected to
	Name      string // of the pod
}

// Only keeps what the filter asks for. The counts by revision and the istiods
// stay those of the mesh, but for the istiods of other revisions than the one asked for.
func (r Report) Only(f Filter) Report {
	r.Proxies = slices.DeleteFunc(slices.Clone(r.Proxies), func(p Row) bool {
		return f.Namespace != "" && p.Namespace != f.Namespace ||
			f.Name != "" && p.Name != f.Name ||
			f.Revision != "" && p.Connected != f.Revision && p.Actual != f.Revision && p.Desired != f.Revision
	})
	r.Istiods = slices.DeleteFunc(slices.Clone(r.Istiods), func(i Istiod) bool { return f.Revision != "" && i.Revision != f.Revision })
	return r
}
