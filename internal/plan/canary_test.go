package plan_test

import (
	"encoding/json"
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

// helmGateways are a mesh with three gateways of the gateway chart: one follows the
// default, one its namespace's label, one a revision that its values name.
func helmGateways() *meshtest.World {
	return meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").
		Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Service("cart")).
		Namespace("edge").Gateway("edge", "public", meshtest.Replicas(4), meshtest.Released("1.27.0", nil)).
		Namespace("inner", mesh.InjectionLabel, "enabled").Gateway("inner", "private", meshtest.Replicas(2), meshtest.Released("1.27.0", map[string]any{"labels": map[string]any{"tier": "x"}})).
		Gateway("edge", "pinned", meshtest.Labels(mesh.RevLabel, "default"), meshtest.Released("1.27.0", map[string]any{"revision": "default"}))
}

func canaries(moves ...plan.GatewayMove) plan.Request {
	if len(moves) == 0 {
		moves = []plan.GatewayMove{{Workload: "*", Method: plan.Canary}}
	}
	return ask(func(r *plan.Request) { r.Gateways = moves })
}

// gatewaySteps are the steps of gateways, in order.
func gatewaySteps(p plan.Plan) []string {
	var out []string
	for _, st := range p.Steps {
		switch {
		case st.Pods != nil:
			out = append(out, string(st.Kind)+" "+st.Target+" "+string(rune('0'+st.Pods.From))+">"+string(rune('0'+st.Pods.To)))
		case st.Release != nil, st.Kind == plan.MoveTag, st.Kind == plan.MoveNamespace, st.Kind == plan.RemoveRevision:
			out = append(out, string(st.Kind)+" "+st.Target)
		}
	}
	return out
}

// S-28 to S-32: added held, let in stage by stage, the first drained before any
// workload moves; renewed at rest once what it follows has moved, back one pod
// first, and only then is the second out and gone.
func TestCanary_order(t *testing.T) {
	p := plan.Build(helmGateways().Snapshot(), canaries(plan.GatewayMove{Workload: "edge/public", Method: plan.Canary}))
	want := []string{
		"add-gateway edge/public-1-29-1", "open-gateway edge/public-1-29-1 0>1", "open-gateway edge/public-1-29-1 1>2", "open-gateway edge/public-1-29-1 2>4",
		"scale-gateway edge/public 4>0", "move-namespace shop", "move-namespace inner", "move-tag default",
		"renew-gateway edge/public", "scale-gateway edge/public 0>1", "scale-gateway edge/public 1>4",
		"open-gateway edge/public-1-29-1 4>0", "remove-chart edge/public-1-29-1", "remove-revision default",
	}
	if d := cmp.Diff(want, gatewaySteps(p)); d != "" {
		t.Errorf("%s\n%+v", d, p.Findings)
	}
	add := p.Steps[slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.AddGateway })]
	if !slices.Contains(add.Needs, gate.Prove) || !slices.Contains(p.Moved(), *add.Question.Beside) {
		t.Errorf("the new revision is not asked about the gateway first: %v, %v", add.Needs, p.Moved())
	}
	for _, st := range p.Steps {
		if opens := st.Kind == plan.OpenGateway && st.Pods.To > st.Pods.From; opens && (!slices.Contains(st.Proof, gate.SameServing) || !slices.Contains(st.Proof, gate.SameAnswers) || !slices.Contains(st.Proof, gate.Requests) || st.Soak == 0) {
			t.Errorf("step %d opens and proves %v for %v", st.Number, st.Proof, st.Soak)
		}
	}
}

// Every shape, end and stage, forward and back from every prefix: no pod relies on
// what is not ready, never fewer pods behind the Service, and back as before.
func TestCanary_wholeAndBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		move plan.GatewayMove
	}{
		{"all of them", plan.GatewayMove{Workload: "*", Method: plan.Canary}},
		{"at once", plan.GatewayMove{Workload: "*", Method: plan.Canary, Stages: []plan.Portion{"100%"}}},
		{"the second stays", plan.GatewayMove{Workload: "*", Method: plan.Canary, End: plan.EndCanary}},
		{"by its namespace's label", plan.GatewayMove{Workload: "inner/private", Method: plan.Canary}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := canaries(tt.move)
			r.IgnoreChecks = append(r.IgnoreChecks, "SRN1054")
			s := helmGateways().Snapshot()
			p := plan.Build(s, r)
			if len(p.Steps) == 0 {
				t.Fatalf("no plan: %+v", p.Findings)
			}
			c := promise{p, s}
			states, broken := c.forward(p.Steps)
			if broken = append(broken, c.back(states)...); len(broken) > 0 {
				t.Errorf("%s\n%s", lines(broken), outline(p))
			}
			end := states[len(states)-1]
			for _, w := range s.Workloads {
				now, _ := end.Workload(w.Ref)
				if w.Gateway() && tt.move.Workload == "*" && (now.Replicas == 0) != (tt.move.End == plan.EndCanary) {
					t.Errorf("%s ends with %d replicas", w, now.Replicas)
				}
			}
			for i, st := range p.Steps {
				if missing := plan.Missing(states[i+1], st); len(missing) > 0 {
					t.Errorf("after step %d (%s): %v", st.Number, st.Kind, missing)
				}
				if back := plan.MissingBack(plan.SimulateUndo(states[i+1], st, s), st, s); st.Kind == plan.RenewGateway && len(back) > 0 {
					t.Errorf("step %d taken back: %v", st.Number, back)
				}
			}
		})
	}
}

