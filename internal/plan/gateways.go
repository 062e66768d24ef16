package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Outlook says what would happen to a gateway in an upgrade of the revision that
// its next pod would be of.
func Outlook(s mesh.Snapshot, g mesh.Gateway) string {
	switch g.Shape {
	case mesh.ShapeHelm:
		return "moves as a second release behind the same Service (serin gateway add), or restarts in place: " + inPlace(s, g)
	case mesh.ShapeInPlace:
		return "restarts in place once what it follows has moved: " + inPlace(s, g)
	case mesh.ShapeRendered:
		if g.Owner.Kind == mesh.OwnerIstioctl {
			return "is rendered again from its source, beside its old pods, where the control plane is istioctl's too; else it stays"
		}
		return "stays: its image is in its template, which its owner must render again"
	case mesh.ShapeManaged, mesh.ShapeWaypoint:
		return managedOutlook(s, g)
	case mesh.ShapeUnknown:
	}
	return "moves as any workload with a sidecar"
}

// inPlace says what a restart in place keeps or takes away.
func inPlace(s mesh.Snapshot, g mesh.Gateway) string {
	w, ok := s.Workload(g.Ref)
	if !ok {
		return "it is gone"
	}
	if why := dips(w); why != "" {
		return "refused, " + why
	}
	return fmt.Sprintf("surge of %d, never fewer ready than %d", w.MaxSurge, w.Replicas)
}

// dips says why a restart in place would leave fewer of a gateway's pods ready
// than before; empty where it would not.
func dips(w mesh.Workload) string {
	switch {
	case w.Kind != mesh.KindDeployment:
		return fmt.Sprintf("a %s takes pods away before their successors are ready", w.Kind)
	case w.Strategy != "RollingUpdate":
		return "its strategy is " + w.Strategy + ": a restart takes all its pods away first"
	case w.MaxSurge == 0:
		return "it may not surge: a pod is taken away before its successor is ready"
	}
	return ""
}

// judgeGateways refuses what would leave a gateway with less than it has, and
// shapes that a restart does not move.
func (b *builder) judgeGateways() {
	for _, g := range b.s.Gateways() {
		object := "gateway " + g.Ref.String()
		w, ok := b.s.Workload(g.Ref)
		switch {
		case !ok:
		case slices.ContainsFunc(b.scope.rendered, func(u unit) bool { return u.w.Ref == g.Ref }):
			b.judgeRendered(unit{w: w})
		case g.Shape == mesh.ShapeRendered && b.req.moveOf(w).Method == Stay:
		case b.req.moveOf(w).Method == Stay:
			b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("it is %s, and would be of the new revision with its next pod, whatever is asked", g.Shape), "method: stay is for gateways that are rendered")
		case g.Shape == mesh.ShapeRendered && b.runsOld(g):
			b.find(codeRenderedGateway, Overridable, object, "the image is in its template ("+w.Proxy.Image+"): a restart moves nothing",
				"render it again from the same source, or replace it by a gateway of the gateway chart; ignored, it stays on "+strings.Join(g.Revisions, ", ")+", which is then not removed")
		case slices.ContainsFunc(b.scope.all(), func(u unit) bool { return u.w.Ref == g.Ref }):
			b.judgeInPlace(g, w)
		}
	}
}

// judgeInPlace refuses a restart in place that would leave fewer ready pods
// behind the Service than there were.
func (b *builder) judgeInPlace(g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	if why := dips(w); why != "" && !risky(w) { // of one that is risky judgeRestart has said it
		b.find(codeGatewayDips, Overridable, object, why+": fewer are ready behind its Service meanwhile", "let it surge: maxSurge 1, maxUnavailable 0")
	}
	if dips(w) == "" && w.MaxUnavailable > 0 {
		b.find(codeGatewayDips, Warning, object, fmt.Sprintf("up to %d of its pods may be away while it restarts: fewer are ready behind its Service meanwhile", w.MaxUnavailable),
			"let it surge only: maxSurge 1, maxUnavailable 0")
	}
}

func (b *builder) runsOld(g mesh.Gateway) bool { return slices.ContainsFunc(g.Revisions, b.leaves) }

const asItIs = "as the mesh is"

// judgeProgrammed walks the steps: a Gateway of the Gateway API that no revision
// programs is frozen as it is, one that two program flaps between them (R§4).
func (b *builder) judgeProgrammed() {
	if len(b.s.Edge.Gateways) == 0 {
		return
	}
	said := map[string]bool{}
	s := b.s.Clone()
	b.programmed(s, asItIs, said)
	for _, st := range b.steps {
		simulate(&s, st)
		b.programmed(s, fmt.Sprintf("after step %d (%s %s)", st.Number, st.Kind, st.Target), said)
	}
}

func (b *builder) programmed(s mesh.Snapshot, when string, said map[string]bool) {
	for _, g := range s.Edge.Gateways {
		by := s.Programmers(g)
		b.served(s, g, by, when, said)
		if g.Revision == mesh.PrivateTag(g.Namespace, g.Name) && len(by) > 0 {
			continue // claimed by serin, for both while it moves (S-21)
		}
		if !g.OfGatewayAPI() || len(by) == 1 || said[g.String()] || g.Managed && b.leaves(s.GatewayRevision(mesh.Object{Namespace: g.Namespace, Revision: g.Revision})) {
			continue
		}
		if was := b.s.Programmers(g); !slices.ContainsFunc(slices.Concat(was, by), b.concerned) {
			continue // nothing of it is this plan's: a check says what is wrong with it
		}
		said[g.String()] = true
		reason := "no revision programs it " + when + ": it stays as it is, and new routes never reach it"
		if len(by) > 1 {
			reason = strings.Join(by, " and ") + " both program it " + when + ": they would fight over it"
		}
		b.find(codeProgrammed, Mandatory, g.String(), reason, "label it with a revision that stays, or with a tag of its own: "+mesh.RevLabel)
	}
}

// served finds pods that would serve nothing: of a Gateway that is bound to the
// Service of a gateway of the user's own, only the revisions that program it give
// its pods their listeners, and others take them away (R§4, R§9.3).
func (b *builder) served(s mesh.Snapshot, g mesh.GatewayObject, by []string, when string, said map[string]bool) {
	key := "pods of " + g.String()
	if !g.OfGatewayAPI() || g.Managed || len(g.Bound) == 0 || len(by) == 0 || said[key] {
		return
	}
	for _, w := range s.Workloads {
		rev, strays := b.strays(s, w.Ref, by)
		if !strays || !s.Edge.Leads(g, w) {
			continue
		}
		said[key] = true
		if when == asItIs {
			return // it is so without this plan
		}
		b.find(codeUnprogrammed, Mandatory, g.String(), fmt.Sprintf("%s %s programs it, and pods of %s behind its Service are of %s: they would serve nothing of it", when, strings.Join(by, " and "), w.Ref, rev),
			"no label leads both through an upgrade: let istiod deploy it (no spec.addresses), or write it as an Istio Gateway and VirtualServices, which every revision reads")
		return
	}
}

// strays is a revision of this plan that a workload's pods are of, and that is none of these.
func (b *builder) strays(s mesh.Snapshot, ref mesh.Ref, by []string) (string, bool) {
	i := slices.IndexFunc(s.Pods, func(p mesh.Pod) bool {
		return p.Workload == ref && !p.Leaving && b.concerned(p.Revision) && !slices.Contains(by, p.Revision)
	})
	if i < 0 {
		return "", false
	}
	return s.Pods[i].Revision, true
}
