package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func argo() mesh.Owner { return mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"} }

// byArgo is bookinfo as Argo CD installs it.
func byArgo() mesh.Snapshot { return meshtest.ByGit(meshtest.Bookinfo("1.27.0").Snapshot(), argo()) }

// through lists the steps that go through Git, as "kind target: owner".
func through(p plan.Plan) []string {
	var out []string
	for _, st := range p.Steps {
		if st.ByGit() {
			out = append(out, fmt.Sprintf("%s %s: %s", st.Kind, st.Target, st.Git))
		}
	}
	return out
}

func TestS45_whatGitDeclaresGoesThroughGit(t *testing.T) {
	all := []string{
		"pin-default-tag default: argocd istio", "upgrade-base CRDs: argocd istio", "install-revision istiod-1-29-1: argocd istio",
		"move-namespace default: argocd istio", "move-tag default: argocd istio", "restore-labels default: argocd istio", "remove-revision default: argocd istio",
	}
	said := []string{
		"pin-default-tag default: git", "upgrade-base istio-base: git", "install-revision istiod-1-29-1: git",
		"move-namespace default: git", "move-tag default: git", "restore-labels default: git", "remove-revision default: git",
	}
	git := func(r *plan.Request) { r.Owners = plan.OwnersGit }
	for _, tt := range []struct {
		name string
		s    mesh.Snapshot
		req  plan.Request
		want []string
	}{
		{"nothing is Git's", meshtest.Bookinfo("1.27.0").Snapshot(), probed(), nil},
		{"all of it is Argo CD's: restarts are nobody's", byArgo(), probed(), all},
		{"a person says so where there is no mark", meshtest.Bookinfo("1.27.0").Snapshot(), ask(git), said},
		{"a mark says more than a person", byArgo(), ask(git), all},
		{"a namespace's labels", change(func(s *mesh.Snapshot) { s.Namespaces[1].Owner = argo() }).Snapshot(), probed(), []string{
			"move-namespace default: argocd istio", "restore-labels default: argocd istio",
		}},
		{"a workload is restarted all the same", change(func(s *mesh.Snapshot) { s.Workloads[0].Owner = argo() }).Snapshot(), probed(), nil},
		{"the validator takes the default tag with it", change(func(s *mesh.Snapshot) { s.Validators[0].Owner = argo() }).Snapshot(), probed(), []string{"move-tag default: argocd istio"}},
		{"a user's tag", meshtest.Bookinfo("1.27.0").Tag("prod", "default").Change(tagOwner(argo())).Snapshot(), probed(), []string{"move-tag prod: argocd istio"}},
		{"S-45: the injector alone would be made again", change(func(s *mesh.Snapshot) { s.Injectors[0].Owner = argo() }).Snapshot(), probed(), []string{
			"pin-default-tag default: argocd istio", "install-revision istiod-1-29-1: argocd istio", "move-tag default: argocd istio", "remove-revision default: argocd istio",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.s, tt.req)
			if len(p.Steps) == 0 {
				t.Fatalf("no plan: %+v", p.Findings)
			}
			if d := cmp.Diff(tt.want, through(p)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if err := plan.Verify(p); err != nil {
				t.Error(err)
			}
		})
	}
}

// What somebody installs by itself stands in the way, unless all goes through Git.
func TestS45_anInstallerIsNoObstacleWhereGitIsWaitedFor(t *testing.T) {
	survey := &mesh.Survey{Installers: []mesh.Object{{Kind: "Application", Namespace: "argocd", Name: "istiod", Note: "Argo CD, chart istiod"}}}
	blocked := func(s mesh.Snapshot, r plan.Request) bool {
		s.Survey = survey
		return slices.ContainsFunc(plan.Build(s, r).Findings, check.Finding.Blocking)
	}
	plain := meshtest.Bookinfo("1.27.0").Snapshot()
	if !blocked(plain, probed()) {
		t.Error("what another tool installs would be changed behind its back")
	}
	if blocked(byArgo(), probed()) || blocked(plain, ask(func(r *plan.Request) { r.Owners = plan.OwnersGit })) {
		t.Error("serin writes nothing of it, and refuses")
	}
}

// A single operation does not wait: it is refused, with the words to commit.
func TestS45_aSingleOperationIsRefused(t *testing.T) {
	p := plan.Build(byArgo(), plan.Request{Operation: &plan.Operation{Verb: plan.Move, Namespaces: []string{"default"}, To: "default"}})
	if len(p.Steps) > 0 || !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1035" && f.Blocking() }) {
		t.Errorf("%d steps, %+v", len(p.Steps), p.Findings)
	}
}

// Each step of each golden plan, through Git and not: it is missing before it and
// not after it, forward and back, and no drift is seen between the two ends.
func TestS45_missingKnowsBothEndsOfEachStep(t *testing.T) {
	for _, sc := range scenarios() {
		for _, git := range []bool{false, true} {
			s := sc.world.Snapshot()
			if git {
				s = meshtest.ByGit(s, argo())
			}
			p := plan.Build(s, sc.req)
			if out := endsOf(s, p); len(out) > 0 {
				t.Errorf("%s, through Git %v:\n%s\n%s", sc.name, git, lines(out), outline(p))
			}
		}
	}
	seen := 0
	for seed := range uint64(150) {
		s, req := random(seed)
		s = meshtest.ByGit(s, argo())
		p := plan.Build(s, req)
		seen += len(p.Steps)
		if out := endsOf(s, p); len(out) > 0 {
			t.Errorf("seed %d:\n%s\n%s", seed, lines(out), outline(p))
		}
	}
	if seen < 300 {
		t.Errorf("only %d steps of random meshes: the test proves little", seen)
	}
}