// S-54: a gateway that its values pin to the revision that is left would keep it:
// renewed at rest, it names the new one, and the old one goes.
func TestS54_aPinnedGatewayNamesTheNewRevision(t *testing.T) {
	s := meshtest.New().Base("1.27.0", "").ControlPlane("1-27-0", "1.27.0").Namespace("shop", mesh.RevLabel, "1-27-0").Deployment("shop", "cart", meshtest.Service("cart")).
		Namespace("edge").Gateway("edge", "pinned", meshtest.Labels(mesh.RevLabel, "1-27-0"), meshtest.Released("1.27.0", map[string]any{"revision": "1-27-0"})).Snapshot()
	p := plan.Build(s, canaries())
	c := promise{p, s}
	states, broken := c.forward(p.Steps)
	if broken = append(broken, c.back(states)...); len(broken) > 0 || len(p.Steps) == 0 {
		t.Fatalf("%s\n%s", lines(broken), outline(p))
	}
	end := states[len(states)-1]
	if r, _ := end.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: "edge/pinned"}); r.Values["revision"] != "1-29-1" || r.Version != "1.29.1" || p.Steps[len(p.Steps)-1].Kind != plan.RemoveRevision {
		t.Errorf("%+v\n%s", r, outline(p))
	}
	for i := range s.Releases { // its label comes from elsewhere
		if s.Releases[i].Name == "pinned" {
			s.Releases[i].Values = nil
		}
	}
	if p := plan.Build(s, canaries()); len(p.Steps) > 0 || !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1054" && f.Severity == plan.Mandatory }) {
		t.Errorf("%s", outline(p))
	}
}

// S-32: what scales the first one back waits until its namespace's label is back,
// and the second one's pods stay in until then.
func TestS32_undoWaitsForTheLabel(t *testing.T) {
	p := plan.Build(helmGateways().Snapshot(), canaries(plan.GatewayMove{Workload: "inner/private", Method: plan.Canary}))
	drained := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.ScaleGateway && st.Pods.To == 0 })
	if drained < 0 {
		t.Fatalf("%+v", p.Findings)
	}
	applied := make([]int, drained+1)
	for i := range applied {
		applied[i] = i
	}
	var got []plan.Kind
	for _, i := range plan.UndoOrder(p, applied)[:5] {
		got = append(got, p.Steps[i].Kind)
	}
	if d := cmp.Diff([]plan.Kind{plan.MoveNamespace, plan.ScaleGateway, plan.OpenGateway, plan.OpenGateway, plan.AddGateway}, got); d != "" {
		t.Error(d)
	}
}

