package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// write appends the steps. Order: up, proven, moved, down. Nothing follows the
// new revision before it stands, no tag moves before what follows labels has
// been proven on it, and nothing is removed while anything refers to it.
func (b *builder) write() {
	b.tagMoved = map[string]int{}
	if !b.busy() {
		return
	}
	if b.scope.pin {
		b.pinDefault()
	}
	b.upgradeBase()
	b.install()
	for _, m := range b.scope.managed { // before anything that they follow
		b.moveGateway(m)
	}
	for _, u := range b.scope.rendered { // their templates name their revision: no label leads them
		b.renderGateway(u)
	}
	for i := range b.scope.canaries {
		b.addCanary(&b.scope.canaries[i])
	}
	for _, w := range b.waves() {
		b.moveWave(w)
	}
	for _, t := range b.scope.tags {
		b.moveTag(t)
	}
	b.restartFollowers()
	for _, n := range b.scope.namespaces {
		b.restoreLabels(n)
	}
	b.returnGateways(false)
	for _, c := range b.scope.canaries {
		b.endCanary(c)
	}
	b.removals()
	b.returnGateways(true)
}

// busy says whether there is anything to do at all: after an upgrade that kept
// its old revision there is not.
func (b *builder) busy() bool {
	_, installed := b.s.ControlPlane(b.to)
	return !installed || b.scope.pin || len(b.scope.tags)+len(b.scope.namespaces)+len(b.scope.managed)+len(b.scope.rendered)+len(b.scope.moving()) > 0 || !b.req.Keep
}

// add numbers a step, fills what every question holds and appends it.
func (b *builder) add(st Step) int {
	st.Number = len(b.steps) + 1
	st.Question.Step = st.Number
	st.Question.Revision = cmp.Or(st.Question.Revision, st.To)
	if st.Question.Old == "" && st.From != st.To {
		st.Question.Old = st.From
	}
	if c, ok := b.s.ControlPlane(st.Question.Revision); ok {
		st.Question.Version = c.Version
	}
	if st.Question.Revision == b.to {
		st.Question.Version = b.req.To
	}
	if len(st.Question.Namespaces) == 0 { // there is no namespace in which anybody is injected: nothing to dry-run
		st.Proof = slices.DeleteFunc(st.Proof, func(g gate.Name) bool { return g == gate.Injection })
	}
	b.withinHours(&st)
	st.Git = b.throughGit(st)
	b.steps = append(b.steps, st)
	return st.Number
}

func (b *builder) pinDefault() {
	why := "an explicit default tag on the revision that is the default already: nothing moves, and the new revision cannot take the default over"
	if b.s.IstioNamespace != "istio-system" {
		why += "; outside istio-system elections do not see it, so it claims no locks" // S-4
	}
	c, _ := b.s.ControlPlane(mesh.DefaultRevision)
	b.add(Step{
		Kind: PinDefault, Target: mesh.DefaultTag, From: mesh.DefaultRevision, To: mesh.DefaultRevision, Tag: mesh.DefaultTag, Version: c.Version,
		Why: why, Proof: []gate.Name{gate.Injection, gate.Tags},
		Question: b.asking(b.followed(mesh.DefaultRevision), mesh.DefaultTag),
		Undo:     Undo{What: "injector on, tag off"},
	})
}

// asking asks for dry-run pods in the namespaces, and for such as follow only one
// of the tags: those are labelled as the workloads are (S-9).
func (b *builder) asking(namespaces []string, tags ...string) gate.Question {
	q := gate.Question{Namespaces: namespaces}
	for _, u := range b.scope.following() {
		if !slices.Contains(tags, u.tag) {
			continue
		}
		q.Workloads = append(q.Workloads, u.w.Ref)
		if !slices.Contains(q.Namespaces, u.w.Namespace) {
			q.Namespaces = append(q.Namespaces, u.w.Namespace)
		}
	}
	slices.Sort(q.Namespaces)
	return q
}

// followed are the namespaces whose plain pods the revision injects now.
func (b *builder) followed(rev string) []string {
	var out []string
	for _, n := range b.s.Namespaces {
		if i := b.s.Injection(n.Labels, nil); i.Revision == rev {
			out = append(out, n.Name)
		}
	}
	return out
}

