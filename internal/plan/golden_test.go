package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type scenario struct {
	name  string
	world *meshtest.World
	req   plan.Request
}

func ask(change func(*plan.Request)) plan.Request {
	r := probed()
	change(&r)
	return r
}

func scenarios() []scenario {
	all := []scenario{
		{name: "bookinfo", world: meshtest.Bookinfo("1.27.0"), req: probed()},
		{
			name: "named-with-default-tag",
			world: meshtest.New().Base("1.27.0", "1-27-0").ControlPlane("1-27-0", "1.27.0").Tag("default", "1-27-0").
				Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Service("cart")).
				Namespace("edge").Gateway("edge", "ingress"),
			req: probed(),
		},
		{
			name: "user-tags",
			world: meshtest.New().Base("1.28.0", "1-28-0").ControlPlane("1-28-0", "1.28.0").Tag("default", "1-28-0").Tag("prod-canary", "1-28-0").Tag("prod-stable", "1-28-0").
				Namespace("try", mesh.RevLabel, "prod-canary").Deployment("try", "a", meshtest.Service("a")).
				Namespace("shop", mesh.RevLabel, "prod-stable").Deployment("shop", "b", meshtest.Service("b")).
				Namespace("edge").Gateway("edge", "ingress", meshtest.Labels(mesh.RevLabel, "prod-stable")),
			req: ask(func(r *plan.Request) {
				r.Waves = []plan.Wave{{Tags: []string{"prod-canary"}, Soak: plan.Duration(600e9)}, {Tags: []string{"prod-stable"}, Approve: true}}
			}),
		},
		{
			name: "three-revisions",
			world: meshtest.Bookinfo("1.27.0").ControlPlane("by", "1.28.0").ControlPlane("1-27-3", "1.27.3").
				Namespace("far", mesh.RevLabel, "by").Deployment("far", "x", meshtest.Service("x")).
				Namespace("near", mesh.RevLabel, "1-27-3").Deployment("near", "y", meshtest.Service("y")),
			req: ask(func(r *plan.Request) { r.From = []string{"default", "1-27-3"} }),
		},
		{
			name: "label-names-the-revision",
			world: meshtest.New().Base("1.27.0", "").ControlPlane("1-27-0", "1.27.0").
				Namespace("shop", mesh.RevLabel, "1-27-0").Deployment("shop", "cart", meshtest.Service("cart")).Deployment("shop", "till", meshtest.Service("till")),
			req: probed(),
		},
		{
			name: "enabled-by-default",
			world: meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").EnableByDefault().
				Namespace("shop").Deployment("shop", "cart", meshtest.Service("cart")),
			req: probed(),
		},
		{
			name:  "waves",
			world: meshtest.Bookinfo("1.27.0"),
			req: ask(func(r *plan.Request) {
				r.Waves = []plan.Wave{
					{Workloads: []string{"default/ratings-v1"}},
					{Selector: map[string]string{"app": "details-v1"}, Approve: true},
					{Percent: 50, Soak: plan.Duration(60e9)},
				}
			}),
		},
		{name: "gateway-canary", world: helmGateways(), req: canaries()},
	}
	return append(all, truthScenarios()...)
}

// truthScenarios are the rows of R§1.7 with somebody injected: a namespace with
// those labels and a workload for each column (S-7, S-9).
func truthScenarios() []scenario {
	rows := map[string][]string{
		"row-no-label":            nil,
		"row-enabled":             {mesh.InjectionLabel, "enabled"},
		"row-disabled":            {mesh.InjectionLabel, "disabled"},
		"row-rev-canary":          {mesh.RevLabel, "canary"},
		"row-rev-prod":            {mesh.RevLabel, "prod"},
		"row-rev-default":         {mesh.RevLabel, "default"},
		"row-enabled-rev-canary":  {mesh.InjectionLabel, "enabled", mesh.RevLabel, "canary"},
		"row-disabled-rev-canary": {mesh.InjectionLabel, "disabled", mesh.RevLabel, "canary"},
		"row-empty-rev":           {mesh.RevLabel, ""},
	}
	columns := []struct {
		name   string
		labels []string
	}{
		{"none", nil},
		{"in", []string{mesh.InjectLabel, "true"}},
		{"out", []string{mesh.InjectLabel, "false"}},
		{"rev-canary", []string{mesh.RevLabel, "canary"}},
		{"rev-prod", []string{mesh.RevLabel, "prod"}},
		{"rev-default", []string{mesh.RevLabel, "default"}},
	}
	var out []scenario
	for name, labels := range rows {
		w := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").ControlPlane("canary", "1.28.0").Tag("prod", "canary").
			Namespace("row", labels...)
		for _, c := range columns {
			w.Deployment("row", c.name, meshtest.Labels(c.labels...), meshtest.Service(c.name))
		}
		out = append(out, scenario{name: name, world: w, req: ask(func(r *plan.Request) {
			r.From = []string{"default", "canary"}
			r.IgnoreChecks = []string{"SRN1054"}
		})})
	}
	slices.SortFunc(out, func(a, b scenario) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return out
}

func TestS07_S09_goldenPlans(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			dir := filepath.Join("testdata", sc.name)
			s := sc.world.Looked().Snapshot()
			golden(t, filepath.Join(dir, "snapshot.json"), s)
			golden(t, filepath.Join(dir, "request.json"), sc.req)
			read := mesh.Snapshot{}
			fixture(t, filepath.Join(dir, "snapshot.json"), &read)
			p := plan.Build(read, sc.req)
			golden(t, filepath.Join(dir, "plan.json"), p)
			goldenText(t, filepath.Join(dir, "outline.txt"), []byte(outline(p)))
			if err := plan.Verify(p); err != nil {
				t.Error(err)
			}
			c := promise{p, read}
			states, broken := c.forward(p.Steps)
			if broken = append(broken, c.back(states)...); len(broken) > 0 {
				t.Errorf("%s\n%s", lines(broken), outline(p))
			}
		})
	}
}

func golden(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, file, append(b, '\n'))
}

func goldenText(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("it differs from %s (run with -update and review):\n%s", file, got)
	}
}

func fixture(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}
