package plan

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// maxRelease is how long Helm lets a release's name be.
const maxRelease = 53

// judgeMoves is about what the request says of gateways: all of it must be there,
// and able to move so.
func (b *builder) judgeMoves() {
	for i, m := range b.req.Gateways {
		b.judgeMove(fmt.Sprintf("gateways, entry %d", i+1), m)
	}
	for _, u := range slices.Concat(b.scope.all(), b.scope.stay, b.scope.rendered) {
		b.judgeNoCanary(u)
	}
	for _, c := range b.scope.canaries {
		b.judgeCanary(c)
	}
}

// judgeMove is about one entry by itself.
func (b *builder) judgeMove(object string, m GatewayMove) {
	switch {
	case !slices.Contains([]GatewayMethod{"", Canary, InPlace, Stay}, m.Method):
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("%q is no method", m.Method), "method: canary, in-place, or stay")
	case m.End != "" && m.End != EndOriginal && m.End != EndCanary:
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("%q is no end", m.End), "end: original, or canary")
	case m.Method != Canary && (m.End != "" || len(m.Stages) > 0):
		b.find(codeGatewayShape, Mandatory, object, "stages and end are a canary's", "method: canary")
	}
	if m.Workload != "*" && !slices.ContainsFunc(b.s.Gateways(), func(g mesh.Gateway) bool { return g.Ref.Namespace+"/"+g.Ref.Name == m.Workload }) {
		b.find(codeNamesNoObject, Mandatory, object, fmt.Sprintf("there is no gateway %q", m.Workload), "namespace/name of one, or *: serin gateway list")
	}
}

// judgeNoCanary says of a gateway that is asked to move by a second release why it cannot.
func (b *builder) judgeNoCanary(u unit) {
	g, ok := b.s.Gateway(u.w.Ref)
	m := b.req.moveOf(u.w)
	if !ok || m.Method != Canary {
		return
	}
	sev, more := Mandatory, ""
	if m.Workload == "*" {
		if g.Shape != mesh.ShapeHelm && g.Shape != mesh.ShapeInPlace {
			return // it has findings of its own
		}
		sev, more = Overridable, "; ignored, it restarts in place"
	}
	reason := fmt.Sprintf("it is %s, and only a release of the gateway chart has values for a second one", g.Shape)
	switch {
	case g.Shape == mesh.ShapeRendered:
		reason = "the image is in its template, which no injector changes" // S-33
	case u.w.Kind != mesh.KindDeployment:
		reason = fmt.Sprintf("it is a %s, and only a Deployment can be drained", u.w.Kind)
	case g.Owner.Git():
		reason = ownedBy(g.Owner) + ", which would take a second release away and scale the first back"
	case len(g.Services) == 0:
		reason = "no Service selects its pods: there is none for a second one to be behind"
	case g.Shape == mesh.ShapeHelm:
		reason = "where its labels lead is not for this upgrade to change"
	}
	b.find(codeGatewayShape, sev, "gateway "+g.Ref.String(), reason, "say of it method: in-place, or replace it by a release of the gateway chart"+more)
}

// judgeCanary refuses what a second release could not do, before anything is touched.
func (b *builder) judgeCanary(c canary) {
	object, release := "gateway "+c.g.Ref.String(), "release "+c.held.Namespace+"/"+c.held.Name
	if _, err := c.stages(); err != nil {
		b.find(codeGatewayShape, Mandatory, object, err.Error(), "stages: [1, 25%, 50%, 100%]")
	}
	if len(c.held.Name) > maxRelease {
		b.find(codeGatewayShape, Mandatory, release, fmt.Sprintf("its name would be longer than the %d letters that Helm takes", maxRelease), "choose a shorter one for the new revision: --revision")
	}
	_, released := b.s.Release(ownerOf(c.held))
	if _, there := b.s.Workload(c.second()); there || released {
		b.find(codeTaken, Mandatory, release, "it, or a Deployment of its name, is there", "serin gateway remove takes one that was added by hand away")
	}
	b.judgeScalers(c.g.Ref, object)
	for _, ref := range c.g.Beside {
		if w, _ := b.s.Workload(ref); w.Gated {
			b.find(codeTaken, Mandatory, "gateway "+ref.String(), "it is a second one behind the Service of "+c.g.Ref.String()+" already", "serin gateway remove "+ref.Name+" -n "+ref.Namespace)
		}
	}
	if !c.w.Settled {
		b.find(codeUnsettled, Overridable, object, "a rollout of it is under way", "wait until it has ended: kubectl -n "+c.w.Namespace+" rollout status")
	}
	b.judgeSelected(c.g, c.held)
	b.judgeLed(c)
	b.find(codeGatewayHeld, Info, release, "a pod of it that is made anew, by a drain or a node that fails, is held out of the Service until serin lets it in: by itself while it drives the run, by hand else",
		shiftIn(c.held.Name, c.held.Namespace))
}

// judgeScalers refuses two that size one gateway (S-30).
func (b *builder) judgeScalers(ref mesh.Ref, object string) {
	if n := len(slices.DeleteFunc(slices.Clone(b.s.Edge.Scalers), func(s mesh.Scaler) bool { return s.Target != ref })); n > 1 {
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("%d HorizontalPodAutoscalers size it: they would fight over it, and which is to rest is not for serin to guess", n), "leave one of them")
	}
}

// judgeLed evaluates who would inject the second gateway's pods once the new
// revision is there and the namespace's labels have moved (S-28).
func (b *builder) judgeLed(c canary) {
	s := b.s.Clone()
	simulate(&s, Step{Kind: InstallRevision, From: b.oldest(), To: b.to, Version: b.req.To})
	if n, ok := b.nsOf(c.w.Namespace); ok && c.moves {
		setLabels(&s, n.name, n.after)
	}
	w := c.w
	w.TemplateLabels = besideLabels(c.w, c.held)
	ns, _ := s.Namespace(w.Namespace)
	if i := s.InjectionOf(w); i.Revision != b.to || i.Conflict {
		b.find(codeNamesNothing, Mandatory, "gateway "+c.g.Ref.String(), fmt.Sprintf("the labels of namespace %s decide: %s would inject its second pods, not %s", ns.Name, i, b.to),
			"take "+mesh.RevLabel+" and "+mesh.InjectionLabel+" off the namespace, or say of the gateway method: in-place")
	}
}