func TestCanary_whatIsRefused(t *testing.T) {
	public := func(change func(*mesh.Workload)) func(*mesh.Snapshot) {
		return func(s *mesh.Snapshot) {
			for i := range s.Workloads {
				if s.Workloads[i].Name == "public" {
					change(&s.Workloads[i])
				}
			}
		}
	}
	nothing := func(*mesh.Snapshot) {}
	all := plan.GatewayMove{Workload: "*", Method: plan.Canary}
	named := plan.GatewayMove{Workload: "edge/public", Method: plan.Canary}
	for _, tt := range []struct {
		name   string
		change func(*mesh.Snapshot)
		move   plan.GatewayMove
		code   string
		sev    plan.Severity
		says   string
	}{
		{"one that is not there", nothing, plan.GatewayMove{Workload: "edge/none", Method: plan.Canary}, "SRN1200", plan.Mandatory, `"edge/none"`},
		{"a method that is none", nothing, plan.GatewayMove{Workload: "*", Method: "fly"}, "SRN1405", plan.Mandatory, `"fly"`},
		{"an end that is none", nothing, plan.GatewayMove{Workload: "*", Method: plan.Canary, End: "both"}, "SRN1405", plan.Mandatory, `"both"`},
		{"stages of one that restarts", nothing, plan.GatewayMove{Workload: "*", Stages: []plan.Portion{"1"}}, "SRN1405", plan.Mandatory, "stages and end are a canary's"},
		{"a stage of more pods than there are", nothing, plan.GatewayMove{Workload: "edge/public", Method: plan.Canary, Stages: []plan.Portion{"9"}}, "SRN1405", plan.Mandatory, "9"},
		{"stages that go back", nothing, plan.GatewayMove{Workload: "edge/public", Method: plan.Canary, Stages: []plan.Portion{"3", "25%"}}, "SRN1405", plan.Mandatory, "less than"},
		{"no release of the gateway chart, by name", public(func(w *mesh.Workload) { w.Owner = mesh.Owner{Kind: mesh.OwnerNone} }), named, "SRN1405", plan.Mandatory, "in-place"},
		{"no release of the gateway chart, by *", public(func(w *mesh.Workload) { w.Owner = mesh.Owner{Kind: mesh.OwnerNone} }), all, "SRN1405", plan.Overridable, "restarts in place"},
		{"one that Git declares", public(func(w *mesh.Workload) { w.Owner = mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "argocd/edge"} }), named, "SRN1405", plan.Mandatory, "argocd"},
		{"S-33: its image is in its template", public(func(w *mesh.Workload) {
			w.TemplateAnnotations, w.TemplateLabels[mesh.InjectLabel] = nil, "false"
			w.Proxy = &mesh.TemplateProxy{Image: "istio/proxyv2:1.27.0", Role: "router", Alone: true}
		}), named, "SRN1405", plan.Mandatory, "its template"},
		{"S-30: two HPAs", func(s *mesh.Snapshot) {
			ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "public"}
			s.Edge.Scalers = append(s.Edge.Scalers, mesh.Scaler{Name: "a", Target: ref, Min: 1, Max: 5}, mesh.Scaler{Name: "b", Target: ref, Min: 2, Max: 9})
		}, named, "SRN1405", plan.Mandatory, "2 HorizontalPodAutoscalers"},
		{"S-28: an injector of another revision takes every pod of its namespace too", func(s *mesh.Snapshot) {
			in := mesh.TagInjector("greedy", "default", "istio-system")
			in.Webhooks = append(in.Webhooks[:0:0], mesh.AutoEntry(in.Webhooks[0].Service))
			in.Webhooks[0].NamespaceSelector, in.Webhooks[0].ObjectSelector = mesh.Selector{}, mesh.Selector{MatchLabels: map[string]string{mesh.RevLabel: "1-29-1"}}
			s.Injectors = append(s.Injectors, in)
		}, named, "SRN1031", plan.Mandatory, "would inject its second pods"},
		{"a Service that would not select it", func(s *mesh.Snapshot) {
			for i := range s.Edge.Services {
				if s.Edge.Services[i].Name == "public" {
					s.Edge.Services[i].Selector = map[string]string{"app.kubernetes.io/name": "public"}
				}
			}
		}, named, "SRN1405", plan.Mandatory, "its selector"},
		{"no Service at all", public(func(w *mesh.Workload) { w.Services = nil }), named, "SRN1405", plan.Mandatory, "no Service"},
		{"its name is taken", func(s *mesh.Snapshot) {
			s.Releases = append(s.Releases, mesh.Release{Namespace: "edge", Name: "public-1-29-1", Chart: "other", Status: "deployed"})
		}, named, "SRN1206", plan.Mandatory, "is there"},
		{"a rollout under way", public(func(w *mesh.Workload) { w.Settled = false }), named, "SRN1052", plan.Overridable, "rollout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := helmGateways().Snapshot()
			tt.change(&s)
			p := plan.Build(s, canaries(tt.move))
			if len(p.Steps) > 0 || !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool {
				return f.Code == tt.code && f.Severity == tt.sev && strings.Contains(f.Object+f.Reason+f.Remedy, tt.says) && f.Remedy != ""
			}) {
				t.Errorf("want %s %s %q and no steps, got %d steps and %+v", tt.sev, tt.code, tt.says, len(p.Steps), p.Findings)
			}
		})
	}
}

// An HPA wakes with the first pod: it would not let it stay alone.
func TestS30_whatAnHPASizesComesBackAtOnce(t *testing.T) {
	s := helmGateways().Change(func(s *mesh.Snapshot) {
		s.Edge.Scalers = append(s.Edge.Scalers, mesh.Scaler{Name: "public", Target: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "public"}, Min: 4, Max: 9})
	}).Snapshot()
	steps := gatewaySteps(plan.Build(s, canaries(plan.GatewayMove{Workload: "edge/public", Method: plan.Canary})))
	if !slices.Contains(steps, "scale-gateway edge/public 0>4") {
		t.Errorf("%v", steps)
	}
}

