package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// namesTag refuses an operation on no tag. A file may ask for it, the command line never does.
func (b *builder) namesTag(o Operation) bool {
	if len(o.Tags) == 0 {
		b.find(codeNotPlanned, Mandatory, "request", "its operation "+string(o.Verb)+" names no tag", "name it: operation.tags")
	}
	return len(o.Tags) > 0
}

// opTagSet makes a tag or moves one, all its parts together (S-2). A default tag
// that stands in for an unrevisioned injector is pinned to it first (S-1).
func (b *builder) opTagSet(o Operation) {
	if !b.namesTag(o) {
		return
	}
	tag := o.Tags[0]
	there := b.goTo(o.Revision)
	b.judgeTagName(tag)
	b.judgeTagFlags(o)
	t, exists := b.s.Tag(tag)
	if exists {
		b.judgeTagMove(t)
	}
	if !there || b.blocked() {
		return
	}
	if exists && t.Revision == b.to {
		if b.overlapped(tag) {
			b.setTag(tag, b.to, o)
		}
		return
	}
	switch {
	case exists:
		b.moveOne(t.Name, t.Revision)
	case b.overlapped(tag):
		b.pinDefault()
		if b.to != mesh.DefaultRevision {
			b.moveOne(tag, mesh.DefaultRevision)
		}
	default:
		b.setTag(tag, b.to, o)
	}
	b.along(tag)
}

// judgeTagFlags refuses what only a tag that is made anew can have: one that is
// there moves in place, and so does the default that stands in for an injector.
func (b *builder) judgeTagFlags(o Operation) {
	tag := o.Tags[0]
	in := mesh.TagInjector(tag, o.Revision, b.s.IstioNamespace)
	i := slices.IndexFunc(b.s.Injectors, func(x mesh.Injector) bool { return x.Tag == tag })
	switch {
	case i >= 0:
		in = b.s.Injectors[i]
	case !b.overlapped(tag):
		return
	}
	if o.WebhookName != "" && o.WebhookName != in.Name {
		b.find(codeTagFlags, Mandatory, "tag "+tag, "--webhook-name "+o.WebhookName+": its injector is "+in.Name+", and is changed in place", "leave --webhook-name out")
	}
	if o.AutoInject && !slices.ContainsFunc(in.Webhooks, func(w mesh.Webhook) bool { return w.Name == autoEntry }) {
		b.find(codeTagFlags, Mandatory, "tag "+tag, "--auto-inject-namespaces: its injector has no entry for namespaces without labels, and keeps its selectors", "leave it out, or set enableNamespacesByDefault in the values of the revision")
	}
}

// autoEntry is the entry that takes pods of namespaces without labels (R§1.1).
const autoEntry = "auto.sidecar-injector.istio.io"

// judgeTagName refuses names that two injectors would answer to, in whichever
// order they came (R§2.2: istioctl's --overwrite lets it pass).
func (b *builder) judgeTagName(tag string) {
	object := "tag " + tag
	if !dnsLabel.MatchString(tag) || len(mesh.TagServiceName(tag)) > maxLabel {
		b.find(codeTagName, Mandatory, object, "it is no DNS label of at most 43 letters: lower-case letters, digits and dashes", "choose another name")
	}
	if c, ok := b.s.ControlPlane(tag); ok && tag != mesh.DefaultTag {
		b.find(codeTagName, Mandatory, object, "a revision has this name, at "+c.Version+": two injectors would answer to it", "choose another name")
	}
}

// judgeTagMove is about a tag that is there: whether serin may change it, and
// that its parts agree, or it would hide which of them is right (S-2).
func (b *builder) judgeTagMove(t mesh.Tag) {
	object := "tag " + t.Name
	if t.Split || t.Injector == "" {
		reason := "its parts disagree: " + parts(t)
		if t.Injector == "" {
			reason = "it has a Service, of revision " + t.Service + ", and no injector"
		}
		b.find(codeSplit, Mandatory, object, reason, "serin tag repair "+t.Name)
	}
	b.judgeTagOwner(t)
}

func (b *builder) judgeTagOwner(t mesh.Tag) {
	object := "tag " + t.Name
	switch {
	case t.Owner.Kind == mesh.OwnerHelm:
		b.find(codeHelmTag, Mandatory, object, ownedBy(t.Owner)+", as its value revisionTags: what serin did the next helm upgrade would undo",
			"change revisionTags there; to hand the tag over, take \""+t.Name+"\" out of it and keep the object: kubectl annotate mutatingwebhookconfiguration "+t.Injector+" helm.sh/resource-policy=keep")
	case t.Owner.Git():
		b.find(codeGitOpsTag, Mandatory, object, ownedBy(t.Owner)+", which would undo it",
			"commit there what serin tag generate "+t.Name+" --revision REVISION prints")
	}
	if v, ok := b.s.DefaultValidator(); ok && t.Name == mesh.DefaultTag && v.Owner.Git() {
		b.find(codeGitOpsTag, Mandatory, "validator "+v.Name, ownedBy(v.Owner)+", which would move it back", "set defaultRevision of the base chart there")
	}
}

