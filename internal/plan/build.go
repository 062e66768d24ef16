package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// What a request leaves open.
const (
	defaultSoak      = Duration(30 * time.Second)
	defaultPatience  = Duration(10 * time.Minute)
	tagSoak          = Duration(10 * time.Second) // of a tag's move, at most
	defaultPace      = 5
	defaultMinServed = 1
	defaultRate      = 20
)

// Build computes the plan that takes the mesh to what is asked for. Findings that
// stop it are all reported at once, and then there are no steps. The same
// snapshot and request give the same bytes.
func Build(s mesh.Snapshot, r Request) Plan {
	if r.Operation != nil {
		return operate(s, r)
	}
	b := newBuilder(s, r)
	b.choose()
	if len(b.from) > 0 && !b.atTarget {
		b.scope = scopeOf(b)
		b.judge()
	}
	p := Plan{
		APIVersion: APIVersion, Kind: "Plan", From: orEmpty(b.from), FromVersions: []string{}, To: b.to, Version: b.req.To,
		Request: b.req, Steps: []Step{},
	}
	for _, rev := range b.from {
		c, _ := s.ControlPlane(rev)
		p.FromVersions = append(p.FromVersions, c.Version)
	}
	b.ignore()
	if !b.blocked() && !b.atTarget && len(b.from) > 0 {
		p.Counts = b.count()
		b.write()
		b.proveFirst()
		b.confirmStart()
		b.judgeProgrammed()
		p.Steps, p.Gateways = b.steps, edges(s, b.steps)
		if len(b.steps) == 0 {
			p.Steps = []Step{}
			b.find(codeAtTarget, Info, "mesh", "everything that follows "+strings.Join(b.from, ", ")+" is on "+b.to+" already", "")
		}
	}
	p.Findings = check.Sorted(b.findings)
	if blocking(p.Findings) {
		p.Steps, p.Gateways = []Step{}, nil
	}
	return p.signed()
}

// proveFirst has the first step that moves anything wait until the new revision
// has been asked what it would make of what moves.
func (b *builder) proveFirst() {
	i := slices.IndexFunc(b.steps, func(st Step) bool {
		return st.makes() || st.Kind == MoveGateway || st.Kind == RenderGateway || st.Kind == MoveNamespace || st.Kind == MoveTag
	})
	if !slices.ContainsFunc(b.steps, Step.makes) {
		return
	}
	if p := b.req.Prove; p != nil {
		if p.Off {
			b.find(codeNotProven, Warning, "request", "the new revision is not asked before anything moves what it would inject, refuse and send", "leave out --no-prove, or prove.off in the request")
			return
		}
		b.steps[i].Question.Accept = p.Accept
	}
	b.steps[i].Needs = append(slices.Clone(b.steps[i].Needs), gate.Prove)
}

// builder gathers a plan: the request, what moves, findings and steps.
type builder struct {
	s        mesh.Snapshot
	pods     map[mesh.Ref][]mesh.Pod // of each workload
	req      Request
	to       string   // the new revision
	from     []string // those that are left, sorted
	atTarget bool
	scope    scope
	findings []Finding
	steps    []Step
	moved    map[string]int // namespace -> number of the step that moved its labels
	surge    bool           // first pods come by one replica more
	tagMoved map[string]int // tag -> number of the step that moved it
}

func newBuilder(s mesh.Snapshot, r Request) *builder {
	b := &builder{s: s, req: withDefaults(r), moved: map[string]int{}, pods: map[mesh.Ref][]mesh.Pod{}}
	for _, p := range s.Pods {
		b.pods[p.Workload] = append(b.pods[p.Workload], p)
	}
	return b
}

func withDefaults(r Request) Request {
	r.APIVersion, r.Kind = cmp.Or(r.APIVersion, APIVersion), cmp.Or(r.Kind, "UpgradeRequest")
	r.To = strings.TrimPrefix(r.To, "v")
	r.Soak, r.OnShut, r.Pace = cmp.Or(r.Soak, defaultSoak), cmp.Or(r.OnShut, Hold), cmp.Or(r.Pace, defaultPace)
	r.Patience, r.Restarts = cmp.Or(r.Patience, defaultPatience), cmp.Or(r.Restarts, Auto)
	if r.Probe != nil {
		probe := *r.Probe
		probe.Rate = cmp.Or(probe.Rate, defaultRate)
		r.Probe = &probe
	}
	r.Probes = slices.Clone(r.Probes)
	for i := range r.Probes {
		r.Probes[i].Rate = cmp.Or(r.Probes[i].Rate, defaultRate)
	}
	if len(r.Sends()) > 0 {
		r.MinServed = cmp.Or(r.MinServed, defaultMinServed)
	}
	return r
}

