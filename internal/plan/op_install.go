package plan

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/serin-mesh/serin/internal/fields"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// opInstall installs a control plane, the base chart or a gateway: what is there
// stays as it is, or it is refused (R§2.4, R§9.1).
func (b *builder) opInstall(o Operation) {
	if o.Kept != nil {
		b.restoreRevision(o)
		return
	}
	if _, err := skew.Parse(b.req.To); err != nil {
		b.find(codeVersion, Mandatory, "request", err.Error(), "give a version: --version 1.29.1")
	}
	if _, ok := b.s.Namespace(b.s.IstioNamespace); !ok {
		b.find(codeNamesNoObject, Mandatory, "namespace "+b.s.IstioNamespace, "it is not there", "--create-namespace makes it")
	}
	switch o.Chart {
	case "base":
		b.installBase(o)
	case "istiod":
		b.installIstiod(o)
	case "gateway":
		b.installGateway(o)
	default:
		b.find(codeNotPlanned, Mandatory, "request", "serin does not install "+o.Chart, "one of base, istiod, gateway")
	}
}

func (b *builder) installBase(o Operation) {
	want := mesh.Release{Namespace: b.s.IstioNamespace, Name: cmp.Or(o.Name, "istio-base"), Chart: "base", Version: b.req.To, Values: b.req.Values}
	base, ok := b.s.Base()
	switch {
	case ok && installed(base, want):
		return
	case ok && len(want.Values) == 0 && olderThan(base.Version, want.Version):
		b.upgradeBaseAlone(base)
		return
	case ok && olderThan(base.Version, want.Version):
		b.find(codeTaken, Mandatory, "release "+base.Namespace+"/"+base.Name, "it is there, with values of its own, which stay as they are when it goes to "+want.Version, "leave values out; defaultRevision moves with serin tag set default")
	case ok && sameVersion(base.Version, want.Version) && len(want.Values) == 0:
		return
	case ok:
		b.find(codeTaken, Mandatory, "release "+base.Namespace+"/"+base.Name, "the base chart is installed, at "+base.Version+": its CRDs serve every revision", "give a version that is newer, without values, to upgrade it")
	}
	b.judgeSplitDefault(want)
	b.judgeKnown("request", fields.Base, b.req.Values, Overridable)
	b.add(Step{
		Kind: InstallChart, Target: want.Namespace + "/" + want.Name, Version: want.Version, Namespace: want.Namespace, Release: &want,
		Why: "the CRDs, and the validator of the default revision", Proof: []gate.Name{gate.CRDs}, Undo: Undo{What: "uninstall; CRDs stay"},
	})
}

// upgradeBaseAlone brings the CRDs to a release before the first revision needs them.
func (b *builder) upgradeBaseAlone(base mesh.Release) {
	b.add(Step{
		Kind: UpgradeBase, Target: base.Name, Version: b.req.To, Namespace: base.Namespace,
		Why:   fmt.Sprintf("the CRDs of %s serve every revision; values stay as they are, defaultRevision %q too", b.req.To, base.DefaultRevisionValue()),
		Proof: []gate.Name{gate.CRDs}, Undo: Undo{What: "CRDs stay (additive)", Nothing: true},
	})
}

// judgeSplitDefault refuses a base chart whose validator would take the place of a tag's.
func (b *builder) judgeSplitDefault(want mesh.Release) {
	if v, ok := b.s.DefaultValidator(); ok && v.Owner.Kind != mesh.OwnerHelm && want.DefaultRevisionValue() != "" {
		b.find(codeTaken, Mandatory, "validator "+v.Name, "it is there, of revision "+v.Revision+", and no release owns it: the chart would collide with it", "let the chart render none: --set defaultRevision=")
	}
}

// installed says whether a release is what is wanted already.
func installed(is, want mesh.Release) bool {
	return is.Chart == want.Chart && sameVersion(is.Version, want.Version) && is.Status == "deployed" &&
		encoded(orNil(is.Values)) == encoded(orNil(want.Values))
}

func orNil(v map[string]any) map[string]any {
	if len(v) == 0 {
		return nil
	}
	return v
}

// installIstiod installs a control plane beside what is there. Nothing follows
// it: the default stays where it is, and gateways are not touched.
func (b *builder) installIstiod(o Operation) {
	b.to = cmp.Or(o.Revision, mesh.DefaultRevision)
	if c, there := b.s.ControlPlane(b.to); there && sameVersion(c.Version, b.req.To) {
		return
	}
	b.judgeInstall(o)
	if b.blocked() {
		return
	}
	if o.From != "" {
		b.from = []string{o.From}
	}
	why := "the first control plane"
	if len(b.s.ControlPlanes) > 0 {
		why = "beside " + strings.Join(b.s.Revisions(), ", ") + ": nothing follows it yet; gateways stay as they are"
		b.find(codeAlong, Info, "revision "+b.to, "it injects and validates; nothing follows it yet, gateways neither", "serin tag set TAG --revision "+b.to+", serin move NAMESPACE --to "+b.to)
	}
	n := b.add(Step{
		Kind: InstallRevision, Target: mesh.IstiodName(b.to), From: o.From, To: b.to, Version: b.req.To, Namespace: b.s.IstioNamespace,
		Owner: b.newOwner(), Why: why, Proof: []gate.Name{gate.ControlPlane}, Undo: Undo{What: "uninstall"},
	})
	if o.From == "" {
		b.steps[n-1].Question.Istiods = 1 // the user's own values say how many
	}
}

