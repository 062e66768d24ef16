package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// GatewayMove says how gateways of the gateway chart move in an upgrade.
type GatewayMove struct {
	Workload string        `json:"workload"`         // namespace/name, or * for every one that no other entry names
	Method   GatewayMethod `json:"method,omitempty"` // default in-place
	Stages   []Portion     `json:"stages,omitempty"` // canary: how many of its pods are in the Service, one stage a step; default 1, 25%, 50%, 100%
	End      End           `json:"end,omitempty"`    // canary: default original
}

// GatewayMethod is how a gateway moves.
type GatewayMethod string

// The methods.
const (
	InPlace GatewayMethod = "in-place" // its Deployment restarts
	Canary  GatewayMethod = "canary"   // a second release behind the same Service, proven before clients meet it
	Stay    GatewayMethod = "stay"     // of one that is rendered: it keeps its revision, which is then not removed
)

// End is which of a gateway's two releases stays.
type End string

// The ends of a canary.
const (
	EndOriginal End = "original" // the first release, renewed while it rests at zero; the second is removed
	EndCanary   End = "canary"   // the second one; the first rests at zero, for the way back
)

// Portion is a number of pods, or a percentage of them.
type Portion string

// UnmarshalJSON takes a number as well.
func (p *Portion) UnmarshalJSON(b []byte) error {
	var n int
	if json.Unmarshal(b, &n) == nil {
		*p = Portion(strconv.Itoa(n))
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a stage is a number of pods or a percentage: %w", err)
	}
	*p = Portion(s)
	return nil
}

// canary is a gateway that moves by a second release.
type canary struct {
	unit

	g     mesh.Gateway
	move  GatewayMove
	moves bool         // its namespace's labels lead it to the new revision, and must move first (S-28)
	held  mesh.Release // the second release, with the values that differ
	undo  int          // the step that must be taken back before those of the canary
	soak  Duration     // of the wave that its namespace is in; 0: the request's
}

// second is the Deployment of the second release.
func (c canary) second() mesh.Ref {
	return mesh.Ref{Kind: mesh.KindDeployment, Namespace: c.held.Namespace, Name: c.held.Name}
}

// size is how many pods each of the two has.
func (c canary) size() int { return max(c.w.Replicas, 1) }

// moveOf is what the request says of a gateway: by its name, else for all.
func (r Request) moveOf(w mesh.Workload) GatewayMove {
	var out GatewayMove
	for _, m := range r.Gateways {
		if m.Workload == "*" && out.Workload == "" || m.Workload == w.Namespace+"/"+w.Name {
			out = m
		}
	}
	out.Method, out.End = cmp.Or(out.Method, InPlace), cmp.Or(out.End, EndOriginal)
	return out
}

// canaryOf says whether a workload that is to move is a gateway that moves by a
// second release, as far as its shape and its labels let it.
func (b *builder) canaryOf(u unit, i mesh.Injection, pin bool) (canary, bool) {
	m := b.req.moveOf(u.w)
	if m.Method != Canary || !b.concerned(i.Revision) || !restartable(u.w) || u.w.Kind != mesh.KindDeployment {
		return canary{}, false
	}
	g, ok := b.s.Gateway(u.w.Ref)
	if !ok || g.Shape != mesh.ShapeHelm || len(g.Services) == 0 {
		return canary{}, false
	}
	ns, _ := b.s.Namespace(u.w.Namespace)
	c := canary{unit: u, g: g, move: m, moves: ns.Labelled() && b.leaves(i.Revision)}
	if !ns.Labelled() {
		c.tag = tagLed(i, pin)
	}
	name := g.Ref.Name + "-" + b.to
	values := besideValues(u.w, name, b.to)
	values["replicaCount"] = c.size()
	c.held = mesh.Release{Namespace: g.Ref.Namespace, Name: name, Chart: "gateway", Version: b.req.To, Values: values}
	return c, true
}

// tagLed is the tag that an injection goes by, or will once the default is pinned.
func tagLed(i mesh.Injection, pin bool) string { //nolint:revive // whether it will be
	if i.Tag == "" && pin && i.Revision == mesh.DefaultRevision {
		return mesh.DefaultTag
	}
	return i.Tag
}

// stages are how many pods are in the Service after each stage: the last is all of them.
func (c canary) stages() ([]int, error) {
	said := c.move.Stages
	if len(said) == 0 {
		said = []Portion{"1", "25%", "50%"}
	}
	var out []int
	last := 0
	for _, p := range said {
		n, err := portion(string(p), c.size())
		switch {
		case err != nil:
			return nil, err
		case n < last:
			return nil, fmt.Errorf("stage %s is less than the one before it", p)
		case n > last:
			out, last = append(out, n), n
		}
	}
	if last < c.size() {
		out = append(out, c.size())
	}
	return out, nil
}

