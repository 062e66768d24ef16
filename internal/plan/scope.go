package plan

import (
	"cmp"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// scope is what moves, and what cannot.
type scope struct {
	pin        bool     // the default tag must be pinned first
	tags       []string // that move, the default last
	namespaces []nsMove // whose labels move
	byLabel    []unit   // restart once their namespace's labels have moved
	byTag      []unit   // follow only a tag: restart once it has moved (S-9)
	stay       []unit   // serin cannot restart them: they keep their revision
	managed    []managedMove
	canaries   []canary // gateways that move by a second release
	rendered   []unit   // gateways that are rendered again
}

// nsMove is a namespace whose labels decide who injects it.
type nsMove struct {
	name   string
	from   string             // revision
	tags   string             // the tag it follows, if any
	before map[string]*string // the labels as they are
	after  map[string]*string // and while the tag has not moved yet
	last   map[string]*string // and at the end; nil if they stay as after
}

// unit is a workload to restart.
type unit struct {
	w    mesh.Workload
	from string // revision its pods are on
	tag  string // byTag: the tag it follows
	pods int
}

// all are those that restart.
func (s scope) all() []unit { return slices.Concat(s.byLabel, s.byTag) }

// following are those that only a tag leads anywhere.
func (s scope) following() []unit {
	out := slices.Clone(s.byTag)
	for _, c := range s.canaries {
		if c.tag != "" {
			out = append(out, c.unit)
		}
	}
	return out
}

// moving are those, and the gateways that move by a second release.
func (s scope) moving() []unit {
	out := s.all()
	for _, c := range s.canaries {
		out = append(out, c.unit)
	}
	return out
}

func scopeOf(b *builder) scope {
	sc := scope{}
	_, tagged := b.s.Tag(mesh.DefaultTag)
	sc.pin = !tagged && b.leaves(mesh.DefaultRevision)
	for _, t := range b.s.Tags() {
		if b.leaves(t.Revision) && t.Name != mesh.DefaultTag {
			sc.tags = append(sc.tags, t.Name)
		}
	}
	if t, ok := b.s.Tag(mesh.DefaultTag); sc.pin || ok && b.leaves(t.Revision) {
		sc.tags = append(sc.tags, mesh.DefaultTag)
	}
	for _, n := range b.s.Namespaces {
		if m, ok := b.nsMove(n, sc); ok {
			sc.namespaces = append(sc.namespaces, m)
		}
	}
	for _, w := range b.s.Workloads {
		b.place(&sc, w)
	}
	return sc
}

// nsMove says how a namespace's labels change, if a revision to be left injects
// it by them. Where both labels are there, istio-injection is what counts (R§1.2).
func (b *builder) nsMove(n mesh.Namespace, sc scope) (nsMove, bool) {
	i := b.s.Injection(n.Labels, nil)
	if !n.Labelled() || !b.leaves(i.Revision) {
		return nsMove{}, false
	}
	m := nsMove{
		name: n.Name, from: i.Revision, tags: i.Tag,
		before: map[string]*string{mesh.RevLabel: nil},
		after:  map[string]*string{mesh.RevLabel: &b.to},
	}
	rev, hasRev := n.Labels[mesh.RevLabel]
	if hasRev {
		m.before[mesh.RevLabel] = &rev
	}
	injection, hasInjection := n.Labels[mesh.InjectionLabel]
	if hasInjection {
		m.before[mesh.InjectionLabel], m.after[mesh.InjectionLabel] = &injection, nil
	}
	if m.tags == "" && sc.pin && i.Revision == mesh.DefaultRevision {
		m.tags = mesh.DefaultTag // it will follow the pinned tag
	}
	m.last = b.lastLabels(m, sc)
	return m, true
}

// lastLabels are the labels a namespace ends with (S-7): istio-injection and the
// name of a tag as they were, the name of a revision replaced by the new one.
// nil means that they are that already, once moved.
func (b *builder) lastLabels(m nsMove, sc scope) map[string]*string {
	last := map[string]*string{mesh.RevLabel: m.before[mesh.RevLabel]}
	if rev := m.before[mesh.RevLabel]; rev != nil && !b.isTag(*rev, sc) && b.leaves(*rev) {
		last[mesh.RevLabel] = &b.to
	}
	if injection, ok := m.before[mesh.InjectionLabel]; ok {
		last[mesh.InjectionLabel] = injection
	}
	for k, v := range m.after {
		if !same(last[k], v) {
			return last
		}
	}
	return nil
}

func same(a, b *string) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// isTag says whether a label's value names a tag, or will once the default is pinned.
func (b *builder) isTag(label string, sc scope) bool {
	t, ok := b.s.Tag(label)
	return ok && t.Injector != "" || sc.pin && label == mesh.DefaultTag
}

// place puts a workload where it belongs: nothing to do, after its namespace's
// labels, after its tag, or left where it is.
func (b *builder) place(sc *scope, w mesh.Workload) {
	u := b.unit(w)
	if u.from == "" || w.Managed() {
		return // no proxy of it is on what is left, or it moves with its Gateway
	}
	if b.renderedAs(w) {
		sc.rendered = append(sc.rendered, u)
		return
	}
	i := b.s.InjectionOf(w)
	if c, ok := b.canaryOf(u, i, sc.pin); ok {
		sc.canaries = append(sc.canaries, c)
		return
	}
	b.placeInjected(sc, u, i)
}

// placeInjected puts what an injector makes behind what decides which one.
func (b *builder) placeInjected(sc *scope, u unit, i mesh.Injection) {
	ns, _ := b.s.Namespace(u.w.Namespace)
	switch {
	case !b.concerned(i.Revision) || !restartable(u.w):
		sc.stay = append(sc.stay, u)
	case ns.Labelled() || i.Revision == b.to:
		sc.byLabel = append(sc.byLabel, u)
	case i.Tag != "" || sc.pin && i.Revision == mesh.DefaultRevision:
		u.tag = cmp.Or(i.Tag, mesh.DefaultTag)
		sc.byTag = append(sc.byTag, u)
	default:
		sc.stay = append(sc.stay, u) // its own label names a revision: only its owner can change that
	}
}

// unit counts the workload's proxies and says which of the revisions to be left
// they are on, if any is.
func (b *builder) unit(w mesh.Workload) unit {
	u := unit{w: w}
	for _, p := range b.pods[w.Ref] {
		if p.Leaving || p.Revision == "" {
			continue
		}
		u.pods++
		if b.leaves(p.Revision) {
			u.from = p.Revision
		}
	}
	return u
}

// restartable says whether a rolling restart gives the workload new pods by itself.
func restartable(w mesh.Workload) bool {
	switch w.Kind {
	case mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet:
		return w.Strategy != "OnDelete" && !w.Paused && w.Partition == 0
	case mesh.KindJob, mesh.KindPod, mesh.KindOther:
	}
	return false
}
