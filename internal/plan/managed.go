package plan

import (
	"cmp"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// moveGateway adds the step that brings one managed Gateway to the new revision
// under a tag of its own, so that nothing that moves later moves it (S-21).
func (b *builder) moveGateway(m managedMove) {
	tag := mesh.PrivateTag(m.g.Namespace, m.g.Name)
	before := map[string]*string{mesh.RevLabel: m.own, mesh.VersionAnnotation: nil}
	if stamp := m.g.Stamp; stamp != "" {
		before[mesh.VersionAnnotation] = &stamp
	}
	refs := []mesh.Ref{m.ref}
	b.add(Step{
		Kind: MoveGateway, Target: m.g.Namespace + "/" + m.g.Name, Namespace: m.g.Namespace, Gateway: m.g.Name, Workloads: refs,
		From: m.from, To: b.to, Version: b.req.To, Before: before, Last: m.last,
		After:    map[string]*string{mesh.RevLabel: &tag, mesh.VersionAnnotation: &tag},
		Why:      "before its tag or label moves: frozen, claimed by both revisions, compared, rolled with surge, then let go by the old one",
		Needs:    []gate.Name{gate.ControlPlane},
		Proof:    b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}),
		Soak:     b.req.Soak,
		Question: gate.Question{Workloads: refs},
		Undo:     Undo{What: "the same, onto " + m.from},
	})
}

// returnGateways adds the steps that give Gateways their own labels back: where
// what they follow leads to the new revision alone, which for the default is when
// the revision of that name has gone (S-24).
func (b *builder) returnGateways(afterRemoval bool) { //nolint:revive // the two places of one step
	for _, m := range b.scope.managed {
		byDefault := b.byDefaultToItsEnd(m)
		if byDefault != afterRemoval {
			continue
		}
		if byDefault && !slices.ContainsFunc(b.steps, func(st Step) bool { return st.Kind == RemoveRevision && st.From == mesh.DefaultRevision }) {
			b.refuseManaged(mesh.Object{Namespace: m.g.Namespace, Name: m.g.Name, Revision: m.g.Revision},
				"it follows the default, which the istiod of revision default claims as long as it lives, and that one would stay")
			continue
		}
		b.returnGateway(m)
	}
}

func (b *builder) returnGateway(m managedMove) {
	i := slices.IndexFunc(b.steps, func(st Step) bool {
		return st.Kind == MoveGateway && st.Namespace == m.g.Namespace && st.Gateway == m.g.Name
	})
	moved := b.steps[i]
	b.add(Step{
		Kind: ReturnGateway, Target: moved.Target, Namespace: moved.Namespace, Gateway: moved.Gateway, Workloads: moved.Workloads,
		From: b.to, To: b.to, Version: b.req.To, Before: moved.After,
		After:    map[string]*string{mesh.RevLabel: m.last, mesh.VersionAnnotation: moved.Before[mesh.VersionAnnotation]},
		Why:      "what it follows leads to " + b.to + " alone: its own label, then no claim and no freeze",
		Needs:    []gate.Name{gate.ControlPlane},
		Proof:    b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}),
		Soak:     min(b.req.Soak, tagSoak),
		Question: gate.Question{Workloads: moved.Workloads},
		Undo:     Undo{What: "frozen and claimed again"},
	})
}

func simulateMoveGateway(s *mesh.Snapshot, st Step) {
	setGateway(s, st, st.After)
	claim(s, st, st.To)
	rollManaged(s, st, st.To)
}

func undoMoveGateway(s *mesh.Snapshot, st Step) {
	setGateway(s, st, st.Before)
	unclaim(s, st)
	rollManaged(s, st, st.From)
}

// rollManaged gives the Gateway's Deployment the pods that a revision makes.
func rollManaged(s *mesh.Snapshot, st Step, revision string) {
	c, _ := s.ControlPlane(revision)
	for i, p := range s.Pods {
		if slices.Contains(st.Workloads, p.Workload) && !p.Leaving {
			s.Pods[i].Revision, s.Pods[i].Version, s.Pods[i].Ready = c.Revision, c.Version, true
		}
	}
}