// judgeInstall finds what an install would take away from what is there.
func (b *builder) judgeInstall(o Operation) {
	object := "revision " + b.to
	if b.to != mesh.DefaultRevision {
		b.judgeTarget()
	} else if t, ok := b.s.Tag(mesh.DefaultTag); ok {
		b.find(codeTaken, Mandatory, object, "the default tag leads to "+t.Revision+": an unrevisioned istiod's injector would take pods that follow it", "give the new one a name: --revision "+RevisionName(b.req.To))
	}
	c, there := b.s.ControlPlane(b.to)
	if there && b.to == mesh.DefaultRevision {
		b.find(codeTaken, Mandatory, object, "it is there, at "+c.Version+": an upgrade in place has no way back", "install beside it: --revision "+RevisionName(b.req.To)+"; serin plan --to "+b.req.To+" does the whole")
	}
	b.judgeInstallBase()
	b.judgeLabelledAlready()
	if o.From != "" {
		b.judgeCarried(o.From)
	} else if len(b.s.ControlPlanes) > 0 && b.req.Operator == nil {
		b.find(codeCleaned, Warning, object, "it starts with the chart's own values and yours alone: mesh config and values of "+b.s.ControlPlanes[0].Revision+" are not carried over",
			"carry them over: --from-revision "+b.s.ControlPlanes[0].Revision)
	}
	b.judgeGivenValues()
	b.judgeOperator(o)
	if !there {
		b.judgeReleaseName()
	}
}

// judgeGivenValues is about values of the user's own that name a revision.
func (b *builder) judgeGivenValues() {
	b.judgeKnown("request", fields.Istiod, b.req.Values, Overridable)
	for _, path := range append([]string{"revision", "revisionTags", "defaultRevision"}, addresses()...) {
		if value(b.req.Values, path) != nil {
			b.find(codeCleaned, Warning, "request", "its value "+path+" names a revision or an istiod: make sure that it fits "+b.to, "")
		}
	}
	if tags, _ := value(b.req.Values, "revisionTags").([]any); len(tags) > 0 {
		b.find(codeHelmTag, Mandatory, "request", "its value revisionTags would let this release own tags: they cannot move to another one without a moment with none", "set them by themselves: serin tag set TAG --revision "+b.to)
	}
}

// judgeOperator is about an IstioOperator file: where it installs, and the tags it
// would own.
func (b *builder) judgeOperator(o Operation) {
	if b.req.Operator == nil {
		return
	}
	if o.From != "" {
		b.find(codeTaken, Mandatory, "request", "an IstioOperator file says all that is installed: values of "+o.From+" would be mixed with it", "give one of the two: the file, or --from-revision")
	}
	if ns, _ := value(b.req.Operator, "spec.values.global.istioNamespace").(string); ns != "" && ns != b.s.IstioNamespace {
		b.find(codeOtherMesh, Mandatory, "request", "its spec.values.global.istioNamespace is "+ns+", and the mesh is in "+b.s.IstioNamespace, "name it: --istio-namespace "+ns)
	}
	if tags, _ := value(b.req.Operator, "spec.values.revisionTags").([]any); len(tags) > 0 {
		b.find(codeHelmTag, Mandatory, "request", "its spec.values.revisionTags would make tags that move at once", "set them by themselves: serin tag set TAG --revision "+b.to)
	}
}

// judgeReleaseName refuses the name of a release that is not the revision's.
func (b *builder) judgeReleaseName() {
	for _, r := range b.s.Releases {
		if r.Namespace == b.s.IstioNamespace && r.Name == mesh.IstiodName(b.to) && r.Status == "deployed" {
			b.find(codeTaken, Mandatory, "release "+r.Namespace+"/"+r.Name, "Helm has a release of this name, of chart "+r.Chart, "uninstall it, or choose another name: --revision")
		}
	}
}

// judgeInstallBase is about the CRDs, without which an istiod does not start.
func (b *builder) judgeInstallBase() {
	base, ok := b.s.Base()
	switch {
	case !ok && len(b.s.CRDs) == 0:
		b.find(codeNoBase, Mandatory, "release istio-base", "there are no CRDs of Istio: istiod would not become ready", "serin install base --version "+b.req.To)
	case ok && olderThan(base.Version, b.req.To):
		b.find(codeBaseOlder, Warning, "release "+base.Namespace+"/"+base.Name, "it is at "+base.Version+": fields that are new in "+b.req.To+" are not served before it is upgraded", "serin install base --version "+b.req.To+" does it")
	}
}

