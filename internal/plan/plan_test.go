package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func TestBuild_theUsualMesh(t *testing.T) {
	p, c := bookinfo()
	want := `1 pin-default-tag default
2 upgrade-base istio-base
3 install-revision istiod-1-29-1
4 move-namespace default
5 restart-workloads default/reviews-v1 <4
6 restart-workloads default/* (5) <4
7 move-tag default
8 restart-workloads istio-ingress/istio-ingress <7
9 restore-labels default
10 remove-revision default
`
	if d := cmp.Diff(want, outline(p)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(plan.Counts{ControlPlanes: 1, Namespaces: 2, Workloads: 6, Gateways: 1, Proxies: 7}, p.Counts); d != "" {
		t.Error(d)
	}
	states, broken := c.forward(p.Steps)
	if broken = append(broken, c.back(states)...); len(broken) > 0 {
		t.Error(lines(broken))
	}
}

// A plan whose steps are in another order must break a promise: the tests see
// what they say they see.
func TestS52_reorderedStepsAreCaught(t *testing.T) {
	p, c := bookinfo()
	if _, broken := c.forward(p.Steps); len(broken) > 0 {
		t.Fatalf("the plan itself: %s", lines(broken))
	}
	for _, tt := range []struct {
		name string
		a, b int // step numbers that change places
		want string
	}{
		{"the namespace moves before the revision stands", 3, 4, "its labels ask for injection and nothing answers"},
		{"the tag moves before the revision stands", 3, 7, "calls revision 1-29-1, which is not ready"},
		{"the canary restarts before its namespace has moved", 4, 5, "refers to default, which was removed"},
		{"the rest restarts before its namespace has moved", 4, 6, "refers to default, which was removed"},
		{"the gateway restarts before its tag has moved", 7, 8, "refers to default, which was removed"},
		{"labels are restored before the tag has moved", 7, 9, "namespace default was on the new revision and is not any more"},
		{"labels are restored before they have moved", 4, 9, "S-7, at the end: namespace default"},
		{"the old revision goes before the gateway has restarted", 8, 10, "pod istio-ingress/istio-ingress-0: runs on revision default, which is not ready"},
		{"the old revision goes before the tag has moved", 7, 10, "calls revision default, which is not ready"},
		{"the old revision goes before the namespace has moved", 4, 10, "pod default/reviews-v1-0: runs on revision default"},
		{"the old revision goes first", 1, 10, "injected by revision default"},
		{"the default is pinned after the tag has moved", 1, 7, "calls revision 1-29-1, which is not ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := slices.Clone(p.Steps)
			steps[tt.a-1], steps[tt.b-1] = steps[tt.b-1], steps[tt.a-1]
			_, broken := c.forward(steps)
			if !strings.Contains(lines(broken), tt.want) {
				t.Errorf("want %q, got:\n%s", tt.want, lines(broken))
			}
		})
	}
}

func TestS52_aStepLeftOutIsCaught(t *testing.T) {
	p, c := bookinfo()
	harmless := []plan.Kind{plan.UpgradeBase} // CRDs are not simulated beyond their owner
	for i, st := range p.Steps {
		if slices.Contains(harmless, st.Kind) || st.Kind == plan.RemoveRevision {
			continue
		}
		_, broken := c.forward(slices.Delete(slices.Clone(p.Steps), i, i+1))
		if len(broken) == 0 {
			t.Errorf("without step %d (%s) no promise breaks", st.Number, st.Kind)
		}
	}
}

func TestS52_undoInPlainReverseOrderIsCaught(t *testing.T) {
	p, c := bookinfo()
	states, _ := c.forward(p.Steps[:6])
	s := states[6]
	for i := 5; i >= 0; i-- {
		s = plan.SimulateUndo(s, p.Steps[i], c.start)
	}
	if len(c.broken(s)) == 0 && len(c.start.Differences(s)) == 0 {
		t.Error("a restart taken back before its labels comes up on the new revision again: that must show")
	}
}

