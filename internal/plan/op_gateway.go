package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// opGateway moves a gateway by itself: a second one beside it, held out until it
// is proven, let in pod by pod; the first drained, and brought back.
func (b *builder) opGateway(o Operation) {
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: o.Namespace, Name: o.Name}
	g, ok := b.s.Gateway(ref)
	if !ok {
		b.find(codeNamesNoObject, Mandatory, "gateway "+ref.String(), "there is none of this name", "name one that is there: serin gateway list")
		return
	}
	w, _ := b.s.Workload(ref)
	switch o.Verb { //nolint:exhaustive // operate has sorted out the others
	case GatewayAdd:
		b.addGateway(o, g, w)
	case GatewayShift:
		b.shiftGateway(o, g, w)
	case GatewayDrain:
		b.drainGateway(g, w)
	case GatewayRestore:
		b.restoreGateway(o, g, w)
	case GatewayRemove:
		b.removeGateway(g, w)
	case GatewayRenew:
		b.renewByItself(o, g, w)
	}
}

// addGateway installs a second release at a revision, with the first one's values
// and service account and no Service of its own.
func (b *builder) addGateway(o Operation, g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	r, ok := b.s.Release(g.Owner)
	if g.Shape != mesh.ShapeHelm || !ok {
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("it is %s: only a release of the gateway chart has values for a second one", g.Shape), Outlook(b.s, g))
		return
	}
	name := o.To
	if name == "" {
		name = g.Ref.Name + "-" + o.Revision
	}
	want := mesh.Release{Namespace: g.Ref.Namespace, Name: name, Chart: "gateway", Values: besideValues(w, name, o.Revision)}
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: want.Namespace, Name: name}
	if b.addedAlready(want, ref) {
		return
	}
	b.judgeScalers(g.Ref, object)
	i, ok := b.judgeGatewayInjection(want) // S-28: evaluated, not guessed
	if !ok || !b.goTo(i.Revision) {
		return
	}
	b.judgeSelected(g, want)
	b.leave(g.Next)
	want.Version = b.req.To
	b.find(codeGatewayHeld, Info, "release "+want.Namespace+"/"+name, "a pod of it that is made anew, by a drain or a scaler, is held out of the Service until serin lets it in",
		shiftIn(name, want.Namespace))
	b.lead(Step{
		Kind: AddGateway, Target: want.Namespace + "/" + name, From: g.Next, To: i.Revision, Version: want.Version, Namespace: want.Namespace, Release: &want, Like: r.Name,
		Workloads: []mesh.Ref{ref}, Why: "behind the same Service, held out of it: injected by " + i.String(), Needs: []gate.Name{gate.ControlPlane},
		Proof:    []gate.Name{gate.RolledOut, gate.Proxies, gate.SameServing, gate.SameAnswers},
		Question: gate.Question{Workloads: []mesh.Ref{ref}, Beside: &g.Ref, Held: true}, Soak: min(b.req.Soak, tagSoak), Undo: Undo{What: "uninstall"},
	})
}

// addedAlready says whether the second gateway is there as asked; another one of its name refuses.
func (b *builder) addedAlready(want mesh.Release, ref mesh.Ref) bool {
	w, there := b.s.Workload(ref)
	_, released := b.s.Release(ownerOf(want))
	if !there && !released {
		return false
	}
	if w.Gated && w.TemplateLabels[mesh.RevLabel] == want.Values["revision"] {
		return true
	}
	b.find(codeTaken, Mandatory, "release "+want.Namespace+"/"+want.Name, "it, or a Deployment of its name, is there", "choose another name: --name")
	return true
}

// besideValues are the values in which a second release differs (S-30, S-31): no
// Service, account, role, scaler or budget of its own, and the first one's labels.
func besideValues(w mesh.Workload, name, revision string) map[string]any {
	account := ""
	if w.Proxy != nil {
		account = w.Proxy.Account
	}
	return map[string]any{
		"name": name, "revision": revision, "replicaCount": max(w.Ready, w.Replicas, 1),
		"service":        map[string]any{"type": "None"},
		"serviceAccount": map[string]any{"create": false, "name": account}, "rbac": map[string]any{"enabled": false},
		"autoscaling": map[string]any{"enabled": false}, "podDisruptionBudget": nil,
		"labels": map[string]any{"app": w.TemplateLabels["app"], "istio": w.TemplateLabels["istio"]},
	}
}

