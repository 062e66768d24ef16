package plan

import (
	"slices"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// PrecheckRequest is what is asked of a mesh: the upgrade that is thought of, and
// how much of it.
type PrecheckRequest struct {
	Request
	Since       string // changes matter from this version on, whatever is there
	Namespace   string // leave out what is about objects of other namespaces
	ChangesOnly bool   // judge nothing but what changes on the way
}

// Prechecked is what a look at a mesh comes to.
type Prechecked struct {
	From     []string     `json:"from"` // the revisions that were judged
	Versions []string     `json:"fromVersions"`
	To       string       `json:"to,omitempty"` // version; empty where none was asked for
	Findings []Finding    `json:"findings"`
	Notes    []skew.Noted `json:"notes"` // every upgrade note between the versions
}

// Precheck judges everything that a plan would, and everything that is only to be
// known. Without a version to go to it judges the mesh as it is; where a plan
// cannot even begin, because nobody says what to leave or because there is no
// Istio yet, what does not depend on that is judged all the same.
func Precheck(s mesh.Snapshot, r PrecheckRequest) Prechecked {
	b := newBuilder(s, r.Request)
	target := b.req.To
	if target != "" {
		b.choose()
	}
	if len(b.from) > 0 && !b.atTarget {
		b.scope = scopeOf(b)
		b.judge()
	} else {
		b.judgeAsIs()
	}
	q := check.Question{To: target, From: b.from, Since: r.Since, Namespace: r.Namespace}
	if q.To == "" && r.Since != "" {
		q.To = newest(s)
	}
	if r.ChangesOnly {
		b.findings = check.LookAtChanges(s, q)
	} else {
		b.findings = append(b.findings, check.Look(s, q)...)
	}
	b.findings = q.Narrow(b.findings)
	b.soften()
	b.ignore()
	out := Prechecked{From: orEmpty(b.from), Versions: []string{}, To: q.To, Findings: check.Sorted(b.findings), Notes: check.Notes(s, q)}
	for _, rev := range b.from {
		c, _ := s.ControlPlane(rev)
		out.Versions = append(out.Versions, c.Version)
	}
	if r.Since != "" {
		out.Versions = []string{r.Since}
	}
	if out.Findings == nil {
		out.Findings = []Finding{}
	}
	if out.Notes == nil {
		out.Notes = []skew.Noted{}
	}
	return out
}

// Answers counts the notes that fire, that do not apply, and of which nothing can be told.
func (p Prechecked) Answers() (int, int, int) {
	count := map[skew.Answer]int{}
	for _, n := range p.Notes {
		count[n.Answer]++
	}
	return count[skew.Fires], count[skew.DoesNotApply], count[skew.CannotTell]
}

// newest is the newest version that a control plane has.
func newest(s mesh.Snapshot) string {
	out := ""
	for _, c := range s.ControlPlanes {
		if out == "" || skew.SameOrOlder(out, c.Version) {
			out = c.Version
		}
	}
	return out
}

// judgeAsIs judges every control plane and what is on it, without a target. A
// cluster without Istio is judged for a first installation.
func (b *builder) judgeAsIs() {
	if len(b.s.ControlPlanes) == 0 {
		if b.req.To != "" {
			b.skewed(skew.Cluster(b.req.To, b.s))
		}
		return
	}
	b.from = b.s.Revisions()
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		b.skewed(skew.Cluster(c.Version, b.s))
	}
	if b.req.To == "" {
		b.req.To, b.to = "the target's version", "REVISION"
	}
	b.scope = scopeOf(b)
	b.judgeControlPlanes()
	b.judgeReleases()
	b.judgeTags()
	b.judgeNamespaces()
	b.judgeShapes()
	b.judgeGateways()
	b.judgeWorkloads()
	b.judgeObjects()
}

func (b *builder) skewed(results []skew.Result) {
	for _, r := range results {
		code, sev := skewFinding(r)
		b.find(code, sev, r.Object, r.Reason, r.Remedy)
	}
}

// soften takes out or down what stands in the way of a plan and says nothing bad
// of the mesh: precheck also runs before Istio is there, and sends no requests.
func (b *builder) soften() {
	b.findings = slices.DeleteFunc(b.findings, func(f Finding) bool { return f.Code == codeChanges }) // the notes say it better
	for i, f := range b.findings {
		switch f.Code {
		case codeNoControlPlane:
			b.findings[i].Severity = Info
			b.findings[i].Reason += ": the cluster is judged for a first installation"
		case codeNoProbe:
			b.findings[i].Severity = Info
			b.findings[i].Remedy = "when planning, name an address that serin may call: --probe-url URL"
		}
	}
}
