package plan

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// opPurge removes the whole mesh: gateways, tags, what else calls an istiod, the
// base chart, each control plane. What relies on it is listed and does not stand
// in the way: whoever typed the mesh's name has seen the list (S-54). The steps
// are those of single removals, so that each can be taken back.
//
// Order: gateways go while they still have an injector, and so come back when they
// have one again; then all webhooks, before anything that answers them.
func (b *builder) opPurge() {
	b.judgePurge()
	if b.blocked() {
		return
	}
	for _, r := range b.releasesOf("gateway") {
		b.add(chartRemoval(r, "its pods end; its address goes"))
	}
	for _, t := range b.s.Tags() {
		if t.Owner.Kind == mesh.OwnerHelm {
			continue // it goes with the release that renders it
		}
		c, _ := b.s.ControlPlane(t.Revision)
		b.add(Step{
			Kind: RemoveTag, Target: t.Name, Tag: t.Name, From: t.Revision, To: t.Revision, Version: c.Version, Purge: true,
			Why: "injector, Service and validator", Undo: Undo{What: "make it again"},
		})
	}
	b.add(Step{
		Kind: RemoveRest, Target: "what no release holds", Namespace: b.s.IstioNamespace, Purge: true,
		Why:  "webhooks that are left, and what istioctl made beside control planes: its gateways and base objects; never CRDs, istio-cni or ztunnel",
		Undo: Undo{What: "make it again"},
	})
	for _, r := range b.releasesOf("base") {
		b.add(chartRemoval(r, "the default validator; CRDs and all configuration stay"))
	}
	for _, c := range b.s.ControlPlanes {
		b.from = append(b.from, c.Revision)
		b.add(Step{
			Kind: RemoveRevision, Target: c.Revision, From: c.Revision, Version: c.Version, Namespace: c.Namespace, Purge: true,
			Why: "its webhooks first, then what installed it, then what istiod made for itself", Undo: removal(c, mesh.Owner{}),
		})
	}
	b.steps[0].Needs = append(b.steps[0].Needs, gate.Approval)
	last := &b.steps[len(b.steps)-1]
	last.Proof = append(last.Proof, gate.NothingLeft)
	b.listPurged()
}

func chartRemoval(r mesh.Release, why string) Step {
	return Step{
		Kind: RemoveChart, Target: r.Namespace + "/" + r.Name, Version: r.Version, Namespace: r.Namespace, Purge: true,
		Release: &mesh.Release{Namespace: r.Namespace, Name: r.Name, Chart: r.Chart, Version: r.Version},
		Why:     why, Undo: Undo{What: "install it as it was"},
	}
}

func (b *builder) releasesOf(chart string) []mesh.Release {
	return slices.DeleteFunc(slices.Clone(b.s.Releases), func(r mesh.Release) bool { return r.Chart != chart })
}

// judgePurge refuses what would come back by itself, or belongs to nobody known.
func (b *builder) judgePurge() {
	if len(b.s.ControlPlanes)+len(b.s.Injectors)+len(b.s.Validators)+len(b.s.Releases) == 0 {
		b.find(codeNamesNoObject, Mandatory, "mesh", "there is nothing of Istio to remove", "serin status shows what serin sees")
	}
	for _, c := range b.s.ControlPlanes {
		b.judgeOwner(c)
	}
	for _, t := range b.s.Tags() {
		if t.Owner.Git() {
			b.find(codeGitOpsTag, Mandatory, "tag "+t.Name, ownedBy(t.Owner)+", which would make it again", "take it out there first")
		}
	}
	for _, w := range b.s.Workloads {
		if w.Gateway() && w.Owner.Kind != mesh.OwnerHelm {
			b.find(codeAlong, Warning, "workload "+w.String(), "no release of the gateway chart made it: it stays, and its next pods have no proxy", "remove it with what made it")
		}
	}
}

// listPurged lists what relies on the mesh and is there afterwards, and what of
// Istio stays.
func (b *builder) listPurged() {
	end := b.after()
	for _, c := range b.s.ControlPlanes {
		for _, ref := range b.s.References(c.Revision) {
			if remains(end, ref) {
				b.find(codeReferenced, Warning, objectName(ref), ref.Note, b.afterPurge(ref))
			}
		}
	}
	for _, x := range b.s.Singletons {
		b.find(codeAlong, Info, "daemonset "+x.Name, "it stays: all revisions share it, and pods on its nodes may need it", "remove it last, with what installed it")
	}
	b.find(codeAlong, Info, "mesh", "CRDs and all configuration stay, the namespace "+b.s.IstioNamespace+" with its CA secret too: serin rollback brings the same mesh back", "kubectl delete, by name, takes them")
}