// judgeSelected refuses a second gateway that a Service of the first would not select.
func (b *builder) judgeSelected(g mesh.Gateway, want mesh.Release) {
	w, _ := b.s.Workload(g.Ref)
	labels := maps.Clone(w.TemplateLabels)
	labels[mesh.RevLabel], _ = want.Values["revision"].(string)
	labels["app.kubernetes.io/name"] = want.Name
	for _, svc := range g.Services {
		for k, v := range svc.Selector {
			if labels[k] != v {
				b.find(codeGatewayShape, Mandatory, "service "+svc.Namespace+"/"+svc.Name, fmt.Sprintf("its selector %s=%s would not take the second gateway's pods, which have %q", k, v, labels[k]),
					"let it select by the chart's labels app and istio alone")
			}
		}
	}
}

// shiftGateway lets so many of a second gateway's pods into the Service.
func (b *builder) shiftGateway(o Operation, g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	n, err := portion(o.Pods, w.Replicas)
	switch {
	case !w.Gated:
		b.find(codeGatewayShape, Mandatory, object, "its pods have no readiness gate "+mesh.ProvenGate+": they are in the Service whenever they are ready", "serin gateway add "+g.Ref.Name+" -n "+g.Ref.Namespace+" --revision REVISION makes one that is held out")
		return
	case err != nil:
		b.find(codeGatewayShape, Mandatory, "request", err.Error(), "--to 1, --to 25%, --to 100%")
		return
	case n == w.Ready || !b.goTo(g.Next):
		return
	case n < w.Ready:
		b.judgeLeft(g, w.Ready-n)
	}
	old, others := b.readyBeside(g)
	q := gate.Question{Workloads: []mesh.Ref{g.Ref}, Held: true, Opened: n}
	if n > w.Ready {
		q.Beside = old
	}
	if n > w.Ready && old == nil && others == 0 && w.Ready == 0 {
		b.find(codeGatewayDips, Overridable, object, "nothing else is ready behind its Service: its pods cannot be compared with any", "bring the first one back: serin gateway restore")
	}
	undo := mesh.Count(n-w.Ready, "pod") + " out of the Service"
	if n < w.Ready {
		undo = mesh.Count(w.Ready-n, "pod") + " into the Service"
	}
	b.lead(Step{
		Kind: OpenGateway, Target: g.Ref.String(), From: g.Next, To: g.Next, Namespace: g.Ref.Namespace, Workloads: []mesh.Ref{g.Ref}, Pods: &Pods{w.Ready, n},
		Why: fmt.Sprintf("%d of its %s in the Service, one by one; %d others are", n, mesh.Count(w.Replicas, "pod"), others), Needs: entry(q, n > w.Ready),
		Proof: b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}), Question: q, Soak: min(b.req.Soak, tagSoak), Undo: Undo{What: undo},
	})
	b.withoutProbe()
}

// entry is what pods must show before they are let into a Service; out of it nobody
// meets them.
func entry(q gate.Question, in bool) []gate.Name {
	switch {
	case !in:
		return nil
	case q.Beside == nil:
		return []gate.Name{gate.Steady, gate.Proxies}
	}
	return []gate.Name{gate.Steady, gate.Proxies, gate.SameServing, gate.SameAnswers}
}

// portion reads "3" or "25%" of a number of pods; a percentage rounds up.
func portion(text string, of int) (int, error) {
	digits, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(digits)
	if percent {
		n = (n*of + 99) / 100
	}
	if err != nil || n < 0 || n > of {
		return 0, fmt.Errorf("%q of %s is no number of pods", text, mesh.Count(of, "pod"))
	}
	return n, nil
}

// readyBeside is a gateway behind the same Service that has ready pods, and how
// many such pods there are in all.
func (b *builder) readyBeside(g mesh.Gateway) (*mesh.Ref, int) {
	var first *mesh.Ref
	ready := 0
	for _, ref := range g.Beside {
		w, _ := b.s.Workload(ref)
		if w.Ready > 0 && first == nil {
			first = &ref
		}
		ready += w.Ready
	}
	return first, ready
}

// judgeLeft refuses what would leave fewer ready pods behind the Service than the
// gateway is to have: never fewer than before.
func (b *builder) judgeLeft(g mesh.Gateway, gone int) {
	_, others := b.readyBeside(g)
	need := g.Replicas
	for _, ref := range g.Beside {
		w, _ := b.s.Workload(ref)
		need = max(need, w.Replicas)
	}
	if left := others + g.Ready - gone; left < need {
		b.find(codeGatewayDips, Mandatory, "gateway "+g.Ref.String(), fmt.Sprintf("%s would be ready behind its Service, and %d are needed", mesh.Count(left, "pod"), need),
			b.moreBeside(g))
	}
}

