package plan

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Left is what a stored run knows of a managed Gateway that one of its steps moved:
// the label that it had before, and the one that it was to end with.
type Left struct {
	Gateway string  `json:"gateway"` // namespace/name
	From    string  `json:"from"`
	To      string  `json:"to"`
	Before  *string `json:"before,omitempty"` // its label istio.io/rev on From; null is none
	Last    *string `json:"last,omitempty"`   // and on To
}

// LeftOf is what the steps of a plan leave of managed Gateways if nobody goes on
// with them, for a repair.
func LeftOf(p Plan) []Left {
	var out []Left
	for _, st := range p.Steps {
		if st.Kind == MoveGateway {
			out = append(out, Left{Gateway: st.Target, From: st.From, To: st.To, Before: st.Before[mesh.RevLabel], Last: st.Last})
		}
	}
	return out
}

// opRepair mends the managed Gateways that a run has left in the middle, frozen,
// claimed or under a tag of their own, and that no open run holds (S-27). Each is
// given its own label back: at once where its pods are of the revision that this
// leads to, else after it has been brought there as a run would have brought it.
func (b *builder) opRepair(o Operation) {
	for _, g := range b.s.Edge.Gateways {
		tag := mesh.PrivateTag(g.Namespace, g.Name)
		switch {
		case !g.OfGatewayAPI() || !g.Managed:
		case g.Frozen == tag || g.Revision == tag:
			b.mend(o, g)
		case g.Frozen != "":
			b.find(codeFrozen, Info, g.String(), "it is frozen ("+mesh.VersionAnnotation+": "+g.Frozen+"), and not by serin: it is left so", "kubectl -n "+g.Namespace+" annotate gateway "+g.Name+" "+mesh.VersionAnnotation+"-")
		}
	}
	b.dropClaims()
	b.dropTelemetries()
	if len(b.steps) > 0 && b.to == "" {
		b.to = b.steps[0].To
		c, _ := b.s.ControlPlane(b.to)
		b.req.To = c.Version
	}
	b.withoutProbe()
}

// mend plans one Gateway's way back to its own label.
func (b *builder) mend(o Operation, g mesh.GatewayObject) {
	object := g.String()
	ref, ok := b.s.DeploymentOf(g)
	if !ok {
		b.find(codeFrozen, Warning, object, "it is frozen, and nothing is deployed for it: which revision it is on cannot be told", "kubectl -n "+g.Namespace+" annotate gateway "+g.Name+" "+mesh.VersionAnnotation+"- lets its istiod deploy it again")
		return
	}
	on := b.revisionsOf(ref)
	own := b.ownLabel(o, g, ref, on)
	to, why := b.wouldProgram(g, own)
	if why != "" {
		b.find(codeFrozen, Warning, object, "it stays frozen: "+why, "let one revision alone be meant, then serin repair again; or label it with one that stays")
		return
	}
	refs := []mesh.Ref{ref}
	tag := mesh.PrivateTag(g.Namespace, g.Name)
	private := map[string]*string{mesh.RevLabel: &tag, mesh.VersionAnnotation: &tag}
	proof := b.withRequests([]gate.Name{gate.RolledOut, gate.Proxies})
	if from := slices.DeleteFunc(on, func(rev string) bool { return rev == to }); len(from) > 0 {
		now := map[string]*string{mesh.RevLabel: given(g.Revision), mesh.VersionAnnotation: given(g.Frozen)}
		b.lead(Step{
			Kind: MoveGateway, Target: g.Namespace + "/" + g.Name, Namespace: g.Namespace, Gateway: g.Name, Workloads: refs, From: from[0], To: to, Before: now, After: private, Last: own,
			Why:   "its own label leads to " + to + ", and it has pods of " + from[0] + ": brought there first, as a run would",
			Proof: proof, Soak: min(b.req.Soak, tagSoak), Question: gate.Question{Workloads: refs}, Undo: Undo{What: "the same, onto " + from[0]},
		})
		b.leave(from[0])
	}
	b.lead(Step{
		Kind: ReturnGateway, Target: g.Namespace + "/" + g.Name, Namespace: g.Namespace, Gateway: g.Name, Workloads: refs, From: to, To: to, Before: private,
		After: map[string]*string{mesh.RevLabel: own, mesh.VersionAnnotation: nil},
		Why:   "a run has left it in the middle: its own label, then no claim and no freeze",
		Proof: proof, Soak: min(b.req.Soak, tagSoak), Question: gate.Question{Workloads: refs}, Undo: Undo{What: "frozen and claimed again"},
	})
}