func (b *builder) upgradeBase() {
	base, ok := b.s.Base()
	if !ok && (b.newOwner() == mesh.OwnerIstioctl || b.baseOwner().Git()) {
		b.upgradeBaseObjects()
		return
	}
	if !ok || !olderThan(base.Version, b.req.To) {
		return
	}
	old := b.oldest()
	b.add(Step{
		Kind: UpgradeBase, Target: base.Name, From: old, To: old, Version: b.req.To, Namespace: base.Namespace,
		Why:   fmt.Sprintf("the new revision needs its CRDs; defaultRevision stays %q until the default tag moves", base.DefaultRevisionValue()),
		Proof: []gate.Name{gate.CRDs},
		Undo:  Undo{What: "CRDs stay (additive)", Nothing: true},
	})
}

// newOwner is through whom the new control plane is installed: as the old one
// was, or as the user's file says. Empty is Helm.
func (b *builder) newOwner() mesh.OwnerKind {
	if b.req.Operator != nil {
		return mesh.OwnerIstioctl
	}
	if len(b.from) > 0 {
		if c, ok := b.s.ControlPlane(b.oldest()); ok && c.Owner.Kind == mesh.OwnerIstioctl {
			return mesh.OwnerIstioctl
		}
	}
	return ""
}

// upgradeBaseObjects is upgradeBase where no release holds the CRDs.
func (b *builder) upgradeBaseObjects() {
	if _, ok := b.s.ControlPlane(b.to); ok {
		return
	}
	old := b.oldest()
	why := "the new revision needs its CRDs"
	if b.newOwner() == mesh.OwnerIstioctl {
		why += "; applied as istioctl applies them"
	}
	b.add(Step{
		Kind: UpgradeBase, Target: "CRDs", From: old, To: old, Version: b.req.To, Namespace: b.s.IstioNamespace, Owner: b.newOwner(),
		Why:   why,
		Proof: []gate.Name{gate.CRDs},
		Undo:  Undo{What: "CRDs stay (additive)", Nothing: true},
	})
}

// oldest is the revision a step that is about none in particular starts from.
func (b *builder) oldest() string { return b.from[0] }

func (b *builder) install() {
	if _, ok := b.s.ControlPlane(b.to); ok {
		return // at this version, or there would be a finding
	}
	b.add(Step{
		Kind: InstallRevision, Target: mesh.IstiodName(b.to), From: b.oldest(), To: b.to, Version: b.req.To, Namespace: b.s.IstioNamespace,
		Owner: b.newOwner(), Why: "beside " + strings.Join(b.from, ", ") + ": nothing follows it yet",
		Proof: []gate.Name{gate.ControlPlane},
		Undo:  Undo{What: "uninstall"},
	})
}

// moveWave moves the namespace's labels, unless they have moved, and restarts the wave.
func (b *builder) moveWave(w wave) {
	needs := []gate.Name{gate.ControlPlane}
	if w.approve {
		needs = append(needs, gate.Approval)
	}
	needs = b.ifHooked(gate.ConfirmWave, needs)
	n, moves := b.nsOf(w.ns)
	if _, done := b.moved[w.ns]; moves && !done {
		b.moved[w.ns] = b.add(Step{
			Kind: MoveNamespace, Target: w.ns, Namespace: w.ns, From: n.from, To: b.to, Before: n.before, After: n.after,
			Why:      "both label edits in one patch; from here on every new pod of the namespace is on " + b.to + ", restarts or not",
			Needs:    needs,
			Proof:    []gate.Name{gate.Injection},
			Question: gate.Question{Namespaces: []string{w.ns}, Windows: w.windows},
			Undo:     Undo{What: "label back"},
		})
		needs = nil
	}
	if len(w.units) == 0 {
		return
	}
	b.restart(w, needs, b.moved[w.ns])
}

func (b *builder) nsOf(name string) (nsMove, bool) {
	for _, n := range b.scope.namespaces {
		if n.name == name {
			return n, true
		}
	}
	return nsMove{}, false
}