// moreBeside says how another gateway comes to serve behind the Service.
func (b *builder) moreBeside(g mesh.Gateway) string {
	for _, ref := range g.Beside {
		if w, _ := b.s.Workload(ref); w.Gated && w.Replicas > 0 {
			return "let the other gateway's pods in first: " + shiftIn(ref.Name, ref.Namespace)
		}
	}
	for _, ref := range g.Beside {
		if w, _ := b.s.Workload(ref); !w.Gated {
			return "bring the other gateway back first: serin gateway restore " + ref.Name + " -n " + ref.Namespace
		}
	}
	return "put another one beside it first: serin gateway add " + g.Ref.Name + " -n " + g.Ref.Namespace + " --revision REVISION"
}

// shiftIn is the command that lets all of a second gateway's pods in.
func shiftIn(name, namespace string) string {
	return "serin gateway shift " + name + " -n " + namespace + " --to 100%"
}

// drainGateway takes a gateway to zero once others stand behind its Service.
func (b *builder) drainGateway(g mesh.Gateway, w mesh.Workload) {
	if w.Replicas == 0 {
		return
	}
	b.judgeLeft(g, w.Ready)
	b.judgeScaled(g)
	b.judgeScalers(g.Ref, "gateway "+g.Ref.String())
	if !b.goTo(g.Next) {
		return
	}
	b.lead(Step{
		Kind: ScaleGateway, Target: g.Ref.String(), From: g.Next, To: g.Next, Namespace: g.Ref.Namespace, Workloads: []mesh.Ref{g.Ref}, Pods: &Pods{w.Replicas, 0},
		Why:   "its pods end as their drain time lets them; the Deployment is kept at zero for the way back, and an HPA rests meanwhile",
		Proof: b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}), Question: gate.Question{Workloads: []mesh.Ref{g.Ref}}, Soak: min(b.req.Soak, tagSoak),
		Undo: Undo{What: "back to " + mesh.Count(w.Replicas, "pod")},
	})
	b.withoutProbe()
}

// judgeScaled refuses to scale what a Git tool would scale back.
func (b *builder) judgeScaled(g mesh.Gateway) {
	if g.Owner.Git() {
		b.find(codeGitOpsLoad, Mandatory, "gateway "+g.Ref.String(), ownedBy(g.Owner)+", which would scale it back", "change its replicas there")
	}
}

// restoreGateway brings a drained gateway back; --revision says which one its pods
// must be of (S-32: what they follow may have moved meanwhile).
func (b *builder) restoreGateway(o Operation, g mesh.Gateway, w mesh.Workload) {
	if g.Shape == mesh.ShapeRendered {
		b.putBack(o, g, w)
		return
	}
	object := "gateway " + g.Ref.String()
	if o.Revision != "" && o.Revision != g.Next {
		b.find(codeNamesNothing, Mandatory, object, fmt.Sprintf("its next pods would be of %q, not of %s: it follows %s", g.Next, o.Revision, g.Follows), "let that lead to "+o.Revision+" first: serin tag set")
		return
	}
	n := b.fullSize(g)
	if o.Pods != "" {
		asked, err := strconv.Atoi(o.Pods)
		if err != nil || asked < 1 {
			b.find(codeGatewayShape, Mandatory, "request", fmt.Sprintf("%q is no number of pods", o.Pods), "--to 2")
			return
		}
		n = asked
	}
	if n == w.Replicas && w.Ready >= n || !b.goTo(g.Next) {
		return
	}
	if n < w.Replicas {
		b.judgeLeft(g, w.Ready-n)
	}
	b.judgeScaled(g)
	old, _ := b.readyBeside(g)
	q := gate.Question{Workloads: []mesh.Ref{g.Ref}}
	proof := []gate.Name{gate.RolledOut, gate.Proxies}
	if old != nil {
		q.Beside, proof = old, append(proof, gate.SameServing, gate.SameAnswers)
	}
	b.lead(Step{
		Kind: ScaleGateway, Target: g.Ref.String(), From: g.Next, To: g.Next, Namespace: g.Ref.Namespace, Workloads: []mesh.Ref{g.Ref}, Pods: &Pods{w.Replicas, n},
		Why: "its next pods are of " + g.Next, Needs: []gate.Name{gate.ControlPlane}, Proof: b.withRequests(proof), Question: q, Soak: min(b.req.Soak, tagSoak),
		Undo: Undo{What: "to " + mesh.Count(w.Replicas, "pod") + " again"},
	})
	b.withoutProbe()
}

