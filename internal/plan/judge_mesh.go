package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

func (b *builder) judgeTags() {
	for _, t := range b.s.Tags() {
		object := "tag " + t.Name
		if !b.s.Serves(t.Revision) {
			b.find(codeDangling, Mandatory, object, "it leads to revision "+t.Revision+", which has no ready control plane: pods that follow it cannot be made",
				"move it: serin tag set "+t.Name+" --revision REVISION --overwrite")
			continue
		}
		if !slices.Contains(b.scope.tags, t.Name) {
			continue
		}
		if t.Split {
			b.find(codeSplit, Mandatory, object, "its parts disagree: "+parts(t), "serin tag repair "+t.Name)
		}
		if t.Injector == "" {
			b.find(codeSplit, Mandatory, object, "it has a Service and no injector", "serin tag repair "+t.Name)
		}
		switch {
		case t.Owner.Kind == mesh.OwnerHelm:
			b.find(codeHelmTag, Mandatory, object, ownedBy(t.Owner)+" (revisionTags): it cannot move to another release without a moment with none",
				"take it out of the release's revisionTags and set it by hand: serin tag set "+t.Name+" --revision "+t.Revision)
		case t.Owner.Git():
			b.find(codeGitOpsTag, Info, object, ownedBy(t.Owner)+": serin waits until it is moved there", whatToCommit)
		}
	}
	b.judgeDefault()
	b.judgeBase()
}

func parts(t mesh.Tag) string {
	out := []string{"injector " + t.Revision}
	if t.Service != "" {
		out = append(out, "Service "+t.Service)
	}
	if t.Validator != "" {
		out = append(out, "validator "+t.Validator)
	}
	return strings.Join(out, ", ")
}

// judgeDefault is about the default validator.
func (b *builder) judgeDefault() {
	v, ok := b.s.DefaultValidator()
	if !ok {
		return
	}
	object := "validator " + v.Name
	_, hasTag := b.s.Tag(mesh.DefaultTag)
	moves := slices.Contains(b.scope.tags, mesh.DefaultTag)
	switch {
	case !b.s.Serves(v.Revision):
		sev := Mandatory
		if v.FailurePolicy == "Ignore" {
			sev = Warning
		}
		b.find(codeDangling, sev, object, "it calls revision "+v.Revision+", which has no ready control plane", "set defaultRevision of the base release to a revision that is there")
	case !hasTag && !b.scope.pin && b.leaves(v.Revision):
		b.find(codeLoneValidator, Mandatory, object, "it calls revision "+v.Revision+" and there is no default tag with which it could move",
			"set one: serin tag set default --revision "+v.Revision)
	}
	if moves && v.Owner.Git() {
		b.find(codeGitOpsTag, Info, object, ownedBy(v.Owner)+": serin waits until it names "+b.to+" there, when the default tag moves", whatToCommit)
	}
}

// judgeBase is about the base release, which renders the default validator.
func (b *builder) judgeBase() {
	base, ok := b.s.Base()
	t, hasTag := b.s.Tag(mesh.DefaultTag)
	if ok && hasTag && slices.Contains(b.scope.tags, mesh.DefaultTag) && base.DefaultRevisionValue() != t.Revision {
		b.find(codeBaseDisagrees, Warning, "release "+base.Namespace+"/"+base.Name,
			fmt.Sprintf("its value defaultRevision is %q and the default tag leads to %s: its next upgrade would move the validator", base.DefaultRevisionValue(), t.Revision), "")
	}
}

func (b *builder) judgeNamespaces() {
	for _, n := range b.s.Namespaces {
		object := "namespace " + n.Name
		injection, hasInjection := n.Labels[mesh.InjectionLabel]
		rev, hasRev := n.Labels[mesh.RevLabel]
		i := b.s.Injection(n.Labels, nil)
		switch {
		case i.Conflict:
			b.find(codeDouble, Mandatory, object, "injectors of different revisions take its pods: "+strings.Join(i.Injectors, ", "),
				"switch the one off that should not: serin tag set default does it to the unrevisioned one")
		case i.None() && (injection == "enabled" || !hasInjection && rev != ""):
			b.find(codeNamesNothing, Overridable, object, "its labels ask for injection and nothing answers: its pods start without a sidecar", "label it with a revision or a tag that is there")
		case hasInjection && hasRev:
			b.find(codeBothLabels, Warning, object, "it has both labels: "+mesh.InjectionLabel+" counts and "+mesh.RevLabel+" does nothing (IST0123)", "take one off")
		}
		if _, moves := b.nsOf(n.Name); moves && n.Owner.Git() {
			b.find(codeGitOpsSpace, Info, object, ownedBy(n.Owner)+": serin waits until its labels are changed there", whatToCommit)
		}
	}
	b.judgeOverlap()
}