// given is a label or annotation that is there; nil for an empty one, which is not.
func given(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}

// revisionsOf are the revisions that a workload's pods are of, each once.
func (b *builder) revisionsOf(ref mesh.Ref) []string {
	var out []string
	for _, p := range b.pods[ref] {
		if !p.Leaving && p.Revision != "" && !slices.Contains(out, p.Revision) {
			out = append(out, p.Revision)
		}
	}
	slices.Sort(out)
	return out
}

// ownLabel is the label that a Gateway is to have by itself: the one it has where
// only the freeze is left; else what the stored run says; else what istiod has
// copied from it into its pods.
func (b *builder) ownLabel(o Operation, g mesh.GatewayObject, ref mesh.Ref, on []string) *string {
	tag := mesh.PrivateTag(g.Namespace, g.Name)
	if g.Revision != tag {
		return given(g.Revision)
	}
	for _, l := range o.Left {
		if l.Gateway != g.Namespace+"/"+g.Name {
			continue
		}
		if slices.Contains(on, l.To) {
			return l.Last
		}
		return l.Before
	}
	w, _ := b.s.Workload(ref)
	if own := w.TemplateLabels[mesh.RevLabel]; own != tag {
		return given(own)
	}
	return nil
}

// wouldProgram is the one revision that would deploy the Gateway under its own
// label, or why there is none such.
func (b *builder) wouldProgram(g mesh.GatewayObject, own *string) (string, string) {
	g.Revision = text(own)
	by := b.s.Programmers(g)
	label := "without a label it follows the default"
	if own != nil {
		label = "its own label " + mesh.RevLabel + "=" + *own
	}
	switch len(by) {
	case 0:
		return "", label + ", which leads to no revision that is ready"
	case 1:
		return by[0], ""
	}
	return "", label + ", which " + oneOf(by) + " all take for their own: they would fight over it"
}

// dropClaims plans the end of claims that no Gateway follows, and of the copies
// that were made under them.
func (b *builder) dropClaims() {
	followed := map[string]string{} // by tag: the revision whose claim ends with its Gateway's return
	for _, g := range b.s.Edge.Gateways {
		if tag := mesh.PrivateTag(g.Namespace, g.Name); g.OfGatewayAPI() && (g.Revision == tag || g.Frozen == tag) {
			followed[tag] = ""
		}
	}
	for _, st := range b.steps {
		followed[mesh.PrivateTag(st.Namespace, st.Gateway)] = st.To
	}
	var loose []mesh.Claim
	for _, c := range b.s.Claims {
		if by, yes := followed[c.Tag]; c.Serins() && (!yes || by != "" && by != c.Revision) {
			loose = append(loose, c)
		}
	}
	if len(loose) == 0 {
		return
	}
	b.add(Step{
		Kind: DropClaims, Target: mesh.Count(len(loose), "claim"), Claims: loose, To: loose[0].Revision,
		Why: "no Gateway follows them: a run has left them", Undo: Undo{What: "nothing follows them", Nothing: true},
	})
}

func claimsLeft(s mesh.Snapshot, st Step) []string {
	var out []string
	for _, c := range st.Claims {
		if slices.Contains(s.Claims, c) {
			out = append(out, fmt.Sprintf("claim %s is there", c.Name))
		}
	}
	return out
}

// dropTelemetries plans the removal of what killed commands have left of those that
// gateway logs adds (S-34).
func (b *builder) dropTelemetries() {
	left := b.s.LeftTelemetries()
	if len(left) == 0 {
		return
	}
	st := Step{
		Kind: DropTelemetry, Target: mesh.Count(len(left), "Telemetry"), Strays: left,
		Why: "gateway logs has added them, and was killed", Undo: Undo{What: "nobody reads what they have written", Nothing: true},
	}
	if len(b.s.ControlPlanes) > 0 {
		st.To = b.s.ControlPlanes[0].Revision
	}
	b.add(st)
}

// drops says whether the step removes that very Telemetry, and not another that has
// its name since.
func (s Step) drops(t mesh.Telemetry) bool {
	return slices.ContainsFunc(s.Strays, func(o mesh.Telemetry) bool { return o.Namespace == t.Namespace && o.Name == t.Name && o.UID == t.UID })
}

func telemetriesLeft(s mesh.Snapshot, st Step) []string {
	var out []string
	for _, t := range s.Telemetries {
		if st.drops(t) {
			out = append(out, t.String()+" is there")
		}
	}
	return out
}
