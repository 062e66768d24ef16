package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// renderedAs says whether a workload is a gateway that istioctl rendered and that
// this upgrade renders again (S-33): its control plane comes the same way, so that
// there is a source, and nobody has asked that it stay.
func (b *builder) renderedAs(w mesh.Workload) bool {
	return w.Kind == mesh.KindDeployment && w.HasOwnProxy() && w.Owner.Kind == mesh.OwnerIstioctl &&
		b.newOwner() == mesh.OwnerIstioctl && b.req.moveOf(w).Method != Stay && !b.ignored(codeRenderedGateway)
}

// judgeRendered is about a gateway that is rendered again: its rollout must have
// room for a new pod beside the old ones, and nothing under way.
func (b *builder) judgeRendered(u unit) {
	object := "gateway " + u.w.String()
	switch {
	case u.w.Strategy != "RollingUpdate":
		b.find(codeGatewayDips, Mandatory, object, dips(u.w), "let it roll: strategy RollingUpdate; or let it stay: gateways, method: stay")
	case u.w.Paused:
		b.find(codeUnsettled, Mandatory, object, "its Deployment is paused: nothing would roll", "kubectl -n "+u.w.Namespace+" rollout resume deployment "+u.w.Name)
	case !u.w.Settled:
		b.find(codeUnsettled, Overridable, object, "a rollout of it is under way", "wait until it has ended: kubectl -n "+u.w.Namespace+" rollout status")
	}
	if n := b.s.Edge.ScalersOf(u.w.Ref); n > 1 { // S-30
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("%d HorizontalPodAutoscalers size it: they would fight over it", n), "leave one of them")
	}
	if u.w.Namespace != b.s.IstioNamespace {
		b.find(codeRenderedElsewhere, Overridable, object, "its template reads its istiod's address from the mesh's ConfigMap of its own namespace, and that is in "+b.s.IstioNamespace+" alone: its new pods would call istiod."+b.s.IstioNamespace+", not the new revision's",
			"say in the file where they are to call: values.global.proxy and meshConfig.defaultConfig, or k8s.env PROXY_CONFIG; ignored, the gate of proxies tells")
	}
	if b.req.Operator == nil {
		b.find(codeRenderedSource, Warning, object, "it is rendered again from the values that the cluster keeps and its own name and labels: what its IstioOperator file sets below k8s is not there",
			"give the file it was installed from: --operator FILE; a field that would change otherwise stops plan and step (SRN1411)")
	}
}

// renderGateway adds the step that renders a gateway again, in place: beside its
// old pods, which go once the new ones are ready.
func (b *builder) renderGateway(u unit) {
	b.add(Step{
		Kind: RenderGateway, Target: u.w.String(), Namespace: u.w.Namespace, Workloads: []mesh.Ref{u.w.Ref}, From: u.from, To: b.to, Version: b.req.To,
		Why:      "rendered again from its source, as istioctl would; each old pod goes once a new one is ready; what it was is kept",
		Needs:    []gate.Name{gate.ControlPlane},
		Proof:    b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}),
		Soak:     b.req.Soak,
		Question: gate.Question{Workloads: []mesh.Ref{u.w.Ref}},
		Undo:     Undo{What: "as it was, from what is kept"},
	})
}

// putBack brings a rendered gateway to what it was at a revision, by itself and
// without a run: from what a step has kept of it, else from its Deployment's own
// history (S-33).
func (b *builder) putBack(o Operation, g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	switch {
	case o.Revision == "":
		b.find(codeNamesNothing, Mandatory, object, "its template says which revision it is of: which one it is to be put back to is not for serin to guess", "name it: --revision")
		return
	case o.Pods != "":
		b.find(codeGatewayShape, Mandatory, "request", "a rendered gateway is put back whole", "leave out --to")
		return
	case g.Owner.Git():
		b.find(codeGitOpsLoad, Mandatory, object, ownedBy(g.Owner)+", which would write it back", "put it back there")
		return
	case w.Strategy != "RollingUpdate":
		b.find(codeGatewayDips, Mandatory, object, dips(w), "let it roll: strategy RollingUpdate")
		return
	case slices.Equal(g.Revisions, []string{o.Revision}) || !b.goTo(o.Revision):
		return
	}
	from := slices.DeleteFunc(slices.Clone(g.Revisions), func(r string) bool { return r == b.to })
	if len(from) != 1 {
		b.find(codeGatewayShape, Mandatory, object, "its pods are of "+oneOf(from)+": which it would be taken back to is not clear", "let its rollout end")
		return
	}
	b.leave(from[0])
	// Nothing of it is injected: an injector that is off, as the old default's is once the tag has moved, is no reason to wait.
	b.lead(Step{
		Kind: PutBackGateway, Target: g.Ref.String(), Namespace: g.Ref.Namespace, Workloads: []mesh.Ref{g.Ref}, From: from[0], To: b.to, Version: b.req.To,
		Why:   "as it was at " + b.to + ": from what was kept of it, else from its Deployment's history",
		Proof: b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}), Soak: min(b.req.Soak, tagSoak),
		Question: gate.Question{Workloads: []mesh.Ref{g.Ref}}, Undo: Undo{What: "as it was at " + from[0]},
	})
	b.withoutProbe()
}

// simulateRendered gives a rendered gateway the template and the pods of a revision.
func simulateRendered(s *mesh.Snapshot, st Step, revision string) {
	c, _ := s.ControlPlane(revision)
	for i, w := range s.Workloads {
		if !slices.Contains(st.Workloads, w.Ref) {
			continue
		}
		labels := maps.Clone(w.TemplateLabels)
		if labels[mesh.RevLabel] != "" {
			labels[mesh.RevLabel] = revision
		}
		s.Workloads[i].TemplateLabels = labels
		if w.Proxy != nil {
			p := *w.Proxy
			if at := strings.LastIndex(p.Image, ":"); at > strings.LastIndex(p.Image, "/") {
				p.Image = p.Image[:at+1] + c.Version
			}
			s.Workloads[i].Proxy = &p
		}
	}
	rollManaged(s, st, revision)
}

// undoRendered gives it back what it had.
func undoRendered(s *mesh.Snapshot, st Step, before mesh.Snapshot) {
	simulateRendered(s, st, st.From)
	for i, w := range s.Workloads {
		if was, ok := before.Workload(w.Ref); ok && slices.Contains(st.Workloads, w.Ref) {
			s.Workloads[i].TemplateLabels, s.Workloads[i].Proxy = was.TemplateLabels, was.Proxy
		}
	}
}