// addCanary puts a second gateway beside the first, lets its pods in and drains
// the first. Order: the namespace's labels first, where they decide (S-28); a stage
// is proven before the next; the first goes only once all of the second are in.
func (b *builder) addCanary(c *canary) {
	if c.moves {
		w := b.waveOf(*c)
		c.soak = w.soak
		b.moveWave(w)
		c.undo = b.moved[c.w.Namespace]
	}
	first, second, n := c.g.Ref, c.second(), c.size()
	held := c.held
	b.add(Step{
		Kind: AddGateway, Target: held.Namespace + "/" + held.Name, From: c.from, To: b.to, Version: held.Version, Namespace: held.Namespace, Release: &held, Like: c.release(),
		Workloads: []mesh.Ref{second}, Why: "behind the same Service, held out of it until it is proven", Needs: []gate.Name{gate.ControlPlane},
		Proof:    []gate.Name{gate.RolledOut, gate.Proxies, gate.SameServing, gate.SameAnswers},
		Question: gate.Question{Workloads: []mesh.Ref{second}, Beside: &first, Held: true}, Soak: cmp.Or(c.soak, b.req.Soak), UndoFirst: c.undo, Undo: Undo{What: "uninstall"},
	})
	stages, err := c.stages()
	if err != nil {
		return // judgeCanary has said it
	}
	in := 0
	for _, to := range stages {
		b.openTo(*c, in, to, first)
		in = to
	}
	b.add(Step{
		Kind: ScaleGateway, Target: first.String(), From: c.from, To: c.from, Namespace: first.Namespace, Workloads: []mesh.Ref{first}, Pods: &Pods{c.w.Replicas, 0},
		Why:   "its pods end as their drain time lets them; the Deployment is kept at zero, and an HPA rests meanwhile",
		Proof: b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies}), Question: gate.Question{Workloads: []mesh.Ref{first}}, Behind: &second, Soak: cmp.Or(c.soak, b.req.Soak),
		UndoFirst: c.undo, Undo: Undo{What: "back to " + mesh.Count(n, "pod")},
	})
}

// waveOf is the move of the labels of a canary's namespace, as the wave of the request
// has it that would move them: the first to name the namespace, or the gateway, or to
// take a workload there. From the labels on new pods are on the new revision, so that
// its approval and its windows count here already (S-8, S-13).
func (b *builder) waveOf(c canary) wave {
	ns := c.w.Namespace
	left := slices.Clone(b.scope.byLabel)
	for _, w := range b.req.Waves {
		var picked []unit
		picked, left = b.pick(w, left)
		if slices.Contains(b.named(w), ns) || w.Percent == 0 && b.inWave(w, c.unit) || slices.ContainsFunc(picked, func(u unit) bool { return u.w.Namespace == ns }) {
			return wave{ns: ns, approve: w.Approve, soak: w.Soak, windows: w.Windows}
		}
	}
	return wave{ns: ns}
}

// release is the name of the first one's.
func (c canary) release() string {
	_, name, _ := strings.Cut(c.g.Owner.Name, "/")
	return name
}

// openTo lets the second gateway's pods in, or out once the first is back.
func (b *builder) openTo(c canary, from, to int, first mesh.Ref) {
	second := c.second()
	st := Step{
		Kind: OpenGateway, Target: second.String(), From: b.to, To: b.to, Namespace: second.Namespace, Workloads: []mesh.Ref{second}, Pods: &Pods{from, to},
		Why:      fmt.Sprintf("%d of its %s in the Service, one by one", to, mesh.Count(c.size(), "pod")),
		Question: gate.Question{Workloads: []mesh.Ref{second}, Held: true, Opened: to}, Behind: &first, Soak: cmp.Or(c.soak, b.req.Soak),
	}
	if to > from {
		st.Question.Beside, st.UndoFirst = &first, c.undo
		st.Needs = entry(st.Question, true)
		st.Proof = b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies, gate.SameServing, gate.SameAnswers})
		st.Undo.What = mesh.Count(to-from, "pod") + " out of the Service"
	} else {
		st.Why = "out of the Service before they go: the first one is behind it again"
		st.Proof = b.withRequests([]gate.Name{gate.RolledOut})
		st.Undo.What = mesh.Count(from-to, "pod") + " into the Service"
	}
	b.add(st)
}