// RevisionName is the revision that a version gets when nobody names one:
// revisions are DNS labels, which have no dots.
func RevisionName(version string) string {
	return strings.ToLower(strings.NewReplacer(".", "-", "+", "-").Replace(strings.TrimPrefix(version, "v")))
}

// choose settles the new revision and those to leave.
func (b *builder) choose() {
	b.to = cmp.Or(b.req.Revision, RevisionName(b.req.To))
	b.judgeTarget()
	var others []string
	for _, c := range b.s.ControlPlanes {
		if c.Revision != b.to {
			others = append(others, c.Revision)
		}
	}
	slices.Sort(others)
	switch {
	case len(b.req.From) > 0:
		b.from = b.asked()
	case len(others) == 1:
		b.from = others
	case len(others) > 1:
		b.find(codeFromNeeded, Mandatory, "request", "the mesh has the revisions "+strings.Join(others, ", ")+": which are to be left is not for serin to guess",
			"name them: --from "+others[0])
	case len(b.s.ControlPlanes) == 1 && sameVersion(b.s.ControlPlanes[0].Version, b.req.To):
		b.already("the only control plane, " + b.to + ", is at " + b.req.To)
	case len(b.s.ControlPlanes) == 0:
		b.find(codeNoControlPlane, Mandatory, "mesh", "there is no istiod in namespace "+b.s.IstioNamespace, "name its namespace: --istio-namespace")
	}
	b.sameVersion()
}

// asked are the revisions the request names, each of which must be there.
func (b *builder) asked() []string {
	from := slices.Compact(slices.Sorted(slices.Values(b.req.From)))
	return slices.DeleteFunc(from, func(rev string) bool {
		if rev == b.to {
			b.find(codeFromUnknown, Mandatory, "revision "+rev, "it is the one to go to", "leave it out of --from")
			return true
		}
		if _, ok := b.s.ControlPlane(rev); ok {
			return false
		}
		reason := "no control plane has this name; there are " + strings.Join(b.s.Revisions(), ", ")
		if t, ok := b.s.Tag(rev); ok {
			reason = "it is a tag, of revision " + t.Revision
		}
		b.find(codeFromUnknown, Mandatory, "revision "+rev, reason, "name a revision: serin status")
		return true
	})
}

// sameVersion recognises a mesh that is where it should be, under another name:
// there is nothing to upgrade.
func (b *builder) sameVersion() {
	if len(b.from) == 0 {
		return
	}
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		if !sameVersion(c.Version, b.req.To) {
			return
		}
	}
	if _, there := b.s.ControlPlane(b.to); !there && b.req.Revision == "" {
		b.already(strings.Join(b.from, ", ") + " is at " + b.req.To)
	}
}

func (b *builder) already(reason string) {
	b.atTarget = true
	b.find(codeAtTarget, Info, "mesh", reason+": there is nothing to do", "")
}

func sameVersion(a, b string) bool { return skew.SameOrOlder(a, b) && skew.SameOrOlder(b, a) }

// leaves says whether the revision is one of those to leave.
func (b *builder) leaves(rev string) bool { return slices.Contains(b.from, rev) }

func (b *builder) count() Counts {
	c := Counts{ControlPlanes: len(b.from)}
	namespaces := map[string]bool{}
	for _, n := range b.scope.namespaces {
		namespaces[n.name] = true
	}
	c.Gateways = len(b.scope.managed) + len(b.scope.rendered)
	for _, u := range b.scope.rendered {
		namespaces[u.w.Namespace] = true
		c.Proxies += u.pods
	}
	for _, m := range b.scope.managed {
		namespaces[m.g.Namespace] = true
		c.Proxies += len(b.pods[m.ref])
	}
	for _, u := range b.scope.moving() {
		namespaces[u.w.Namespace] = true
		if u.w.Gateway() {
			c.Gateways++
		} else {
			c.Workloads++
		}
		c.Proxies += u.pods
	}
	c.Namespaces = len(namespaces)
	return c
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