func TestUndoOrder(t *testing.T) {
	p, _ := bookinfo()
	for _, tt := range []struct {
		name    string
		applied []int
		want    []int
	}{
		{"nothing", nil, nil},
		{"before anything moved", []int{0, 1, 2}, []int{2, 1, 0}},
		{"a restart waits for its labels", []int{0, 1, 2, 3, 4, 5}, []int{3, 5, 4, 2, 1, 0}},
		{"a gateway waits for its tag", []int{0, 1, 2, 3, 4, 5, 6, 7, 8}, []int{8, 6, 7, 3, 5, 4, 2, 1, 0}},
		{"a restart whose labels were not moved by this run", []int{4, 5}, []int{5, 4}},
		{"what was removed comes back first", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []int{9, 8, 6, 7, 3, 5, 4, 2, 1, 0}},
		{"nothing before what cannot be taken back", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, []int{9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := p
			if len(tt.want) == 1 {
				p.Steps = slices.Clone(p.Steps)
				p.Steps[9].Undo = plan.Undo{Irreversible: "istioctl made it"}
			}
			if d := cmp.Diff(tt.want, plan.UndoOrder(p, tt.applied)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestS07_bothLabelEditsInOnePatch(t *testing.T) {
	p, _ := bookinfo()
	st := p.Steps[3]
	enabled, rev := "enabled", "1-29-1"
	if d := cmp.Diff(map[string]*string{mesh.InjectionLabel: &enabled, mesh.RevLabel: nil}, st.Before); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]*string{mesh.InjectionLabel: nil, mesh.RevLabel: &rev}, st.After); d != "" {
		t.Error(d)
	}
}

// The new revision is asked before the first move, whatever that is, and only then.
func TestBuild_provesBeforeTheFirstMove(t *testing.T) {
	asks := func(p plan.Plan) []int {
		var out []int
		for _, st := range p.Steps {
			if slices.Contains(st.Needs, gate.Prove) {
				out = append(out, st.Number)
			}
		}
		return out
	}
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(s, probed())
	if d := cmp.Diff([]int{4}, asks(p)); d != "" {
		t.Error(d)
	}
	if n := len(p.Moved()); n != 7 {
		t.Errorf("%d workloads move: %v", n, p.Moved())
	}
	r := p.Request
	r.Prove = &plan.Prove{Accept: []string{"CDS connectTimeout changed"}}
	if p := plan.Build(s, r); !slices.Equal(p.Steps[3].Question.Accept, r.Prove.Accept) {
		t.Errorf("%+v", p.Steps[3].Question)
	}
	r.Prove = &plan.Prove{Off: true}
	off := plan.Build(s, r)
	if len(asks(off)) > 0 || !slices.ContainsFunc(off.Findings, func(f plan.Finding) bool { return f.Code == "SRN1064" && f.Severity == plan.Warning }) {
		t.Errorf("%v %v", asks(off), off.Findings)
	}
}

func TestBuild_gates(t *testing.T) {
	p, _ := bookinfo()
	needs := map[plan.Kind][]gate.Name{
		plan.MoveNamespace: {gate.ControlPlane, gate.Prove}, plan.MoveTag: {gate.ControlPlane}, plan.RemoveRevision: {gate.NothingRefers, gate.Approval},
	}
	proof := map[plan.Kind][]gate.Name{
		plan.PinDefault: {gate.Injection, gate.Tags}, plan.UpgradeBase: {gate.CRDs}, plan.InstallRevision: {gate.ControlPlane},
		plan.MoveNamespace: {gate.Injection}, plan.Restart: {gate.RolledOut, gate.Proxies, gate.Served, gate.Requests},
		plan.MoveTag: {gate.Tags, gate.Injection, gate.Requests}, plan.RestoreLabels: {gate.Injection}, plan.RemoveRevision: {gate.Injection},
	}
	for _, st := range p.Steps {
		if st.Kind != plan.Restart {
			if d := cmp.Diff(needs[st.Kind], st.Needs); d != "" {
				t.Errorf("%s needs: %s", st.Kind, d)
			}
		}
		if d := cmp.Diff(proof[st.Kind], st.Proof); d != "" {
			t.Errorf("%s proof: %s", st.Kind, d)
		}
		if st.Question.Step != st.Number || st.Question.Revision == "" || st.Question.Version == "" || st.Why == "" {
			t.Errorf("step %d lacks something: %+v", st.Number, st)
		}
		if slices.Contains(st.Proof, gate.Injection) && len(st.Question.Namespaces) == 0 {
			t.Errorf("step %d asks for dry-run pods and names no namespace", st.Number)
		}
		if st.Undo == (plan.Undo{}) {
			t.Errorf("step %d says nothing of its undo", st.Number)
		}
	}
}

func TestBuild_questions(t *testing.T) {
	p, _ := bookinfo()
	both := []string{"default", "istio-ingress"}
	gateway := []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "istio-ingress", Name: "istio-ingress"}}
	for step, want := range map[int]gate.Question{
		1:  {Revision: "default", Version: "1.27.0", Namespaces: both, Workloads: gateway, Step: 1},
		4:  {Revision: "1-29-1", Old: "default", Version: "1.29.1", Namespaces: both[:1], Step: 4},
		7:  {Revision: "1-29-1", Old: "default", Version: "1.29.1", Namespaces: both, Workloads: gateway, Step: 7},
		8:  {Revision: "1-29-1", Old: "default", Version: "1.29.1", Workloads: gateway, Step: 8, MinServed: 1, Counted: true},
		10: {Revision: "1-29-1", Old: "default", Version: "1.29.1", Namespaces: both, Workloads: gateway, Step: 10},
	} {
		if d := cmp.Diff(want, p.Steps[step-1].Question); d != "" {
			t.Errorf("step %d: %s", step, d)
		}
	}
	if time.Duration(p.Steps[4].Soak) != 30*time.Second || p.Steps[4].Pace != 5 || p.Steps[4].Question.MinServed != 1 {
		t.Errorf("defaults of a restart: %+v", p.Steps[4])
	}
}

func TestKinds_eachIsPlannedSimulatedAndUndone(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Deployment("default", "ratings-v2", meshtest.Service("ratings"), meshtest.Replicas(3)).Snapshot()
	p := plan.Build(s, probed())
	c := promise{p, s}
	states, _ := c.forward(p.Steps)
	for _, k := range plan.Kinds() {
		i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == k })
		if i < 0 {
			t.Errorf("%s is in no plan of the usual mesh", k)
			continue
		}
		if d := cmp.Diff(states[i], states[i+1]); d == "" {
			t.Errorf("simulating %s changes nothing", k)
		}
		st := p.Steps[i]
		taken := plan.SimulateUndo(states[i+1], st, c.start)
		if stays := st.Undo.Irreversible != "" || st.Undo.Nothing; stays != cmp.Equal(taken, states[i+1]) && k != plan.Restart && k != plan.FirstPods {
			t.Errorf("taking back %s: it says %+v", k, st.Undo)
		}
	}
}