// restart adds a rolling restart of the wave's workloads; undoFirst is the step
// that must be taken back before it, or they would come up on the new revision again.
func (b *builder) restart(w wave, needs []gate.Name, undoFirst int) {
	old := w.units[0].from
	step := func(kind Kind, units []unit, why, undo string) Step {
		refs := make([]mesh.Ref, 0, len(units))
		served := false
		for _, u := range units {
			refs = append(refs, u.w.Ref)
			served = served || len(u.w.Services) > 0
		}
		target := w.ns + "/*"
		if len(refs) == 1 {
			target = refs[0].String()
		}
		proof := []gate.Name{gate.RolledOut, gate.Proxies}
		if served {
			proof = append(proof, gate.Served)
		}
		proof = b.ifHooked(gate.Wave, proof)
		return Step{
			Kind: kind, Target: target, Namespace: w.ns, Workloads: refs, Detach: b.detaching(kind, units), From: old, To: b.to, Pace: b.req.Pace,
			Why: why, Needs: needs, Proof: b.withRequests(proof), Soak: cmp.Or(w.soak, b.req.Soak), UndoFirst: undoFirst,
			Question: gate.Question{Workloads: refs, MinServed: b.req.MinServed, Counted: served, Windows: w.windows, FirstPods: kind == FirstPods || kind == Surge},
			Undo:     Undo{What: undo},
		}
	}
	units := w.units
	if b.surge {
		var more []unit
		more, units = surging(units)
		if len(more) > 0 {
			b.add(step(Surge, more, "one pod more of each, of the same template, beside the others; where an HPA owns the number its bounds make room", "the new pod goes"))
			needs = nil
		}
	}
	if several := inParts(units); len(several) > 0 {
		b.add(step(FirstPods, several, "one new pod of each workload that has several, beside the others", "back to the old pods"))
		needs = nil
	}
	b.add(step(Restart, w.units, w.why, "restart on "+old))
}

// surging are the workloads that can have a pod more, and the others: a Deployment
// makes it beside the old ones whatever its strategy; a StatefulSet's would have a
// name and a volume of its own.
func surging(units []unit) ([]unit, []unit) {
	var more, others []unit
	for _, u := range units {
		if u.w.Kind == mesh.KindDeployment && u.w.Replicas > 0 {
			more = append(more, u)
		} else {
			others = append(others, u)
		}
	}
	return more, others
}

// inParts are the workloads whose first pod can go ahead of the others.
func inParts(units []unit) []unit {
	var out []unit
	for _, u := range units {
		kind := u.w.Kind == mesh.KindDeployment || u.w.Kind == mesh.KindStatefulSet
		if kind && u.w.Replicas > 1 && u.w.Strategy == "RollingUpdate" {
			out = append(out, u)
		}
	}
	return out
}

// withRequests adds the gates that compare requests. A Prometheus that is asked only of
// what moved has nothing to say of a step that moves nobody. Without a probe there is
// none to ask; leaving it out was then the user's explicit choice (S-47).
func (b *builder) withRequests(proof []gate.Name) []gate.Name {
	if p := b.req.Prometheus; p != nil && (len(p.Asks()) > 0 || slices.Contains(proof, gate.Proxies)) {
		proof = append(proof, gate.Metrics)
	}
	if len(b.req.Sends()) > 0 {
		proof = append(proof, gate.Requests)
	}
	return proof
}

func (b *builder) moveTag(tag string) {
	from := mesh.DefaultRevision
	if t, ok := b.s.Tag(tag); ok {
		from = t.Revision
	}
	why := "what follows labels is proven; injector and Service move together, in place"
	if tag == mesh.DefaultTag {
		why = "the last of the tags: injector, Service, validator and the base release move together, in place"
	}
	var namespaces []string
	for _, n := range b.s.Namespaces {
		i := b.s.Injection(n.Labels, nil)
		follows := i.Tag == tag || b.scope.pin && tag == mesh.DefaultTag && i.Revision == mesh.DefaultRevision
		if _, labelled := b.nsOf(n.Name); follows || labelled && b.tagOf(n.Name) == tag {
			namespaces = append(namespaces, n.Name)
		}
	}
	b.tagMoved[tag] = b.add(Step{
		Kind: MoveTag, Target: tag, Tag: tag, From: from, To: b.to, Version: b.req.To, Why: why,
		Needs:    []gate.Name{gate.ControlPlane},
		Proof:    b.withRequests([]gate.Name{gate.Tags, gate.Injection}),
		Soak:     min(b.req.Soak, tagSoak),
		Question: b.asking(namespaces, tag),
		Undo:     Undo{What: "move back"},
	})
}