// unrevisioned says whether a control plane without a revision injects by itself.
func (b *builder) unrevisioned() bool {
	return slices.ContainsFunc(b.s.Injectors, func(i mesh.Injector) bool { return i.Tag == "" && i.Revision == mesh.DefaultRevision && !i.IsOff() })
}

// overlapped says whether the unrevisioned injector is on beside the default tag (S-1).
func (b *builder) overlapped(tag string) bool { return tag == mesh.DefaultTag && b.unrevisioned() }

// setTag makes a tag, or lets all parts of one lead to the revision.
func (b *builder) setTag(tag, rev string, o Operation) {
	t, exists := b.s.Tag(tag)
	st := Step{
		Kind: SetTag, Target: tag, Tag: tag, From: rev, To: rev, Version: b.req.To, Injector: o.WebhookName, Auto: o.AutoInject,
		Why:   "injector, Service and, for the default, validator; nothing follows it before it is whole",
		Proof: []gate.Name{gate.Tags}, Undo: Undo{What: "remove it"},
	}
	if exists {
		st.From, st.Why = t.Revision, "its parts lead to one revision again; the one that its injector calls keeps injecting meanwhile"
		st.Undo = Undo{Nothing: true, What: "a split tag is not made again"}
	}
	end := b.after()
	simulate(&end, st)
	st.Question = b.asksOf(b.led(end, tag))
	st.Question.Tag = tag
	if len(st.Question.Namespaces) > 0 {
		st.Proof = append(st.Proof, gate.Injection)
	}
	b.leave(st.From)
	b.lead(st)
}

// led are the namespaces and workloads that a tag leads, once the mesh is so.
func (b *builder) led(end mesh.Snapshot, tag string) ([]string, []mesh.Ref) {
	var namespaces []string
	var workloads []mesh.Ref
	for _, n := range end.Namespaces {
		if end.Injection(n.Labels, nil).Tag == tag {
			namespaces = append(namespaces, n.Name)
		}
	}
	for _, w := range end.Workloads {
		if end.InjectionOf(w).Tag == tag {
			workloads = append(workloads, w.Ref)
		}
	}
	return namespaces, workloads
}

// moveOne moves a tag that is there. A person says yes to it first (S-5).
func (b *builder) moveOne(tag, from string) {
	end := b.after()
	st := Step{
		Kind: MoveTag, Target: tag + " -> " + b.to, Tag: tag, From: from, To: b.to, Version: b.req.To,
		Why:   "injector and Service, and the validator of the default, move together, in place",
		Needs: []gate.Name{gate.ControlPlane, gate.Approval}, Proof: b.withRequests([]gate.Name{gate.Tags}),
		Soak: min(b.req.Soak, tagSoak), Undo: Undo{What: "move back"},
	}
	simulate(&end, st)
	st.Question = b.asksOf(b.led(end, tag))
	st.Question.Tag = tag
	if len(st.Question.Namespaces) > 0 {
		st.Proof = append(st.Proof, gate.Injection)
	}
	b.leave(from)
	b.lead(st)
}

// along says what moves with the tag: which namespaces and workloads with their
// next pods, and which managed Gateways roll at once (S-5).
func (b *builder) along(tag string) {
	if tag == mesh.DefaultTag && b.s.IstioNamespace != "istio-system" {
		b.find(codeOtherSpace, Warning, "tag "+tag, "the mesh is outside istio-system: elections do not see this tag, so that it claims no locks", "")
	}
	end := b.after()
	moved := b.changesOf(end)
	for _, o := range moved.lost {
		b.find(codeFollowed, Mandatory, objectName(o), "nobody would inject its pods any more", "serin explains it: serin explain")
	}
	if len(moved.namespaces) > 0 {
		b.find(codeAlong, Info, "tag "+tag, "the next pods of "+mesh.Count(len(moved.namespaces), "namespace")+" come from "+b.to+": "+named(moved.namespaces), "restart what is there: serin restart -n "+moved.namespaces[0])
	}
	var own []string
	for _, ref := range moved.workloads {
		if ns, _ := b.s.Namespace(ref.Namespace); !ns.Labelled() {
			own = append(own, ref.String())
		}
	}
	if len(own) > 0 {
		b.find(codeAlong, Info, "tag "+tag, "so do those of "+mesh.Count(len(own), "workload")+" that name it themselves: "+named(own), "")
	}
	b.judgeManaged(end)
}

// judgeManaged finds the managed Gateways that change their owner: their istiod
// would roll them at once, losing requests (R§9.3).
func (b *builder) judgeManaged(end mesh.Snapshot) {
	for _, g := range b.s.ManagedGateways {
		was, is := b.s.GatewayRevision(g), end.GatewayRevision(g)
		if was != is {
			b.find(codeManagedRolls, Overridable, "gateway "+g.Namespace+"/"+g.Name,
				fmt.Sprintf("it goes from %s to %s at once: it rolls, and loses requests while it has no configuration (Istio's issue 59959)", was, is),
				"give it a label of its own first: kubectl -n "+g.Namespace+" label gateway "+g.Name+" "+mesh.RevLabel+"="+was)
		}
	}
}

