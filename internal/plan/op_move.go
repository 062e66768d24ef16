package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// opMove moves namespaces to a revision or a tag: both labels in one patch, two
// dry-run pods that agree, then the restarts, at the pace of an upgrade.
func (b *builder) opMove(o Operation) {
	rev := b.s.Resolve(o.To)
	if rev == "" {
		b.find(codeNamesNoObject, Mandatory, "request", "--to "+o.To+" names neither a tag nor a revision; there are "+oneOf(slices.Concat(b.tagNames(), b.s.Revisions())), "serin tag list")
		rev = o.To
	} else {
		b.goTo(rev)
	}
	var moves []nsMove
	for _, name := range o.Namespaces {
		n, ok := b.s.Namespace(name)
		if !ok {
			b.find(codeNamesNoObject, Mandatory, "namespace "+name, "there is none of this name", "kubectl get namespaces")
			continue
		}
		m := b.labelled(n, o.To)
		moves = append(moves, m)
		if len(m.after) > 0 && n.Owner.Git() {
			b.find(codeGitOpsSpace, Mandatory, "namespace "+name, ownedBy(n.Owner)+", which would write its labels back",
				"change them there: "+mesh.RevLabel+": "+o.To+" and no "+mesh.InjectionLabel)
		}
	}
	end := b.s.Clone()
	for _, m := range moves {
		setLabels(&end, m.name, m.after)
	}
	b.judgeManaged(end)
	b.judgePinned(o.Namespaces, rev)
	if b.blocked() {
		return
	}
	for _, m := range moves {
		b.moveOneNamespace(m, end, o)
	}
	b.withoutProbe()
}

// labelled says how a namespace's labels change to name a revision or tag. With
// istio-injection beside it, istio.io/rev would do nothing (R§1.2).
func (b *builder) labelled(n mesh.Namespace, to string) nsMove {
	m := nsMove{name: n.Name, from: b.s.Injection(n.Labels, nil).Revision, before: map[string]*string{}, after: map[string]*string{}}
	if rev, has := n.Labels[mesh.RevLabel]; !has || rev != to {
		m.before[mesh.RevLabel], m.after[mesh.RevLabel] = nil, &to
		if has {
			m.before[mesh.RevLabel] = &rev
		}
	}
	if v, has := n.Labels[mesh.InjectionLabel]; has {
		m.before[mesh.InjectionLabel], m.after[mesh.InjectionLabel] = &v, nil
	}
	return m
}

// judgePinned finds configuration that only another revision reads: what moves would lose it.
func (b *builder) judgePinned(namespaces []string, rev string) {
	for _, o := range b.s.PinnedObjects {
		if slices.Contains(namespaces, o.Namespace) && o.Revision != rev {
			b.find(codePinnedObject, Overridable, objectName(o), "its label "+mesh.RevLabel+"="+o.Revision+" hides it from "+rev+": what moves would lose it", "take the label off")
		}
	}
}

func (b *builder) moveOneNamespace(m nsMove, end mesh.Snapshot, o Operation) {
	b.leave(m.from)
	first := 0
	if len(m.after) > 0 {
		why := "both label edits in one patch; from here on every new pod of the namespace is on " + b.to + ", restarts or not"
		if m.from == "" {
			why = "its pods had no sidecar; from here on every new one has"
		}
		first = b.lead(Step{
			Kind: MoveNamespace, Target: m.name, Namespace: m.name, From: m.from, To: b.to, Before: m.before, After: m.after,
			Why: why, Needs: []gate.Name{gate.ControlPlane}, Proof: []gate.Name{gate.Injection},
			Question: gate.Question{Namespaces: []string{m.name}}, Undo: Undo{What: "label back"},
		})
	}
	if o.LabelsOnly {
		return
	}
	b.restartStale(end, func(w mesh.Workload) bool { return w.Namespace == m.name }, first, false)
}

// opRestart restarts what runs on another revision than its labels lead to, and
// nothing else. With --first-pod one new pod of each is proven beside the old
// ones, and a person says whether the rest follows or the new ones go.
func (b *builder) opRestart(o Operation) {
	found := map[string]bool{}
	match := func(w mesh.Workload) bool {
		if len(o.Namespaces) > 0 && !slices.Contains(o.Namespaces, w.Namespace) {
			return false
		}
		if len(o.Workloads) == 0 {
			return true
		}
		for _, name := range o.Workloads {
			if namesWorkload(name, w) {
				found[name] = true
				return true
			}
		}
		return false
	}
	for _, ns := range o.Namespaces {
		if _, ok := b.s.Namespace(ns); !ok {
			b.find(codeNamesNoObject, Mandatory, "namespace "+ns, "there is none of this name", "kubectl get namespaces")
		}
	}
	for _, w := range b.s.Workloads {
		_ = match(w)
	}
	for _, name := range o.Workloads {
		if !found[name] {
			b.find(codeNamesNoObject, Mandatory, "workload "+name, "there is none of this name that has, or would have, a proxy", "say where it is: -n NAMESPACE")
		}
	}
	if b.blocked() {
		return
	}
	b.surge = o.Surge
	b.restartStale(b.s, match, 0, o.FirstPod)
	b.withoutProbe()
}