// fullSize is how many pods a gateway is to have: its scaler's least, and as many
// as the others behind its Service.
func (b *builder) fullSize(g mesh.Gateway) int {
	n := max(g.Replicas, 1)
	if s, ok := b.s.Edge.Scaler(g.Ref); ok {
		n = max(n, s.Min)
	}
	for _, ref := range g.Beside {
		beside, _ := b.s.Workload(ref)
		n = max(n, beside.Replicas)
	}
	return n
}

// renewByItself brings a release that rests at zero to the chart of a revision, as
// the end of a canary does.
func (b *builder) renewByItself(o Operation, g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	r, ok := b.s.Release(g.Owner)
	rev := cmp.Or(o.Revision, g.Next)
	switch {
	case g.Shape != mesh.ShapeHelm || !ok:
		b.find(codeGatewayShape, Mandatory, object, fmt.Sprintf("it is %s: only a release of the gateway chart is renewed", g.Shape), Outlook(b.s, g))
		return
	case w.Replicas > 0 || w.Ready > 0:
		b.find(codeGatewayDips, Mandatory, object, fmt.Sprintf("it has %s: a renewal would restart them while they serve", mesh.Count(max(w.Replicas, w.Ready), "pod")), "serin gateway drain "+g.Ref.Name+", once another stands behind its Service")
		return
	case !b.goTo(rev):
		return
	}
	want := b.renewed(r)
	if want.Version == r.Version && want.Values == nil {
		return
	}
	b.leave(g.Next)
	b.lead(Step{
		Kind: RenewGateway, Target: r.Namespace + "/" + r.Name, From: g.Next, To: b.to, Version: want.Version, Namespace: r.Namespace, Release: &want,
		Why: "while it rests at zero; its Service, account and values stay", Undo: Undo{What: "chart " + r.Version + " again"},
	})
	if i := b.after().InjectionOf(b.afterOf(g.Ref)); i.Revision != b.to {
		b.find(codePinnedPods, Mandatory, object, "its next pods would be of "+i.String()+": its pods' label "+mesh.RevLabel+" comes from elsewhere than its value revision", "let its value revision, or what it follows, lead to "+b.to)
	}
	b.withoutProbe()
}

// renewed is the release at the chart of what the steps lead to; its value revision
// follows where it named another one.
func (b *builder) renewed(r mesh.Release) mesh.Release {
	want := mesh.Release{Namespace: r.Namespace, Name: r.Name, Chart: r.Chart, Version: r.Version}
	if olderThan(r.Version, b.req.To) {
		want.Version = b.req.To
	}
	named, _ := r.Values["revision"].(string)
	if _, isTag := b.s.Tag(named); named != "" && named != b.to && !isTag {
		want.Values = map[string]any{"revision": b.to}
	}
	return want
}

// removeGateway takes a second gateway away: out of the Service first, then its release.
func (b *builder) removeGateway(g mesh.Gateway, w mesh.Workload) {
	object := "gateway " + g.Ref.String()
	r, ok := b.s.Release(g.Owner)
	ownsService := slices.ContainsFunc(g.Services, func(s mesh.Service) bool { return s.Owner == g.Owner && g.Owner.Kind == mesh.OwnerHelm })
	switch {
	case !ok || !w.Gated:
		b.find(codeGatewayShape, Mandatory, object, "it is none that serin gateway add has made", "serin uninstall gateway removes releases")
		return
	case ownsService: // S-31
		b.find(codeGatewayShape, Mandatory, object, "its release holds the Service: its addresses would go with it", "serin gateway drain takes its pods away and leaves the Service")
		return
	case !b.goTo(g.Next):
		return
	}
	b.judgeLeft(g, w.Ready)
	if w.Ready > 0 {
		b.lead(Step{
			Kind: OpenGateway, Target: g.Ref.String(), From: g.Next, To: g.Next, Namespace: g.Ref.Namespace, Workloads: []mesh.Ref{g.Ref}, Pods: &Pods{w.Ready, 0},
			Why: "out of the Service before they go", Needs: []gate.Name{gate.Approval}, Proof: b.withRequests([]gate.Name{gate.RolledOut}),
			Question: gate.Question{Workloads: []mesh.Ref{g.Ref}, Held: true}, Soak: min(b.req.Soak, tagSoak), Undo: Undo{What: mesh.Count(w.Ready, "pod") + " into the Service"},
		})
	}
	b.lead(Step{
		Kind: RemoveChart, Target: r.Namespace + "/" + r.Name, To: g.Next, Version: r.Version, Namespace: r.Namespace, Release: &mesh.Release{Namespace: r.Namespace, Name: r.Name, Chart: r.Chart, Version: r.Version},
		Why: "its record is kept for the way back", Needs: []gate.Name{gate.Approval}, Undo: Undo{What: "install it as it was"},
	})
	b.withoutProbe()
}