// opTagRemove removes tags. What would be left without an injector stands in the way.
func (b *builder) opTagRemove(o Operation) {
	if !b.namesTag(o) {
		return
	}
	for _, tag := range o.Tags {
		t, ok := b.s.Tag(tag)
		if !ok {
			b.find(codeNamesNoObject, Mandatory, "tag "+tag, "there is none of this name; there are "+oneOf(b.tagNames()), "serin tag list")
			continue
		}
		b.judgeTagOwner(t)
		b.removeTag(t)
	}
	b.judgeTagsGone()
}

func (b *builder) removeTag(t mesh.Tag) {
	tag := t.Name
	st := Step{
		Kind: RemoveTag, Target: tag, Tag: tag, From: t.Revision, To: t.Revision,
		Why: "nothing follows it", Needs: []gate.Name{gate.Approval}, Undo: Undo{What: "make it again"},
	}
	if v, ok := b.s.DefaultValidator(); tag == mesh.DefaultTag && ok && v.Owner.Kind == mesh.OwnerHelm {
		b.find(codeAlong, Info, "validator "+v.Name, "it stays: "+ownedBy(v.Owner), "")
	}
	if t.Revision == mesh.DefaultRevision && tag == mesh.DefaultTag {
		st.Why = "the unrevisioned injector is switched on first, and takes over"
		st.Question, st.Proof = b.asksOf(b.led(b.s, tag)), []gate.Name{gate.Injection}
	}
	if c, ok := b.s.ControlPlane(t.Revision); ok {
		st.Version = c.Version
	}
	b.add(st)
}

// judgeTagsGone finds what followed the tags that are removed.
func (b *builder) judgeTagsGone() {
	end := b.after()
	gone := b.changesOf(end)
	for _, ns := range gone.namespaces { // another injector would take over, and not the one that people chose
		b.find(codeFollowed, Mandatory, "namespace "+ns, "its next pods would come from another revision", "serin move "+ns+" --to REVISION")
	}
	for _, w := range gone.workloads {
		b.find(codeFollowed, Mandatory, "workload "+w.String(), "its next pods would come from another revision", "label its pods otherwise")
	}
	for _, o := range gone.lost {
		remedy := "label its pods otherwise"
		if o.Kind == "Namespace" {
			remedy = "serin move " + o.Name + " --to REVISION"
		}
		b.find(codeFollowed, Mandatory, objectName(o), "it follows the tag: nobody would inject its pods any more", remedy)
	}
	for _, g := range b.s.ManagedGateways {
		if b.s.GatewayRevision(g) != end.GatewayRevision(g) {
			b.find(codeFollowed, Mandatory, "gateway "+g.Namespace+"/"+g.Name, "it follows the tag: nobody would deploy it any more", "label it otherwise")
		}
	}
}

// opTagRepair lets all parts of split tags lead to one revision: the one that is
// named, else the one whose injector answers now, so that nothing moves.
func (b *builder) opTagRepair(o Operation) {
	tags := o.Tags
	if len(tags) == 0 {
		tags = b.tagNames()
	}
	for _, tag := range tags {
		t, ok := b.s.Tag(tag)
		if !ok {
			b.find(codeNamesNoObject, Mandatory, "tag "+tag, "there is none of this name; there are "+oneOf(b.tagNames()), "serin tag list")
			continue
		}
		b.repairTag(t, o)
	}
	if !b.blocked() {
		b.judgeManaged(b.after())
	}
}

func (b *builder) repairTag(t mesh.Tag, o Operation) {
	tag := t.Name
	whole := !t.Split && t.Injector != "" && b.s.Serves(t.Revision) && !b.overlapped(tag)
	to := cmp.Or(o.Revision, t.Revision)
	if whole && to == t.Revision {
		return
	}
	if whole || to != t.Revision && b.s.Serves(t.Revision) && t.Injector != "" {
		b.find(codeAlong, Info, "tag "+tag, "it moves from "+t.Revision+" to "+to+": the next pods of what follows it come from there", "")
	}
	b.judgeTagOwner(t)
	if b.goTo(to) {
		b.setTag(tag, to, o)
	}
}

func (b *builder) tagNames() []string {
	var out []string
	for _, t := range b.s.Tags() {
		out = append(out, t.Name)
	}
	return out
}

func objectName(o mesh.Object) string {
	return strings.ToLower(o.Kind) + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
}

// named names up to five.
func named(words []string) string {
	if len(words) > 5 {
		return strings.Join(words[:5], ", ") + fmt.Sprintf(" and %d more", len(words)-5)
	}
	return strings.Join(words, ", ")
}
