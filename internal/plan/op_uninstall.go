package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// opUninstall removes a revision, or a release of the base or a gateway chart.
// Whatever still relies on it is listed, and stands in the way (S-53, S-54).
func (b *builder) opUninstall(o Operation) {
	if o.Purge {
		b.opPurge()
		return
	}
	switch o.Chart {
	case "", "istiod":
		b.uninstallRevision(o.Revision)
	case "base", "gateway":
		b.uninstallChart(o)
	default:
		b.find(codeNotPlanned, Mandatory, "request", "serin does not uninstall "+o.Chart, "one of base, gateway, or --revision REVISION")
	}
}

func (b *builder) uninstallRevision(rev string) {
	object := "revision " + rev
	c, ok := b.s.ControlPlane(rev)
	if !ok {
		b.find(codeNamesNoObject, Mandatory, object, b.noRevision(rev), "serin revisions")
		return
	}
	b.judgeRemoval(c)
	others := slices.DeleteFunc(b.s.Revisions(), func(o string) bool { return o == rev })
	if len(others) == 0 {
		b.find(codeAlong, Warning, object, "it is the last control plane of the mesh: after it nothing is injected or validated", "")
	}
	if b.blocked() {
		return
	}
	b.to = b.heir(others)
	if to, ok := b.s.ControlPlane(b.to); ok {
		b.req.To = to.Version
	}
	b.from = []string{rev}
	st := Step{
		Kind: RemoveRevision, Target: rev, From: rev, To: b.to, Version: c.Version, Namespace: c.Namespace,
		Why:   "nothing relies on it; webhooks first, then the release, then what istiod made for itself",
		Needs: []gate.Name{gate.NothingRefers, gate.Approval}, Proof: []gate.Name{gate.Injection}, Undo: removal(c, mesh.Owner{}),
	}
	for _, n := range b.s.Namespaces {
		if b.to != "" && b.s.Injection(n.Labels, nil).Revision == b.to {
			st.Question.Namespaces = append(st.Question.Namespaces, n.Name)
		}
	}
	st.Question.Revision, st.Question.Old = cmp.Or(b.to, rev), rev
	b.add(st)
}

// judgeRemoval lists all that stands in the way of removing a control plane.
func (b *builder) judgeRemoval(c mesh.ControlPlane) {
	b.judgeOwner(c)
	var leaving []mesh.Object
	for _, ref := range b.s.References(c.Revision) {
		if b.s.Leaving(ref) {
			leaving = append(leaving, ref)
			continue
		}
		b.find(codeReferenced, Mandatory, objectName(ref), ref.Note, b.remedyFor(ref, c.Revision))
	}
	if len(leaving) > 0 {
		b.find(codeLeaving, Info, "revision "+c.Revision, fmt.Sprintf("%s on it, being deleted (%s): it is removed once they have gone, for which it waits %s at most", mesh.Count(len(leaving), "pod"), listed(leaving), b.req.Waits()),
			"")
	}
}

// judgeOwner refuses a control plane that would come back, or of which it is not
// known what belongs to it.
func (b *builder) judgeOwner(c mesh.ControlPlane) {
	object := "revision " + c.Revision
	switch {
	case c.Owner.Git():
		b.find(codeGitOpsPlane, Mandatory, object, ownedBy(c.Owner)+", which would make it again", "take it out there; serin verify tells when nothing relies on it")
	case c.Owner.Kind != mesh.OwnerHelm && c.Owner.Kind != mesh.OwnerIstioctl:
		b.find(codeNotHelm, Mandatory, object, "neither Helm nor istioctl says that it is theirs: what belongs to it is not known", "remove it with the tool that installed it")
	}
	if r, ok := b.s.Release(c.Owner); ok && r.Status != "deployed" {
		b.find(codeRelease, Mandatory, "release "+r.Namespace+"/"+r.Name, "Helm says it is "+r.Status, "finish or roll back what was begun: helm -n "+r.Namespace+" history "+r.Name)
	}
}

func (b *builder) noRevision(rev string) string {
	if t, ok := b.s.Tag(rev); ok {
		return "it is a tag, of revision " + t.Revision + ": serin tag remove removes tags"
	}
	return "no control plane has this name; there are " + oneOf(b.s.Revisions())
}

// heir is the revision that still injects afterwards: the default's, or the first.
func (b *builder) heir(others []string) string {
	if t, ok := b.s.Tag(mesh.DefaultTag); ok && slices.Contains(others, t.Revision) {
		return t.Revision
	}
	if len(others) == 0 {
		return ""
	}
	if slices.Contains(others, mesh.DefaultRevision) {
		return mesh.DefaultRevision
	}
	return others[0]
}

// remedyFor says what to do about something that relies on the revision.
func (b *builder) remedyFor(o mesh.Object, rev string) string {
	last := len(b.s.ControlPlanes) == 1
	switch o.Kind {
	case "Tag":
		if last {
			return "serin tag remove " + o.Name
		}
		return "serin tag set " + o.Name + " --revision REVISION --overwrite"
	case "Service":
		return "it moves, or goes, with its tag: serin tag list"
	case "Namespace":
		if last {
			return "kubectl label namespace " + o.Name + " " + mesh.RevLabel + "- " + mesh.InjectionLabel + "-"
		}
		return "serin move " + o.Name + " --to REVISION"
	case "Pod":
		return "serin restart -n " + o.Namespace + ", once its labels lead elsewhere"
	case "HelmRelease", "ValidatingWebhookConfiguration":
		if last && b.isBase(o) {
			return "order: the base chart goes first, or its validator would refuse all configuration: serin uninstall base"
		}
		return "serin tag set default --revision REVISION --overwrite moves it"
	case "Gateway":
		return "label it with another revision or tag"
	}
	return "it must not name " + rev + " any more"
}

// isBase says whether the object belongs to the base chart's release, or is it.
func (b *builder) isBase(o mesh.Object) bool {
	r, ok := b.s.Base()
	return ok && (o.Kind != "HelmRelease" || r.Name == o.Name && r.Namespace == o.Namespace)
}

func (b *builder) uninstallChart(o Operation) {
	r, ok := b.s.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: cmp.Or(o.Namespace, b.s.IstioNamespace) + "/" + cmp.Or(o.Name, "istio-base")})
	if base, has := b.s.Base(); o.Chart == "base" && o.Name == "" {
		r, ok = base, has
	}
	if !ok || r.Chart != o.Chart {
		b.find(codeNamesNoObject, Mandatory, "release "+cmp.Or(o.Name, o.Chart), "Helm has no release of chart "+o.Chart+" of this name", "serin status lists them")
		return
	}
	object := "release " + r.Namespace + "/" + r.Name
	if r.Chart == "base" {
		if _, tagged := b.s.Tag(mesh.DefaultTag); len(b.s.ControlPlanes) > 1 || tagged {
			b.find(codeReferenced, Mandatory, object, "its validator and CRDs serve "+named(b.s.Revisions()), "uninstall the other revisions and the default tag first")
		}
		b.find(codeAlong, Info, object, "the CRDs stay, and all configuration with them", "kubectl delete crd, by name, takes both")
	}
	b.add(Step{
		Kind: RemoveChart, Target: r.Namespace + "/" + r.Name, Version: r.Version, Namespace: r.Namespace, Release: &mesh.Release{Namespace: r.Namespace, Name: r.Name, Chart: r.Chart, Version: r.Version},
		Why: "its record is kept for the way back", Needs: []gate.Name{gate.Approval}, Undo: Undo{What: "install it as it was"},
	})
}
