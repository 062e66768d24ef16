package plan_test

import (
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

// shop has three namespaces that follow labels, one of them empty.
func shop() *meshtest.World {
	return meshtest.New().Base("1.28.0", "default").ControlPlane("default", "1.28.0").
		Namespace("a", mesh.InjectionLabel, "enabled").
		Deployment("a", "one", meshtest.Service("one"), meshtest.Labels("tier", "web")).Deployment("a", "two", meshtest.Service("two")).
		Namespace("b", mesh.InjectionLabel, "enabled").
		Deployment("b", "three", meshtest.Service("three"), meshtest.Labels("tier", "web")).Gateway("b", "edge").
		Namespace("empty", mesh.InjectionLabel, "enabled")
}

// moves are the steps that move namespaces and workloads.
func moves(p plan.Plan) []string {
	var out []string
	for _, st := range p.Steps {
		switch st.Kind {
		case plan.MoveNamespace:
			out = append(out, approval(st)+"move "+st.Target)
		case plan.Restart:
			var names []string
			for _, w := range st.Workloads {
				names = append(names, w.Name)
			}
			out = append(out, approval(st)+"restart "+strings.Join(names, " ")+" "+time.Duration(st.Soak).String())
		case plan.FirstPods, plan.PinDefault, plan.UpgradeBase, plan.InstallRevision, plan.MoveTag, plan.RestoreLabels, plan.RemoveRevision,
			plan.SetTag, plan.RemoveTag, plan.InstallChart, plan.RemoveChart, plan.RestoreRevision, plan.RemoveRest, plan.Surge, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway, plan.RenderGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry:
		}
	}
	return out
}

func approval(st plan.Step) string {
	if slices.Contains(st.Needs, gate.Approval) {
		return "approved: "
	}
	return ""
}

func TestS13_waves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		waves []plan.Wave
		want  []string
	}{
		{"by default", nil, []string{"move a", "restart one 30s", "restart two 30s", "move b", "restart three 30s", "restart edge 30s", "move empty"}},
		{
			"a namespace, with approval and a soak of its own",
			[]plan.Wave{{Namespaces: []string{"b"}, Approve: true, Soak: plan.Duration(time.Minute)}},
			[]string{"approved: move b", "restart three 1m0s", "restart edge 1m0s", "move a", "restart one two 30s", "move empty"},
		},
		{
			"an empty namespace",
			[]plan.Wave{{Namespaces: []string{"empty"}, Approve: true}},
			[]string{"approved: move empty", "move a", "restart one two 30s", "move b", "restart three 30s", "restart edge 30s"},
		},
		{
			"workloads",
			[]plan.Wave{{Workloads: []string{"a/two"}}},
			[]string{"move a", "restart two 30s", "restart one 30s", "move b", "restart three 30s", "restart edge 30s", "move empty"},
		},
		{
			"a selector across namespaces",
			[]plan.Wave{{Selector: map[string]string{"tier": "web"}, Approve: true}},
			[]string{"approved: move a", "restart one 30s", "move b", "restart three 30s", "restart two 30s", "restart edge 30s", "move empty"},
		},
		{
			"a percentage, then the rest with approval",
			[]plan.Wave{{Percent: 25}, {Approve: true}},
			[]string{"move a", "restart one 30s", "approved: restart two 30s", "move b", "restart three 30s", "restart edge 30s", "move empty"},
		},
		{
			"what is named must all fit",
			[]plan.Wave{{Namespaces: []string{"b"}, Selector: map[string]string{"tier": "web"}}},
			[]string{"move b", "restart three 30s", "restart edge 30s", "move a", "restart one two 30s", "move empty"},
		},
		{
			"a tag",
			[]plan.Wave{{Tags: []string{"default"}}},
			[]string{"move a", "restart one two 30s", "move b", "restart three 30s", "restart edge 30s", "move empty"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := shop().Snapshot()
			p := plan.Build(s, ask(func(r *plan.Request) { r.Waves = tt.waves }))
			if d := cmp.Diff(tt.want, moves(p)); d != "" {
				t.Errorf("%s\n%s", d, outline(p))
			}
			c := promise{p, s}
			states, broken := c.forward(p.Steps)
			if broken = append(broken, c.back(states)...); len(broken) > 0 {
				t.Error(lines(broken))
			}
		})
	}
}

func TestBuild_theCanaryIsTheLeastDependedOn(t *testing.T) {
	world := func() *meshtest.World {
		return meshtest.New().Base("1.28.0", "default").ControlPlane("default", "1.28.0").Namespace("a", mesh.InjectionLabel, "enabled").Routed("a/front")
	}
	noSurge := meshtest.With(func(w *mesh.Workload) { w.MaxSurge = 0 })
	for _, tt := range []struct {
		name  string
		world *meshtest.World
		want  string
		why   string
	}{
		{"not what a gateway routes to", world().Deployment("a", "front", meshtest.Service("front")).Deployment("a", "zz", meshtest.Service("zz")), "zz", "no gateway routes to it"},
		{
			"one whose Service has others",
			world().Deployment("a", "aa", meshtest.Service("aa")).Deployment("a", "v1", meshtest.Service("s")).Deployment("a", "v2", meshtest.Service("s")), "v1",
			"others stand behind its Service too",
		},
		{"not one that nobody can call: it proves nothing", world().Deployment("a", "client").Deployment("a", "server", meshtest.Service("server")), "server", "alone behind their Service"},
		{"unless there is no other", world().Deployment("a", "client"), "client", "no Service selects it"},
		{"not one that a restart takes away", world().Deployment("a", "aa", meshtest.Service("aa"), noSurge).Deployment("a", "bb", meshtest.Service("bb")), "bb", "no gateway routes to it"},
		{"all are routed to", world().Deployment("a", "front", meshtest.Service("front")), "front", "every candidate is routed to"},
		{"among those that follow only a tag", world().Namespace("b").Deployment("b", "x", meshtest.Labels(mesh.InjectLabel, "true"), meshtest.Service("x")).Gateway("b", "gw"), "x", "the canary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), ask(func(r *plan.Request) { r.IgnoreChecks = []string{"SRN1050"} }))
			i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.Restart })
			if i < 0 {
				t.Fatal(outline(p))
			}
			if st := p.Steps[i]; len(st.Workloads) != 1 || st.Workloads[0].Name != tt.want || !strings.Contains(st.Why, tt.why) {
				t.Errorf("%v: %s; want %s: %s", st.Workloads, st.Why, tt.want, tt.why)
			}
		})
	}
}

func TestS09_whatFollowsOnlyATagRestartsAfterIt(t *testing.T) {
	s := shop().Namespace("c").Gateway("c", "gw").Deployment("c", "in", meshtest.Labels(mesh.InjectLabel, "true"), meshtest.Service("in")).
		Deployment("c", "neighbour").Snapshot()
	p := plan.Build(s, probed())
	tag := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.MoveTag })
	var after []string
	for _, st := range p.Steps[tag+1:] {
		if st.Kind == plan.Restart {
			after = append(after, st.Workloads[0].Name)
			if st.UndoFirst != tag+1 {
				t.Errorf("step %d goes back after step %d, want the tag's, %d", st.Number, st.UndoFirst, tag+1)
			}
		}
	}
	if d := cmp.Diff([]string{"in", "gw"}, after); d != "" {
		t.Errorf("the gateway is a wave of its own, the neighbour is no part of it: %s", d)
	}
	if slices.ContainsFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.MoveNamespace && st.Target == "c" }) {
		t.Error("labelling the namespace would inject its neighbours")
	}
}