// judgeLabelledAlready finds what would follow the new revision from its first
// moment: labels that name it while nothing answers.
func (b *builder) judgeLabelledAlready() {
	if b.to == mesh.DefaultRevision {
		return
	}
	for _, n := range b.s.Namespaces {
		if n.Labels[mesh.RevLabel] == b.to {
			b.find(codeAlong, Warning, "namespace "+n.Name, "its label names "+b.to+" already: its next pods get a sidecar of it at once", "")
		}
	}
}

// judgeCarried shows what is carried over and what is not (S-15).
func (b *builder) judgeCarried(from string) {
	object := "revision " + from
	c, ok := b.s.ControlPlane(from)
	if !ok {
		b.find(codeNamesNoObject, Mandatory, object, "no control plane has this name; there are "+oneOf(b.s.Revisions()), "name one that is there")
		return
	}
	b.judgeOlder(c)
	r, ok := b.s.Release(c.Owner)
	if !ok {
		b.find(codeNotHelm, Warning, object, "no Helm release owns it: the values that its chart keeps in a ConfigMap are carried over", "")
		return
	}
	b.judgeKnown("release "+r.Namespace+"/"+r.Name, fields.Istiod, r.Values, Warning)
	for _, path := range append([]string{"revision", "revisionTags", "defaultRevision", "global.tag", "global.hub", "pilot.tag"}, addresses()...) {
		switch v := value(r.Values, path); {
		case v == nil:
		case path == "global.hub":
			b.find(codeCleaned, Info, "release "+r.Namespace+"/"+r.Name, fmt.Sprintf("its value %s=%v is carried over: it is where images come from", path, v), "")
		default:
			b.find(codeCleaned, Info, "release "+r.Namespace+"/"+r.Name, fmt.Sprintf("its value %s=%v belongs to that revision: it is not carried over", path, v), "")
		}
	}
}

func (b *builder) judgeOlder(c mesh.ControlPlane) {
	for _, r := range skew.Judge(c.Version, b.req.To, b.s) {
		code, sev := skewFinding(r)
		if code == codeDowngrade { // an older revision beside a newer one is how people go back
			sev = Warning
		}
		b.find(code, sev, r.Object, r.Reason, r.Remedy)
	}
}

// installGateway installs a gateway release of its own: one that is there is
// never renewed by it.
func (b *builder) installGateway(o Operation) {
	want := mesh.Release{Namespace: o.Namespace, Name: o.Name, Chart: "gateway", Version: b.req.To, Values: b.req.Values}
	object := "release " + want.Namespace + "/" + want.Name
	b.judgeKnown("request", fields.Gateway, b.req.Values, Overridable)
	if r, ok := b.s.Release(ownerOf(want)); ok {
		if installed(r, want) {
			return
		}
		b.find(codeTaken, Mandatory, object, "it is there: chart "+r.Chart+" "+r.Version+"; an install in its place would replace its pods while they serve", "choose another name")
	}
	if w, ok := b.s.Workload(mesh.Ref{Kind: mesh.KindDeployment, Namespace: want.Namespace, Name: want.Name}); ok && w.Owner != ownerOf(want) {
		b.find(codeTaken, Mandatory, "workload "+w.String(), "it is there, and no release of this name has made it", "choose another name")
	}
	i, ok := b.judgeGatewayInjection(want)
	if !ok || !b.goTo(i.Revision) {
		return
	}
	version := want.Version
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: want.Namespace, Name: want.Name}
	n := b.lead(Step{
		Kind: InstallChart, Target: want.Namespace + "/" + want.Name, To: i.Revision, Version: version, Namespace: want.Namespace, Release: &want,
		Why: "injected by " + i.String(), Needs: []gate.Name{gate.ControlPlane}, Proof: []gate.Name{gate.RolledOut, gate.Proxies},
		Question: gate.Question{Workloads: []mesh.Ref{ref}}, Undo: Undo{What: "uninstall"},
	})
	b.req.To = version
	b.steps[n-1].Workloads = []mesh.Ref{ref}
}

// judgeGatewayInjection is who will inject a gateway's pods: it must be one, and
// the one that its values name.
func (b *builder) judgeGatewayInjection(want mesh.Release) (mesh.Injection, bool) {
	object := "release " + want.Namespace + "/" + want.Name
	ns, ok := b.s.Namespace(want.Namespace)
	if !ok {
		b.find(codeNamesNoObject, Mandatory, "namespace "+want.Namespace, "it is not there", "--create-namespace makes it")
	}
	labels := map[string]string{mesh.InjectLabel: "true"}
	rev, _ := want.Values["revision"].(string)
	if rev != "" {
		labels[mesh.RevLabel] = rev
	}
	i := b.s.Injection(ns.Labels, labels)
	switch {
	case i.None() || i.Conflict:
		b.find(codeNamesNothing, Mandatory, object, "nobody, or not one alone, would inject its pods: they would start with the image \"auto\", which is none", "name a revision or a tag: --revision")
		return i, false
	case rev != "" && b.s.Resolve(rev) != i.Revision: // S-28
		b.find(codeNamesNothing, Mandatory, object, "the labels of namespace "+ns.Name+" decide: "+i.String()+" would inject it, not "+rev, "use a namespace without "+mesh.RevLabel+" and "+mesh.InjectionLabel)
		return i, false
	}
	return i, true
}