// restartFollowers restarts what follows only a tag, which has moved by now (S-9).
func (b *builder) restartFollowers() {
	for _, w := range b.followers() {
		b.restart(w, b.ifHooked(gate.ConfirmWave, []gate.Name{gate.ControlPlane}), b.tagMoved[w.units[0].tag])
	}
}

func (b *builder) restoreLabels(n nsMove) {
	if n.last == nil {
		return
	}
	b.add(Step{
		Kind: RestoreLabels, Target: n.name, Namespace: n.name, From: b.to, To: b.to, Before: currentOf(n), After: n.last,
		Why:      "what its labels name has moved underneath them: they end as they began",
		Proof:    []gate.Name{gate.Injection},
		Question: gate.Question{Namespaces: []string{n.name}, Old: n.from},
		Undo:     Undo{What: "label " + mesh.RevLabel + "=" + b.to},
	})
}

// currentOf are the labels that a restore finds: those the move left.
func currentOf(n nsMove) map[string]*string {
	now := map[string]*string{}
	for k := range n.last {
		now[k] = n.after[k]
	}
	return now
}

// removals adds the removal of each revision that nothing refers to once the
// other steps are done, and says of the others what keeps them.
func (b *builder) removals() {
	end := b.s.Clone()
	for _, st := range b.steps {
		simulate(&end, st)
	}
	end.Pods = slices.DeleteFunc(end.Pods, func(p mesh.Pod) bool { return p.Leaving })
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		refs := end.References(rev)
		switch {
		case b.req.Keep:
		case len(refs) > 0:
			b.find(codeKept, Warning, "revision "+rev, "it is not removed: "+listed(refs)+" would still rely on it",
				"move these, then plan again")
		case c.Owner.Kind != mesh.OwnerHelm && c.Owner.Kind != mesh.OwnerIstioctl && !b.planeOwner(c.Revision).Git():
			b.find(codeKept, Warning, "revision "+rev, "it is not removed: neither Helm nor istioctl says that it is theirs", "remove it with the tool that installed it")
		default:
			b.remove(c, end)
		}
	}
}

// removal says how a removed control plane comes back: the step keeps Helm's own
// record, or the objects that istioctl made.
func removal(c mesh.ControlPlane, git mesh.Owner) Undo {
	if git.Git() {
		return Undo{What: "declare it again"}
	}
	if c.Owner.Kind != mesh.OwnerHelm && c.Owner.Kind != mesh.OwnerIstioctl {
		return Undo{Irreversible: "install it again with the tool that made it"}
	}
	return Undo{What: "reinstall it as it was"}
}

// remove asks afterwards about every namespace that has come to the new revision.
func (b *builder) remove(c mesh.ControlPlane, end mesh.Snapshot) {
	var namespaces []string
	for _, n := range end.Namespaces {
		if end.Injection(n.Labels, nil).Revision == b.to {
			namespaces = append(namespaces, n.Name)
		}
	}
	b.add(Step{
		Kind: RemoveRevision, Target: c.Revision, From: c.Revision, To: b.to, Version: c.Version, Namespace: c.Namespace,
		Why:      "nothing relies on it any more",
		Needs:    []gate.Name{gate.NothingRefers, gate.Approval},
		Proof:    []gate.Name{gate.Injection},
		Question: b.asking(namespaces, b.scope.tags...),
		Undo:     removal(c, b.planeOwner(c.Revision)),
	})
}

// listed names up to three objects.
func listed(objects []mesh.Object) string {
	var out []string
	for _, o := range objects {
		name := o.Name
		if o.Namespace != "" {
			name = o.Namespace + "/" + name
		}
		out = append(out, strings.ToLower(o.Kind)+" "+name)
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("%d more", len(out)-3))
	}
	return strings.Join(out, ", ")
}