// judgeOverlap finds an unrevisioned injector that is on beside a default tag of
// the same revision: harmless until the tag moves.
func (b *builder) judgeOverlap() {
	t, ok := b.s.Tag(mesh.DefaultTag)
	if !ok || !slices.Contains(b.scope.tags, mesh.DefaultTag) || t.Revision != mesh.DefaultRevision {
		return
	}
	for _, in := range b.s.Injectors {
		if in.Tag == "" && in.Revision == mesh.DefaultRevision && !in.IsOff() {
			b.find(codeDouble, Mandatory, "injector "+in.Name, "it is on beside the default tag: once the tag moves two revisions would inject the same pods",
				"serin tag repair default switches it off")
		}
	}
}

// judgeShapes refuses what this serin does not know how to move.
func (b *builder) judgeShapes() {
	for _, o := range b.s.Unsupported {
		b.find(codeUnsupported, Mandatory, strings.TrimSpace(strings.ToLower(o.Kind)+" "+strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")), o.Note, "serin does not support this yet: upgrade by hand")
	}
	b.judgeManagedGateways()
}

// judgeRequest looks at what was asked for.
func (b *builder) judgeRequest() {
	if p := b.req.Prometheus; len(b.req.Sends()) == 0 && (p == nil || len(p.Asks()) == 0) {
		b.find(codeNoProbe, Overridable, "request", "nothing sends requests, and no Prometheus is asked: only what the proxies of moved pods and of their callers count says whether any fail",
			"name an address that serin may call: --probe-url URL; or ignore this check: then that is all that is compared")
	}
	if b.req.Budget != nil && len(b.req.Sends()) == 0 {
		b.find(codeBudgetBlind, Mandatory, "request", fmt.Sprintf("its budget of %s cannot be kept: nothing sends requests, so that none is counted", mesh.Count(*b.req.Budget, "failed request")),
			"name an address that serin may call: --probe-url URL; or leave out --budget")
	}
	b.judgeProbes()
	b.judgePrometheus()
	b.judgeSecrets()
	b.judgeHooks()
	b.judgeWindows("request", b.req.Windows)
	for i, w := range b.req.Waves {
		b.judgeWindows(fmt.Sprintf("wave %d", i+1), w.Windows)
		for _, name := range b.strangers(w) {
			b.find(codeWave, Mandatory, fmt.Sprintf("wave %d", i+1), name+" is not there", "mend the request's waves")
		}
		for _, u := range b.scope.byTag {
			if slices.Contains(w.Workloads, u.w.Namespace+"/"+u.w.Name) {
				b.find(codeWaveLater, Warning, fmt.Sprintf("wave %d", i+1), "workload "+u.w.String()+" follows only the tag "+u.tag+": it restarts after the tag has moved", "")
			}
		}
		if w.Percent < 0 || w.Percent > 100 {
			b.find(codeWave, Mandatory, fmt.Sprintf("wave %d", i+1), fmt.Sprintf("%d is no percentage", w.Percent), "mend the request's waves")
		}
	}
}

// strangers are the names in a wave that the mesh does not have.
func (b *builder) strangers(w Wave) []string {
	var out []string
	for _, ns := range w.Namespaces {
		if _, ok := b.s.Namespace(ns); !ok {
			out = append(out, "namespace "+ns)
		}
	}
	for _, t := range w.Tags {
		if _, ok := b.s.Tag(t); !ok && t != mesh.DefaultTag {
			out = append(out, "tag "+t)
		}
	}
	for _, name := range w.Workloads {
		if !slices.ContainsFunc(b.s.Workloads, func(o mesh.Workload) bool { return o.Namespace+"/"+o.Name == name }) {
			out = append(out, "workload "+name)
		}
	}
	return out
}
