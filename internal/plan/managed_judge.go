package plan

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

// oldestManaged is the first release whose gateways can be rendered apart from
// their Gateway: from then on a parametersRef is heeded.
const oldestManaged = "1.26.0"

// managedMove is a Gateway that istiod deploys, and how it moves.
type managedMove struct {
	g    mesh.GatewayObject
	ref  mesh.Ref // its Deployment
	from string   // the revision that deploys it
	own  *string  // its label istio.io/rev; nil where it has none
	last *string  // and at the end
}

// judgeManagedGateways finds the managed Gateways that the plan would move. Those
// that it cannot move without losing requests stand in the way (S-6, S-20 to S-27).
func (b *builder) judgeManagedGateways() {
	for _, o := range b.s.ManagedGateways {
		rev := b.s.GatewayRevision(o)
		if !b.leaves(rev) {
			continue
		}
		m, why := b.managed(o, rev)
		if why != "" {
			b.refuseManaged(o, why)
			continue
		}
		b.scope.managed = append(b.scope.managed, m)
		b.judgeClasses(m)
		if w, _ := b.s.Workload(m.ref); w.MaxUnavailable > 0 {
			b.find(codeGatewayDips, Warning, "gateway "+o.Namespace+"/"+o.Name, fmt.Sprintf("up to %d of its pods may be away while it rolls", w.MaxUnavailable),
				"the Deployment is istiod's: fewer than four replicas, or a strategy of your own by spec.infrastructure.parametersRef, keep all of them")
		}
	}
}

// judgeClasses finds a default of the Gateway's class that would change with the
// removal of the old revision: of several such ConfigMaps istiods read the oldest,
// so that until then nothing can be rendered from the new one, and then every
// Gateway is rendered again at once (S-26).
func (b *builder) judgeClasses(m managedMove) {
	if b.req.Keep {
		return
	}
	c, _ := b.s.ControlPlane(m.from)
	old, known := b.s.Release(c.Owner)
	asked, given := b.req.Values[gatewayClasses]
	if b.req.Operator != nil {
		asked, given, known = at(b.req.Operator, "spec", "values", gatewayClasses), true, known || c.Owner.Kind != mesh.OwnerIstioctl
	}
	if next, there := b.s.ControlPlane(b.to); there {
		r, has := b.s.Release(next.Owner)
		asked, given, known = r.Values[gatewayClasses], has, known && has
	}
	object := "gateway " + m.g.Namespace + "/" + m.g.Name
	switch {
	case given && known && encoded(asked) != encoded(old.Values[gatewayClasses]):
		b.find(codeClasses, Overridable, object, "the value "+gatewayClasses+" of "+b.to+" is not that of "+m.from+", and istiods read the oldest until that one is removed: then it would be rendered again, and rolled, at once",
			"upgrade with the values as they are, and change "+gatewayClasses+" afterwards; or keep the old revision for now: --keep")
	case given && !known && asked != nil:
		b.find(codeClasses, Overridable, object, "the file has a value "+gatewayClasses+", and whether "+m.from+" has the same cannot be told: if not, it would be rendered again, and rolled, at once when that one is removed",
			"compare it with ConfigMap values of "+b.s.IstioNamespace+"; or keep the old revision for now: --keep")
	}
}

// gatewayClasses is the value of the istiod chart that has defaults of classes.
const gatewayClasses = "gatewayClasses"

// at is a value within maps, nil where there is none.
func at(m map[string]any, path ...string) any {
	var v any = m
	for _, k := range path {
		in, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = in[k]
	}
	return v
}

func (b *builder) refuseManaged(o mesh.Object, why string) {
	b.find(codeManagedGateway, Mandatory, "gateway "+o.Namespace+"/"+o.Name,
		"istiod of "+b.s.GatewayRevision(o)+" would roll it at once when its label or tag moves, losing requests, and serin cannot move it first: "+why,
		"mend that, or label it with a revision that stays: kubectl -n "+o.Namespace+" label gateway "+o.Name+" --overwrite "+mesh.RevLabel+"=REVISION")
}