// setGateway gives the Gateway its label and its controller's version.
func setGateway(s *mesh.Snapshot, st Step, to map[string]*string) {
	label, version := text(to[mesh.RevLabel]), text(to[mesh.VersionAnnotation])
	for i, g := range s.Edge.Gateways {
		if g.OfGatewayAPI() && g.Namespace == st.Namespace && g.Name == st.Gateway {
			s.Edge.Gateways[i].Revision = label
			s.Edge.Gateways[i].Stamp, s.Edge.Gateways[i].Frozen = version, ""
			if version == mesh.PrivateTag(st.Namespace, st.Gateway) {
				s.Edge.Gateways[i].Stamp, s.Edge.Gateways[i].Frozen = "", version
			}
		}
	}
	for i, g := range s.ManagedGateways {
		if g.Namespace == st.Namespace && g.Name == st.Gateway {
			s.ManagedGateways[i].Revision = label
		}
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func claim(s *mesh.Snapshot, st Step, revision string) {
	unclaim(s, st)
	s.Claims = append(s.Claims, mesh.ClaimOf(mesh.PrivateTag(st.Namespace, st.Gateway), revision))
	slices.SortFunc(s.Claims, func(a, b mesh.Claim) int { return cmp.Compare(a.Name, b.Name) })
}

func unclaim(s *mesh.Snapshot, st Step) {
	tag := mesh.PrivateTag(st.Namespace, st.Gateway)
	s.Claims = slices.DeleteFunc(s.Claims, func(c mesh.Claim) bool { return c.Tag == tag })
	if len(s.Claims) == 0 {
		s.Claims = nil
	}
}

// gatewayNotAt says what of a Gateway is not as a step leaves it.
func gatewayNotAt(s mesh.Snapshot, st Step, want map[string]*string) []string {
	g, ok := s.GatewayObject(st.Namespace, st.Gateway)
	label := text(want[mesh.RevLabel])
	frozen := ""
	if tag := mesh.PrivateTag(st.Namespace, st.Gateway); text(want[mesh.VersionAnnotation]) == tag {
		frozen = tag
	}
	switch {
	case !ok:
		return []string{"there is no Gateway " + st.Target}
	case g.Revision != label:
		return []string{g.String() + " has label " + mesh.RevLabel + "=" + g.Revision + ", not " + label}
	case g.Frozen != frozen:
		return []string{g.String() + " has " + mesh.VersionAnnotation + ": " + cmp.Or(g.Frozen, g.Stamp) + ", not " + text(want[mesh.VersionAnnotation])}
	case frozen == "" && slices.ContainsFunc(s.Claims, func(c mesh.Claim) bool { return c.Tag == mesh.PrivateTag(st.Namespace, st.Gateway) }):
		return []string{"its private tag is claimed still"}
	}
	return nil
}

// managed compares a Gateway that the plan moves: one that somebody has thawed or
// labelled meanwhile would be rolled by its istiod at once.
func (d *drift) managed(st Step) {
	w, had := d.want.GatewayObject(st.Namespace, st.Gateway)
	g, has := d.got.GatewayObject(st.Namespace, st.Gateway)
	switch {
	case !had:
	case !has:
		d.say("gateway %s: gone", st.Target)
	case w.Revision != g.Revision:
		d.say("gateway %s: label %s was %q, is %q", st.Target, mesh.RevLabel, w.Revision, g.Revision)
	case w.Frozen != g.Frozen:
		d.say("gateway %s: was frozen by %q, is by %q", st.Target, w.Frozen, g.Frozen)
	}
	for _, c := range d.want.Claims {
		if c.Tag == mesh.PrivateTag(st.Namespace, st.Gateway) && !slices.Contains(d.got.Claims, c) {
			d.say("gateway %s: revision %s claims it no more: %s is gone", st.Target, c.Revision, c.Name)
		}
	}
}