// simulateAddGateway adds the second gateway as the first, its pods held.
func simulateAddGateway(s *mesh.Snapshot, st Step) { addBeside(s, st, *st.Question.Beside) }

func addBeside(s *mesh.Snapshot, st Step, beside mesh.Ref) {
	old, ok := s.Workload(beside)
	if _, there := s.Workload(st.Workloads[0]); there || !ok {
		return
	}
	w := old
	w.Ref, w.Owner, w.Gated, w.Ready = st.Workloads[0], ownerOf(*st.Release), true, 0
	w.TemplateLabels = maps.Clone(old.TemplateLabels)
	w.TemplateLabels[mesh.RevLabel], _ = st.Release.Values["revision"].(string)
	c, _ := s.ControlPlane(s.InjectionOf(w).Revision)
	s.Workloads = append(s.Workloads, w)
	for n := range w.Replicas {
		s.Pods = append(s.Pods, mesh.Pod{
			Namespace: w.Namespace, Name: fmt.Sprintf("%s-%d", w.Name, n), Workload: w.Ref, Labels: w.TemplateLabels, Revision: c.Revision, Version: c.Version, Held: true,
		})
	}
	r := *st.Release
	r.Status = "deployed"
	s.Releases = append(s.Releases, r)
	sortReleases(s)
	sortPods(s)
}

func sortPods(s *mesh.Snapshot) {
	slices.SortFunc(s.Pods, func(x, y mesh.Pod) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
}

// openPods lets the first pods of a workload into their Service, and the others out.
func openPods(s *mesh.Snapshot, ref mesh.Ref, n int) {
	seen := 0
	for i, p := range s.Pods {
		if p.Workload == ref && !p.Leaving {
			s.Pods[i].Ready, s.Pods[i].Held = seen < n, seen >= n
			seen++
		}
	}
	for i, w := range s.Workloads {
		if w.Ref == ref {
			s.Workloads[i].Ready = min(n, seen)
		}
	}
}

// scaleGateway gives a workload so many pods, those that it makes of what would inject them now.
func scaleGateway(s *mesh.Snapshot, ref mesh.Ref, n int) {
	w, ok := s.Workload(ref)
	if !ok {
		return
	}
	have := 0
	s.Pods = slices.DeleteFunc(s.Pods, func(p mesh.Pod) bool {
		if p.Workload == ref {
			have++
		}
		return p.Workload == ref && have > n
	})
	c, _ := s.ControlPlane(s.InjectionOf(w).Revision)
	for i := min(have, n); i < n; i++ {
		s.Pods = append(s.Pods, mesh.Pod{
			Namespace: w.Namespace, Name: fmt.Sprintf("%s-%d", w.Name, i), Workload: ref, Labels: w.TemplateLabels, Revision: c.Revision, Version: c.Version, Ready: true,
		})
	}
	sortPods(s)
	for i := range s.Workloads {
		if s.Workloads[i].Ref == ref {
			s.Workloads[i].Replicas, s.Workloads[i].Ready = n, n
		}
	}
}

// notIn says whether other than n pods of the step's gateway are in its Service.
func notIn(s mesh.Snapshot, st Step, n int) []string {
	if w, _ := s.Workload(st.Workloads[0]); w.Ready != n {
		return []string{fmt.Sprintf("%d of the pods of %s are in the Service, not %d", w.Ready, w.Ref, n)}
	}
	return nil
}

// notOfSize says whether the step's gateway wants other than n pods.
func notOfSize(s mesh.Snapshot, st Step, n int) []string {
	if w, _ := s.Workload(st.Workloads[0]); w.Replicas != n {
		return []string{fmt.Sprintf("%s has %s, not %d", w.Ref, mesh.Count(w.Replicas, "replica"), n)}
	}
	return nil
}