// endCanary ends with the first release, renewed. Order: renewed while it rests,
// brought back beside the second, proven, and only then the second goes (S-32).
func (b *builder) endCanary(c canary) {
	if c.move.End == EndCanary {
		b.find(codeGatewayHeld, Info, "gateway "+c.g.Ref.String(), "it stays at zero behind its Service, whose release it is: "+c.held.Name+" serves", "serin gateway restore "+c.g.Ref.Name+" -n "+c.g.Ref.Namespace)
		return
	}
	first, second := c.g.Ref, c.second()
	b.renew(c)
	if i := b.after().InjectionOf(b.afterOf(first)); i.Revision != b.to {
		b.find(codePinnedPods, Mandatory, "gateway "+first.String(), "its next pods would be of "+i.String()+" at the end: its pods' label "+mesh.RevLabel+" comes from elsewhere than its value revision",
			"let its value revision name it, or end: canary")
	}
	for _, p := range c.back(b.s) {
		b.add(Step{
			Kind: ScaleGateway, Target: first.String(), From: b.to, To: b.to, Namespace: first.Namespace, Workloads: []mesh.Ref{first}, Pods: &p,
			Why: "its next pods are of " + b.to + ", beside those that serve", Needs: []gate.Name{gate.ControlPlane},
			Proof:    b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies, gate.SameServing, gate.SameAnswers}),
			Question: gate.Question{Workloads: []mesh.Ref{first}, Beside: &second}, Behind: &second, Soak: cmp.Or(c.soak, b.req.Soak), Undo: Undo{What: "to " + mesh.Count(p.From, "pod") + " again"},
		})
	}
	b.openTo(c, c.size(), 0, first)
	held := c.held
	b.add(Step{
		Kind: RemoveChart, Target: held.Namespace + "/" + held.Name, From: b.to, To: b.to, Version: held.Version, Namespace: held.Namespace, Release: &held, Workloads: []mesh.Ref{second},
		Why: "no client meets it any more; its record is kept for the way back", Question: gate.Question{Workloads: []mesh.Ref{first}}, Behind: &first,
		Proof: b.withRequests([]gate.Name{gate.RolledOut}), Undo: Undo{What: "install it as it was, held"},
	})
}

// back is how the first one comes back: one pod, then all. An HPA wakes with the
// first pod and would not let it stay alone.
func (c canary) back(s mesh.Snapshot) []Pods {
	if _, scaled := s.Edge.Scaler(c.g.Ref); scaled || c.size() == 1 {
		return []Pods{{0, c.size()}}
	}
	return []Pods{{0, 1}, {1, c.size()}}
}

// afterOf is the workload as the steps so far leave it.
func (b *builder) afterOf(ref mesh.Ref) mesh.Workload {
	w, _ := b.after().Workload(ref)
	return w
}

// renew brings the first release to the new chart, and its value revision to the new one.
func (b *builder) renew(c canary) {
	r, _ := b.s.Release(c.g.Owner)
	want := mesh.Release{Namespace: r.Namespace, Name: r.Name, Chart: r.Chart, Version: r.Version}
	if olderThan(r.Version, b.req.To) {
		want.Version = b.req.To
	}
	if rev, _ := r.Values["revision"].(string); b.leaves(rev) && b.s.Resolve(rev) == rev && !b.isTag(rev, b.scope) {
		want.Values = map[string]any{"revision": b.to}
	}
	if want.Version == r.Version && want.Values == nil {
		return
	}
	b.add(Step{
		Kind: RenewGateway, Target: r.Namespace + "/" + r.Name, From: c.from, To: b.to, Version: want.Version, Namespace: r.Namespace, Release: &want,
		Why: "while it rests at zero; its Service, account and values stay", Proof: b.withRequests(nil), Undo: Undo{What: "chart " + r.Version + " again"},
	})
}

// besideLabels are the labels of the second gateway's pods.
func besideLabels(w mesh.Workload, want mesh.Release) map[string]string {
	out := maps.Clone(w.TemplateLabels)
	if out == nil {
		out = map[string]string{}
	}
	out[mesh.RevLabel], _ = want.Values["revision"].(string)
	return out
}

// simulateRenew brings a release to another chart version, and what its pods follow.
func simulateRenew(s *mesh.Snapshot, want mesh.Release) {
	rev, named := want.Values["revision"].(string)
	for i, r := range s.Releases {
		if r.Namespace != want.Namespace || r.Name != want.Name {
			continue
		}
		s.Releases[i].Version = want.Version
		if named {
			setValue(&s.Releases[i], "revision", rev)
		}
	}
	for i, w := range s.Workloads {
		if named && w.Owner == ownerOf(want) {
			s.Workloads[i].TemplateLabels = besideLabels(w, want)
		}
	}
}

// undoRenew brings it back to what it was.
func undoRenew(s *mesh.Snapshot, want mesh.Release, before mesh.Snapshot) {
	was, ok := before.Release(ownerOf(want))
	if !ok {
		return
	}
	for i, r := range s.Releases {
		if r.Namespace == want.Namespace && r.Name == want.Name {
			s.Releases[i] = was
		}
	}
	for i, w := range s.Workloads {
		if old, ok := before.Workload(w.Ref); ok && w.Owner == ownerOf(want) {
			s.Workloads[i].TemplateLabels = old.TemplateLabels
		}
	}
}

// chartNotAt says whether a release is not at a chart version.
func chartNotAt(s mesh.Snapshot, want mesh.Release) []string {
	r, ok := s.Release(ownerOf(want))
	if !ok || r.Version != want.Version || r.Status != "deployed" {
		return []string{"release " + want.Namespace + "/" + want.Name + " is not deployed at " + want.Version}
	}
	return nil
}
