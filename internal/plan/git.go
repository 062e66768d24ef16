package plan

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// whatToCommit is the remedy where something stands in Git.
const whatToCommit = "what to commit, a folder a step: serin plan -o patches DIR"

// throughGit is the tool that carries a step out, because what the step changes
// is declared in its Git (S-45); the zero Owner is none. Where only a part of it
// is, the whole step goes that way: serin would otherwise hold one half of a tag
// and Git the other. Restarts are declared nowhere. A single operation has no
// such steps: it refuses, with the words to commit.
func (b *builder) throughGit(st Step) mesh.Owner {
	var o mesh.Owner
	switch st.Kind {
	case PinDefault:
		o = b.injectorOwner(st.To)
	case UpgradeBase:
		o = b.baseOwner()
	case InstallRevision, RemoveRevision:
		o = b.planeOwner(st.From)
	case MoveNamespace, RestoreLabels:
		n, _ := b.s.Namespace(st.Namespace)
		o = n.Owner
	case MoveTag:
		o = b.tagOwner(st.Tag)
	case FirstPods, Surge, Restart, SetTag, RemoveTag, InstallChart, RemoveChart, RestoreRevision, RemoveRest, AddGateway, OpenGateway, ScaleGateway, RenewGateway, MoveGateway, ReturnGateway, RenderGateway, PutBackGateway, DropClaims, DropTelemetry:
		return mesh.Owner{}
	}
	if b.req.Operation != nil {
		return mesh.Owner{}
	}
	return b.declared(o)
}

// declared is the owner as far as it is Git: by its mark, or because the request says so.
func (b *builder) declared(o mesh.Owner) mesh.Owner {
	switch {
	case o.Git():
		return o
	case b.req.Owners == OwnersGit:
		return mesh.Owner{Kind: mesh.OwnerGit}
	}
	return mesh.Owner{}
}

// planeOwner is whose a revision's control plane is, as far as it is Git's: one
// mark on its Deployment, injector or validator is enough, since what is left of
// it would be made again.
func (b *builder) planeOwner(rev string) mesh.Owner {
	c, _ := b.s.ControlPlane(rev)
	if o := b.declared(c.Owner); o.Git() {
		return o
	}
	for _, v := range b.s.Validators {
		if v.Revision == rev && v.Tag == "" && v.Name != mesh.DefaultValidator && v.Owner.Git() {
			return v.Owner
		}
	}
	return b.injectorOwner(rev)
}

// injectorOwner is the Git that declares a revision's own injector.
func (b *builder) injectorOwner(rev string) mesh.Owner {
	for _, in := range b.s.Injectors {
		if in.Revision == rev && in.Tag == "" && in.Owner.Git() {
			return in.Owner
		}
	}
	return mesh.Owner{}
}

// baseOwner is the Git that declares what every revision shares.
func (b *builder) baseOwner() mesh.Owner {
	for _, c := range b.s.CRDs {
		if o := b.declared(c.Owner); o.Git() && istios(c.Name) {
			return o
		}
	}
	return mesh.Owner{}
}

// istios says whether a definition, plural.group, is in one of Istio's groups.
func istios(crd string) bool { return strings.HasSuffix(crd, ".istio.io") }

// tagOwner is the Git that declares a part of the tag. One that the plan itself
// pins is declared where the injector is that it stands in for.
func (b *builder) tagOwner(tag string) mesh.Owner {
	t, ok := b.s.Tag(tag)
	o := t.Owner
	if !ok {
		o = b.injectorOwner(mesh.DefaultRevision)
	}
	if v, has := b.s.DefaultValidator(); tag == mesh.DefaultTag && has && !o.Git() {
		o = v.Owner
	}
	return o
}

// byGit says whether a step of one of the kinds is carried out from Git.
func (p Plan) byGit(kinds ...Kind) bool {
	return slices.ContainsFunc(p.Steps, func(st Step) bool { return st.ByGit() && slices.Contains(kinds, st.Kind) })
}