// namesWorkload reads name, kind/name and namespace/name, as people type them.
func namesWorkload(name string, w mesh.Workload) bool {
	before, after, both := strings.Cut(name, "/")
	if !both {
		return w.Name == name
	}
	kind := strings.ToLower(string(w.Kind))
	shorts := map[string]string{"deploy": "deployment", "sts": "statefulset", "ds": "daemonset"}
	before = strings.TrimSuffix(strings.ToLower(before), "s")
	before, _, _ = strings.Cut(before, ".")
	isKind := before == kind || shorts[before] == kind || shorts[before+"s"] == kind
	return w.Name == after && (isKind || strings.EqualFold(name, w.Namespace+"/"+w.Name))
}

// restartStale adds the restarts of workloads that run on another revision than
// they would on the mesh as it will be, in waves by namespace and by where they
// come from and go to, gateways apart. What cannot be restarted is listed.
func (b *builder) restartStale(end mesh.Snapshot, match func(mesh.Workload) bool, undoFirst int, ask bool) {
	type group struct {
		ns, from, to string
		gateway      bool
	}
	groups := map[group][]unit{}
	for _, w := range b.s.Workloads {
		i := end.InjectionOf(w)
		if !match(w) || i.Conflict {
			if match(w) {
				b.find(codeDouble, Overridable, "workload "+w.String(), "injectors of different revisions take its pods: "+strings.Join(i.Injectors, ", "), "serin tag repair")
			}
			continue
		}
		from, stale := b.staleness(w, i.Revision)
		switch {
		case !stale:
			continue
		case i.None():
			b.find(codeNamesNothing, Overridable, "workload "+w.String(), "it has pods on "+from+", and its next pods would have no sidecar", "serin move "+w.Namespace+" --to REVISION")
			continue
		case !end.Serves(i.Revision):
			b.find(codeNotReady, Mandatory, "workload "+w.String(), "its next pods would come from revision "+i.Revision+", which has no ready istiod", "mend it first")
			continue
		case !restartable(w):
			b.judgeNotRestarted(w, from)
			continue
		}
		b.judgeRestart(w)
		g := group{ns: w.Namespace, from: from, to: i.Revision, gateway: w.Gateway()}
		groups[g] = append(groups[g], unit{w: w, from: from})
	}
	keys := make([]group, 0, len(groups))
	for g := range groups {
		keys = append(keys, g)
	}
	rank := func(g group) int {
		if g.gateway {
			return 1
		}
		return 0
	}
	slices.SortFunc(keys, func(x, y group) int {
		return cmp.Or(rank(x)-rank(y), cmp.Compare(x.ns, y.ns), cmp.Compare(x.to, y.to), cmp.Compare(x.from, y.from))
	})
	for _, g := range keys {
		c, _ := b.s.ControlPlane(g.to)
		b.to, b.req.To = g.to, c.Version
		b.leave(g.from)
		b.restartGroup(wave{ns: g.ns, units: groups[g], why: "they run on " + cmp.Or(g.from, "no sidecar") + " and their labels lead to " + g.to}, undoFirst, ask)
	}
}

// staleness says whether a pod of the workload is on another revision than it would be.
func (b *builder) staleness(w mesh.Workload, rev string) (string, bool) {
	for _, p := range b.pods[w.Ref] {
		if !p.Leaving && p.Revision != rev {
			return p.Revision, true
		}
	}
	return "", false
}

// restartGroup adds a wave's restart. By itself it cannot be taken back: its
// labels would lead it to the same revision again.
func (b *builder) restartGroup(w wave, undoFirst int, ask bool) { //nolint:revive // ask is the operation's
	from := len(b.steps)
	b.restart(w, []gate.Name{gate.ControlPlane}, undoFirst)
	for i := range b.steps[from:] {
		st := &b.steps[from+i]
		if c, ok := b.s.ControlPlane(st.To); ok {
			st.Question.Istiods = max(c.Ready, 1)
		}
		if st.Kind != Restart {
			continue
		}
		if undoFirst == 0 {
			st.Undo = Undo{Irreversible: "its labels lead to " + st.To + ": move them back, then serin restart"}
		}
		if ask {
			st.Needs = append(st.Needs, gate.Approval)
		}
	}
}

// judgeNotRestarted lists what a rolling restart does not reach.
func (b *builder) judgeNotRestarted(w mesh.Workload, from string) {
	reason := notRestartable(w)
	b.find(codeCannotRestart, Warning, "workload "+w.String(), reason+"; it stays on "+cmp.Or(from, "no sidecar"), "restart it yourself")
}