// managed says how a Gateway moves, or the first reason why it cannot.
func (b *builder) managed(o mesh.Object, rev string) (managedMove, string) {
	g, _ := b.s.GatewayObject(o.Namespace, o.Name)
	m := managedMove{g: g, from: rev}
	ref, why := unmoved(b.s, g)
	if m.ref = ref; why != "" {
		return m, why
	}
	if t := b.declared(g.Owner); t.Git() {
		return m, "it stands in Git (" + t.String() + "), which would write its label back while it moves"
	}
	old, _ := b.s.ControlPlane(rev)
	for _, v := range []string{old.Version, b.req.To} {
		if olderThan(v, oldestManaged) {
			return m, "Istio " + v + " does not heed its parametersRef, by which its new pods are rendered apart: that is so from " + oldestManaged + " on"
		}
	}
	if g.Revision != "" {
		own := g.Revision
		m.own, m.last = &own, &own
		if !b.isTag(own, b.scope) { // it names the revision itself, which goes
			m.last = &b.to
		}
	}
	if b.byDefaultToItsEnd(m) && b.req.Keep {
		return m, "it follows the default, which the istiod of revision default claims as long as it lives, and the request keeps that one"
	}
	return m, ""
}

// unmoved is the Gateway's Deployment, and why it cannot take a new pod beside its
// old ones under a label of serin's.
func unmoved(s mesh.Snapshot, g mesh.GatewayObject) (mesh.Ref, string) {
	switch {
	case g.Name == "":
		return mesh.Ref{}, "nothing is known of it but its name"
	case g.Frozen != "":
		return mesh.Ref{}, "it is frozen (" + mesh.VersionAnnotation + ": " + g.Frozen + "), by another run or by hand: serin repair mends what a run has left"
	case g.Controller == mesh.ControllerWaypoint:
		return mesh.Ref{}, "it is a waypoint, of an ambient mesh: its clients are ztunnels, in tunnels that end with its pods, no gate of serin's sees whether requests in them are lost, and ambient is not moved by serin"
	case g.Controller != mesh.ControllerGateway:
		return mesh.Ref{}, "its class " + g.Class + " is of the controller " + g.Controller + ", whose gateways serin has not learnt to move"
	case g.Parameters != "":
		return mesh.Ref{}, "its spec.infrastructure.parametersRef (" + g.Parameters + ") has a say in its Deployment, which serin cannot render yet"
	}
	ref, ok := s.DeploymentOf(g)
	if !ok {
		return mesh.Ref{}, "nothing is deployed for it"
	}
	w, _ := s.Workload(ref)
	switch {
	case w.Paused:
		return w.Ref, "its Deployment " + w.String() + " is paused"
	case !w.Settled:
		return w.Ref, "a rollout of its Deployment " + w.String() + " is under way"
	}
	return w.Ref, dips(w)
}

// byDefaultToItsEnd says whether the Gateway ends with no label but the default
// one, and comes from a revision of that name: that claims it while it is there,
// whatever the tag says (S-24, R§4).
func (b *builder) byDefaultToItsEnd(m managedMove) bool {
	if !b.leaves(mesh.DefaultRevision) {
		return false
	}
	if m.last != nil {
		return *m.last == mesh.DefaultTag
	}
	ns, _ := b.s.Namespace(m.g.Namespace)
	rev := ns.Labels[mesh.RevLabel]
	return rev == "" || rev == mesh.DefaultTag
}

// managedOutlook says what an upgrade would do to a Gateway that istiod deploys.
func managedOutlook(s mesh.Snapshot, g mesh.Gateway) string {
	for _, o := range g.Serves {
		if _, why := unmoved(s, o); o.Managed && why != "" {
			return "stands in the way: istiod rolls it the moment what it follows moves, losing requests; " + why
		}
	}
	return "moves by itself before what it follows does: frozen, claimed by both revisions, compared, rolled with surge"
}
