package plan

import (
	"cmp"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Kept is a removed control plane as the run that removed it found it.
type Kept struct {
	Plane   mesh.ControlPlane `json:"plane"`
	Release *mesh.Release     `json:"release,omitempty"` // without its values: they may hold secrets, and stay where they are kept
}

// restoreRevision installs a removed revision from what was kept of it (ADR 9): its
// chart's source need not have that version any more, and nobody its values.
func (b *builder) restoreRevision(o Operation) {
	k := o.Kept
	b.to, b.req.To = k.Plane.Revision, k.Plane.Version
	if c, there := b.s.ControlPlane(b.to); there {
		if c.Version != k.Plane.Version {
			b.find(codeTaken, Mandatory, "revision "+b.to, "it is there, at "+c.Version, "give another run, or uninstall it first")
		}
		return
	}
	b.judgeInstallBase()
	b.judgeLabelledAlready()
	if k.Release != nil {
		if r, ok := b.s.Release(ownerOf(*k.Release)); ok {
			b.find(codeTaken, Mandatory, "release "+r.Namespace+"/"+r.Name, "Helm has a release of this name, of chart "+r.Chart, "uninstall it first")
		}
	}
	if b.blocked() {
		return
	}
	st := Step{
		Kind: RestoreRevision, Target: b.to, To: b.to, Version: k.Plane.Version, Namespace: b.s.IstioNamespace, Owner: k.Plane.Owner.Kind,
		Plane: &k.Plane, Release: k.Release, Why: "as run " + o.FromRun + " found it, from what it kept", Proof: []gate.Name{gate.ControlPlane}, Undo: Undo{What: "remove it again"},
	}
	st.Question.Istiods = max(k.Plane.Ready, 1)
	if t, tagged := b.s.Tag(mesh.DefaultTag); tagged && b.to == mesh.DefaultRevision {
		st.Question.Tag = mesh.DefaultTag
		b.find(codeAlong, Info, "revision "+b.to, "its injector comes back switched off: the default tag leads to "+t.Revision, "serin tag set default --revision default --overwrite leads back")
	}
	before := b.s.Orphans()
	b.add(st)
	end := b.after()
	for _, orphan := range end.Orphans() {
		if !slices.Contains(before, orphan) {
			b.find(codeTaken, Mandatory, "revision "+b.to, "with it "+orphan, "set the default tag first: serin tag set default --revision REVISION")
		}
	}
	moved := b.changesOf(end)
	if n := len(moved.namespaces) + len(moved.workloads); n > 0 {
		b.find(codeAlong, Warning, "revision "+b.to, "the next pods of "+mesh.Count(len(moved.namespaces), "namespace")+" come from it: "+cmp.Or(named(moved.namespaces), "none labelled"), "")
	}
}

// simulateRestore adds the control plane as it was; its unrevisioned injector stays
// off while a tag stands in for it (S-1).
func simulateRestore(s *mesh.Snapshot, st Step) {
	if _, there := s.ControlPlane(st.To); there {
		return
	}
	c := *st.Plane
	c.Ready = max(c.Ready, 1)
	s.ControlPlanes = append(s.ControlPlanes, c)
	in, v := mesh.RevisionInjector(st.To, s.IstioNamespace), mesh.RevisionValidator(st.To, s.IstioNamespace)
	in.Owner, v.Owner = c.Owner, c.Owner
	if _, tagged := s.Tag(mesh.DefaultTag); tagged && st.To == mesh.DefaultRevision {
		in = in.Off()
	}
	s.Injectors, s.Validators = append(s.Injectors, in), append(s.Validators, v)
	if st.Release != nil {
		r := *st.Release
		r.Status = "deployed"
		s.Releases = append(s.Releases, r)
	}
	sortControlPlanes(s)
	sortInjectors(s)
	sortValidators(s)
	sortReleases(s)
}