func endsOf(start mesh.Snapshot, p plan.Plan) []string {
	var out []string
	say := func(st plan.Step, format string, args ...any) {
		out = append(out, fmt.Sprintf("step %d (%s %s): ", st.Number, st.Kind, st.Target)+fmt.Sprintf(format, args...))
	}
	s := start
	var applied []int
	for i, st := range p.Steps {
		restart := st.Kind == plan.Restart || st.Kind == plan.FirstPods // may have nothing left to do
		if len(plan.Missing(s, st)) == 0 && !restart && !unseen(st) {
			say(st, "nothing is missing before it")
		}
		after := plan.Simulate(s, st)
		if m := plan.Missing(after, st); len(m) > 0 && !unseen(st) {
			say(st, "missing after it: %s", strings.Join(m, "; "))
		}
		if d := plan.Drift(after, after, p); len(d) > 0 {
			say(st, "drift: %s", strings.Join(d, "; "))
		}
		s, applied = after, append(applied, i)
	}
	for _, i := range plan.UndoOrder(p, applied) {
		st := p.Steps[i]
		if st.Undo.Irreversible != "" {
			break
		}
		if st.ByGit() && !st.Undo.Nothing && len(plan.MissingBack(s, st, start)) == 0 {
			say(st, "nothing is missing before it is taken back")
		}
		s = plan.SimulateUndo(s, st, start)
		if m := plan.MissingBack(s, st, start); len(m) > 0 && st.ByGit() {
			say(st, "missing after it was taken back: %s", strings.Join(m, "; "))
		}
	}
	return out
}

// unseen says whether a step leaves nothing in a Snapshot of these fixtures: what
// istioctl applies has no release, and the fixtures' definitions no label.
func unseen(st plan.Step) bool { return st.Kind == plan.UpgradeBase && !st.ByGit() }

// The promises hold through Git as well: no orphan, no namespace without an
// injector, forward and back, to what it was (S-51).
func TestS45_promisesHoldThroughGit(t *testing.T) {
	for _, sc := range scenarios() {
		s := meshtest.ByGit(sc.world.Snapshot(), argo())
		p := plan.Build(s, sc.req)
		c := promise{p, s}
		states, broken := c.forward(p.Steps)
		if broken = append(broken, c.back(states)...); len(broken) > 0 {
			t.Errorf("%s: %s\n%s", sc.name, lines(broken), outline(p))
		}
	}
}

// What Git has made is no drift, whatever its tool calls its releases; what
// somebody else does is.
func TestS14_whatGitMakesIsNoDrift(t *testing.T) {
	flux := mesh.Owner{Kind: mesh.OwnerFlux, Name: "flux-system/istiod"}
	s := meshtest.ByGit(meshtest.Bookinfo("1.27.0").Snapshot(), flux)
	s.Releases = append(s.Releases,
		mesh.Release{Namespace: "istio-system", Name: "base", Chart: "base", Version: "1.27.0", Status: "deployed", Values: map[string]any{"defaultRevision": "default"}},
		mesh.Release{Namespace: "istio-system", Name: "istiod", Chart: "istiod", Version: "1.27.0", Status: "deployed"})
	p := plan.Build(s, probed())
	if len(p.Steps) == 0 {
		t.Fatalf("no plan: %+v", p.Findings)
	}
	want := s
	for _, st := range p.Steps {
		want = plan.Simulate(want, st)
		got := want.Clone()
		for i, r := range got.Releases {
			if r.Chart != "gateway" {
				got.Releases[i].Values = map[string]any{"by": "flux"}
			}
		}
		got.Releases = append(got.Releases, mesh.Release{Namespace: "istio-system", Name: "any-name", Chart: "istiod", Version: "1.29.1"})
		if d := plan.Drift(want, got, p); len(d) > 0 {
			t.Errorf("after %s: %s", st.Kind, lines(d))
		}
		got.Namespaces[0].Labels = map[string]string{mesh.RevLabel: "other"}
		for i, n := range got.Namespaces {
			if n.Name == "default" {
				got.Namespaces[i].Labels = map[string]string{mesh.RevLabel: "other"}
			}
		}
		if len(plan.Drift(want, got, p)) == 0 {
			t.Errorf("after %s: a label of somebody else is not seen", st.Kind)
		}
	}
	if _, left := want.ControlPlane("default"); left || slices.ContainsFunc(want.Releases, func(r mesh.Release) bool { return r.Name == "istiod" }) {
		t.Errorf("the old release is left: %+v", want.Releases)
	}
}

func TestCommit_saysBothWays(t *testing.T) {
	p := plan.Build(byArgo(), probed())
	want := []string{
		"tag default for revision default, and the injector of that revision switched off | switch the injector of revision default on, and take tag default out",
		"the base chart, or its CRDs, at 1.29.1 | the base chart, or its CRDs, at 1.29.1",
		"a control plane of revision 1-29-1 at 1.29.1 | take revision 1-29-1 out",
		"namespace default with istio-injection- istio.io/rev=1-29-1 | namespace default with istio-injection=enabled istio.io/rev-",
		"tag default for revision 1-29-1: injector, Service and validator | tag default for revision default: injector, Service and validator",
		"namespace default with istio-injection=enabled istio.io/rev- | namespace default with istio-injection- istio.io/rev=1-29-1",
		"take revision default out | the control plane of revision default again, at 1.27.0",
	}
	var got []string
	for _, st := range p.Steps {
		if st.ByGit() {
			got = append(got, plan.Commit(st, false)+" | "+plan.Commit(st, true))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