func TestSimulate_doesNotTouchWhatItIsGiven(t *testing.T) {
	p, c := bookinfo()
	s := c.start
	for _, st := range p.Steps {
		keep := s.Clone()
		next := plan.Simulate(s, st)
		plan.SimulateUndo(next, st, c.start)
		if d := cmp.Diff(keep, s); d != "" {
			t.Fatalf("step %d changed its argument:\n%s", st.Number, d)
		}
		s = next
	}
}

func TestS12_theEndOfAnUpgradeIsAValidStart(t *testing.T) {
	s := meshtest.Bookinfo("1.26.0").Snapshot()
	for _, to := range []string{"1.27.0", "1.29.1", "1.30.2"} {
		req := probed()
		req.To = to
		p := plan.Build(s, req)
		c := promise{p, s}
		states, broken := c.forward(p.Steps)
		if broken = append(broken, c.back(states)...); len(broken) > 0 || len(p.Steps) == 0 {
			t.Fatalf("to %s: %s\n%s", to, lines(broken), outline(p))
		}
		s = states[len(states)-1]
		if got := s.Revisions(); len(got) != 1 || got[0] != plan.RevisionName(to) {
			t.Fatalf("after %s the revisions are %v", to, got)
		}
	}
	if n, _ := s.Namespace("default"); n.Labels[mesh.InjectionLabel] != "enabled" || n.Labels[mesh.RevLabel] != "" {
		t.Errorf("labels after three upgrades: %v", n.Labels)
	}
	if p := plan.Build(s, plan.Request{To: "1.30.2"}); len(p.Steps) != 0 || p.Findings[0].Code != "SRN1010" {
		t.Errorf("once there, there is nothing to do: %s", outline(p))
	}
}