// remains says whether an object is there once the mesh has gone.
func remains(end mesh.Snapshot, o mesh.Object) bool {
	switch o.Kind {
	case "Tag", "Service", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		return false
	case "HelmRelease":
		_, ok := end.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: o.Namespace + "/" + o.Name})
		return ok
	case "Pod":
		return slices.ContainsFunc(end.Pods, func(p mesh.Pod) bool { return p.Namespace == o.Namespace && p.Name == o.Name })
	case string(mesh.KindDeployment), string(mesh.KindStatefulSet), string(mesh.KindDaemonSet):
		_, ok := end.Workload(mesh.Ref{Kind: mesh.WorkloadKind(o.Kind), Namespace: o.Namespace, Name: o.Name})
		return ok
	}
	return true
}

// afterPurge says what becomes of what relied on the mesh.
func (b *builder) afterPurge(o mesh.Object) string {
	switch o.Kind {
	case "Namespace":
		return "its next pods have no sidecar; take the label off: kubectl label namespace " + o.Name + " " + mesh.RevLabel + "- " + mesh.InjectionLabel + "-"
	case "Pod":
		return "its proxy keeps its last configuration until its certificate ends; restart it: kubectl -n " + o.Namespace + " rollout restart"
	case "Gateway":
		return "nobody deploys or programs it any more: delete it, or let another class take it"
	}
	return "it stays as it is: " + strings.ToLower(o.Kind) + " " + o.Name + " leads nowhere afterwards"
}

// simulateRest takes away what no release, tag or control plane holds.
func simulateRest(s *mesh.Snapshot) {
	rest := restOf(*s)
	s.Injectors = lacking(rest.Injectors, s.Injectors, injectorName)
	s.Validators = lacking(rest.Validators, s.Validators, validatorName)
}

// undoRest brings it back.
func undoRest(s *mesh.Snapshot, before mesh.Snapshot) {
	away := restAway(*s, before)
	s.Injectors = append(s.Injectors, away.Injectors...)
	s.Validators = append(s.Validators, away.Validators...)
	sortInjectors(s)
	sortValidators(s)
}

// restLeft says which of it is still there.
func restLeft(s mesh.Snapshot) []string { return restNames(restOf(s), "there") }

// restNotBack says which of it, as it was before, is not there again.
func restNotBack(s, before mesh.Snapshot) []string {
	return restNames(restAway(s, before), "not there")
}

func restNames(rest mesh.Snapshot, is string) []string {
	var out []string
	for _, i := range rest.Injectors {
		out = append(out, "injector "+i.Name+" is "+is)
	}
	for _, v := range rest.Validators {
		out = append(out, "validator "+v.Name+" is "+is)
	}
	return out
}

// restAway is what was of it before and is not there now.
func restAway(s, before mesh.Snapshot) mesh.Snapshot {
	rest := restOf(before)
	return mesh.Snapshot{
		Injectors:  lacking(s.Injectors, rest.Injectors, injectorName),
		Validators: lacking(s.Validators, rest.Validators, validatorName),
	}
}

// lacking returns the wanted that are not among those there are, by name.
func lacking[T any](there, wanted []T, name func(T) string) []T {
	var out []T
	for _, w := range wanted {
		if !slices.ContainsFunc(there, func(t T) bool { return name(t) == name(w) }) {
			out = append(out, w)
		}
	}
	return out
}

func injectorName(i mesh.Injector) string   { return i.Name }
func validatorName(v mesh.Validator) string { return v.Name }

// restOf are the webhooks that go with no tag, release or control plane: those of
// a revision that is gone, and the default validator that istioctl made.
func restOf(s mesh.Snapshot) mesh.Snapshot {
	var out mesh.Snapshot
	for _, i := range s.Injectors {
		_, plane := s.ControlPlane(i.Revision)
		if i.Tag == "" && !plane && i.Owner.Kind != mesh.OwnerHelm {
			out.Injectors = append(out.Injectors, i)
		}
	}
	for _, v := range s.Validators {
		_, plane := s.ControlPlane(v.Revision)
		if v.Tag == "" && (!plane || v.Name == mesh.DefaultValidator) && v.Owner.Kind != mesh.OwnerHelm {
			out.Validators = append(out.Validators, v)
		}
	}
	return out
}