// By name before by *, in whatever order they stand.
func TestCanary_byNameBeforeAll(t *testing.T) {
	r := canaries(plan.GatewayMove{Workload: "edge/public", Method: plan.InPlace}, plan.GatewayMove{Workload: "*", Method: plan.Canary})
	r.IgnoreChecks = append(r.IgnoreChecks, "SRN1054")
	for range 2 {
		steps := gatewaySteps(plan.Build(helmGateways().Snapshot(), r))
		if slices.Contains(steps, "add-gateway edge/public-1-29-1") || !slices.Contains(steps, "add-gateway inner/private-1-29-1") {
			t.Errorf("%v", steps)
		}
		slices.Reverse(r.Gateways)
	}
}

func TestPortion_isANumberOrAPercentage(t *testing.T) {
	var m plan.GatewayMove
	if err := json.Unmarshal([]byte(`{"workload":"*","stages":[1,"25%"]}`), &m); err != nil || !slices.Equal(m.Stages, []plan.Portion{"1", "25%"}) {
		t.Errorf("%v, %v", m.Stages, err)
	}
	if err := json.Unmarshal([]byte(`{"stages":[true]}`), &m); err == nil {
		t.Error("true was taken for a stage")
	}
}

// S-8, S-13: the labels of a canary's namespace go first, and wait for the approval and
// the hours of the wave that they are in; the gateway soaks as long as that wave.
func TestS13_aCanarysNamespaceMovesAsItsWaveSays(t *testing.T) {
	nights := []gate.Hours{{Days: []string{"sat"}, From: "22:00", To: "23:00"}}
	wave := func(change func(*plan.Wave)) plan.Wave {
		w := plan.Wave{Approve: true, Soak: plan.Duration(7 * time.Minute), Windows: nights}
		change(&w)
		return w
	}
	shop := plan.Wave{Namespaces: []string{"shop"}}
	for _, tt := range []struct {
		name  string
		waves []plan.Wave
		wave  bool // it moves as the wave says
	}{
		{"no waves", nil, false},
		{"named", []plan.Wave{shop, wave(func(w *plan.Wave) { w.Namespaces = []string{"inner"} })}, true},
		{"named beside others", []plan.Wave{wave(func(w *plan.Wave) { w.Namespaces = []string{"inner", "edge", "shop"} })}, true},
		{"the gateway is named", []plan.Wave{wave(func(w *plan.Wave) { w.Workloads = []string{"inner/private"} })}, true},
		{"a workload beside it is named", []plan.Wave{wave(func(w *plan.Wave) { w.Workloads = []string{"inner/app"} })}, true},
		{"all workloads", []plan.Wave{wave(func(w *plan.Wave) { w.Percent = 100 })}, true},
		{"named first without", []plan.Wave{{Namespaces: []string{"inner"}}, wave(func(w *plan.Wave) { w.Percent = 100 })}, false},
		{"others are named", []plan.Wave{wave(func(w *plan.Wave) { w.Namespaces = []string{"shop"} })}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := canaries(plan.GatewayMove{Workload: "inner/private", Method: plan.Canary})
			r.Waves, r.Soak = tt.waves, plan.Duration(time.Minute)
			p := plan.Build(helmGateways().Deployment("inner", "app", meshtest.Service("app")).Snapshot(), r)
			moves := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.MoveNamespace && st.Namespace == "inner" })
			if moves < 0 || moves > slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.AddGateway }) {
				t.Fatalf("%+v\n%s", p.Findings, outline(p))
			}
			st := p.Steps[moves]
			if asks := slices.Contains(st.Needs, gate.Approval); asks != tt.wave {
				t.Errorf("it needs %v", st.Needs)
			}
			if within := slices.Contains(st.Needs, gate.Within); within != tt.wave || within && !cmp.Equal(st.Question.Windows, nights) {
				t.Errorf("it needs %v, in %v", st.Needs, st.Question.Windows)
			}
			want := plan.Duration(time.Minute)
			if tt.wave {
				want = plan.Duration(7 * time.Minute)
			}
			for _, st := range p.Steps {
				if (st.Kind == plan.AddGateway || st.Kind == plan.OpenGateway || st.Kind == plan.ScaleGateway) && st.Soak != want {
					t.Errorf("step %d (%s) soaks %v, want %v", st.Number, st.Kind, st.Soak, want)
				}
			}
		})
	}
}