func TestBuild_goesOnFromEveryPointOfAnUpgradeByHand(t *testing.T) {
	p, c := bookinfo()
	states, _ := c.forward(p.Steps)
	for k, s := range states {
		next := plan.Build(s, probed())
		d := promise{next, s}
		if _, broken := d.forward(next.Steps); len(broken) > 0 {
			t.Errorf("after step %d: %s\n%s", k, lines(broken), outline(next))
		}
		if left := len(p.Steps) - k; len(next.Steps) > left {
			t.Errorf("after step %d there are %d steps left, the plan has %d:\n%s", k, left, len(next.Steps), outline(next))
		}
	}
}

func TestVerify(t *testing.T) {
	p, _ := bookinfo()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read plan.Plan
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	if err := plan.Verify(read); err != nil {
		t.Errorf("a plan from a file: %v", err)
	}
	for name, edit := range map[string]func(*plan.Plan){
		"a step left out":  func(p *plan.Plan) { p.Steps = p.Steps[1:] },
		"a gate left out":  func(p *plan.Plan) { p.Steps[3].Needs = nil },
		"a finding erased": func(p *plan.Plan) { p.Findings = nil },
		"another version":  func(p *plan.Plan) { p.Request.To = "1.29.2" },
		"no digest":        func(p *plan.Plan) { p.Digest = "" },
	} {
		var edited plan.Plan
		if err := json.Unmarshal(b, &edited); err != nil {
			t.Fatal(err)
		}
		edit(&edited)
		if err := plan.Verify(edited); !errors.Is(err, plan.ErrEdited) {
			t.Errorf("%s: %v", name, err)
		}
	}
	odd := plan.Plan{Request: plan.Request{Values: map[string]any{"f": func() {}}}}
	if err := plan.Verify(odd); err == nil {
		t.Error("values that JSON does not know must not pass")
	}
}

func TestDigest_isTheSameForTheRequestThatThePlanKeeps(t *testing.T) {
	for seed := range uint64(100) {
		s, req := random(seed)
		p := plan.Build(s, req)
		if again := plan.Build(s, p.Request); again.Digest != p.Digest {
			t.Fatalf("seed %d: %s", seed, cmp.Diff(p, again))
		}
	}
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(s, probed())
	s.Pods = append(s.Pods, mesh.Pod{Namespace: "default", Name: "details-v1-9", Workload: s.Workloads[0].Ref, Revision: "default", Version: "1.27.0", Ready: true})
	if more := plan.Build(s, probed()); more.Digest != p.Digest || more.Counts == p.Counts {
		t.Error("S-14: one replica more is another count and the same plan")
	}
}

func TestDuration_isText(t *testing.T) {
	var r plan.Request
	if err := json.Unmarshal([]byte(`{"to":"1.29.1","soak":"1m30s"}`), &r); err != nil || time.Duration(r.Soak) != 90*time.Second {
		t.Errorf("%v, %v", r.Soak, err)
	}
	for _, bad := range []string{`{"soak":"soon"}`, `{"soak":30}`} {
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if b, err := json.Marshal(plan.Duration(time.Minute)); fmt.Sprint(string(b), err) != `"1m0s"<nil>` {
		t.Errorf("%s %v", b, err)
	}
}
