package plan_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

var (
	seeds = flag.Int("seeds", 1000, "how many random meshes to try")
	first = flag.Uint64("first-seed", 1, "the first seed")
)

// overridable are the codes of findings that random meshes ignore, so that their
// plans are walked and not only refused.
var overridable = []string{
	"SRN1003", "SRN1018", "SRN1021", "SRN1031", "SRN1050", "SRN1051", "SRN1052", "SRN1053", "SRN1054", "SRN1055", "SRN1056", "SRN1057", "SRN1060", "SRN1405",
}

// random makes a mesh and a request from a seed: one to three revisions, with or
// without a default tag, user tags, every namespace label and pod label of
// R§1.7, gateways, what cannot be restarted, waves, a target that is there already.
func random(seed uint64) (mesh.Snapshot, plan.Request) {
	r := rand.New(rand.NewPCG(seed, 0))
	w := meshtest.New()
	revs, tags := planes(r, w)
	names := append(append([]string{"default"}, revs...), tags...)
	for i := range 1 + r.IntN(5) {
		ns := fmt.Sprintf("ns-%d", i)
		w.Namespace(ns, pick(r, namespaceLabels(r, names))...)
		for j := range r.IntN(5) {
			load(r, w, ns, fmt.Sprintf("app-%d-%d", i, j), names)
		}
	}
	req := plan.Request{To: "1.29.1", IgnoreChecks: overridable, Keep: r.IntN(6) == 0}
	if r.IntN(2) == 0 {
		req.Probe = &plan.Probe{URL: "http://gateway/"}
	}
	if len(revs) > 1 || r.IntN(3) == 0 {
		r.Shuffle(len(revs), func(i, j int) { revs[i], revs[j] = revs[j], revs[i] })
		req.From = revs[:1+r.IntN(len(revs))]
	}
	switch r.IntN(4) {
	case 0:
		req.Waves = []plan.Wave{{Percent: 1 + r.IntN(100), Approve: true}, {Namespaces: []string{"ns-0"}}}
	case 1:
		req.Waves = []plan.Wave{{Selector: map[string]string{"app": "app-0-0"}}, {Percent: 50}}
	}
	if r.IntN(3) == 0 {
		req.Gateways = []plan.GatewayMove{{Workload: "*", Method: plan.Canary, End: pick(r, []plan.End{plan.EndOriginal, plan.EndOriginal, plan.EndCanary})}}
	}
	return w.Snapshot(), req
}

func planes(r *rand.Rand, w *meshtest.World) ([]string, []string) {
	revs := some(r, []string{"default", "1-27-3", "old"})
	var tags []string
	def := ""
	if revs[0] == "default" {
		def = "default"
	}
	tagged := def == "" && r.IntN(4) > 0 || r.IntN(3) == 0
	if tagged {
		def = revs[r.IntN(len(revs))]
	}
	w.Base("1.27.0", def)
	for _, rev := range revs {
		w.ControlPlane(rev, []string{"1.27.0", "1.27.3", "1.28.2"}[r.IntN(3)])
	}
	if r.IntN(6) == 0 {
		w.ControlPlane("1-29-1", "1.29.1")
	}
	if tagged {
		w.Tag("default", def)
		tags = append(tags, "default")
	}
	for _, t := range []string{"prod-stable", "prod-canary"} {
		if r.IntN(3) == 0 {
			w.Tag(t, revs[r.IntN(len(revs))])
			tags = append(tags, t)
		}
	}
	if r.IntN(5) == 0 {
		w.EnableByDefault()
	}
	return revs, tags
}

// some are one or more of all.
func some(r *rand.Rand, all []string) []string {
	var out []string
	for _, s := range all {
		if r.IntN(2) == 0 {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return all[:1]
	}
	return out
}

func namespaceLabels(r *rand.Rand, names []string) [][]string {
	name := names[r.IntN(len(names))]
	return [][]string{
		nil,
		{mesh.InjectionLabel, "enabled"},
		{mesh.InjectionLabel, "enabled"},
		{mesh.InjectionLabel, "disabled"},
		{mesh.RevLabel, name},
		{mesh.RevLabel, name},
		{mesh.InjectionLabel, "enabled", mesh.RevLabel, name},
		{mesh.RevLabel, ""},
	}
}

func load(r *rand.Rand, w *meshtest.World, ns, name string, names []string) {
	labels := pick(r, [][]string{
		nil, nil,
		{mesh.InjectLabel, "true"},
		{mesh.InjectLabel, "false"},
		{mesh.RevLabel, names[r.IntN(len(names))]},
		{mesh.RevLabel, names[r.IntN(len(names))], mesh.InjectLabel, "true"},
	})
	opts := []meshtest.Option{meshtest.Labels(labels...), meshtest.Replicas(r.IntN(4)), meshtest.With(func(wl *mesh.Workload) {
		switch r.IntN(12) {
		case 0:
			wl.Strategy = "OnDelete"
		case 1:
			wl.Paused = true
		case 2:
			wl.Strategy = "Recreate"
		case 3:
			wl.HostNetwork = true
		case 4:
			wl.Budget = &mesh.Budget{Name: "b"}
		case 5:
			wl.Services = nil
		}
	})}
	if r.IntN(5) == 0 {
		if r.IntN(2) == 0 {
			values := map[string]any{}
			if i := slices.Index(labels, mesh.RevLabel); i >= 0 {
				values["revision"] = labels[i+1]
			}
			opts = append(opts, meshtest.Released("1.27.0", values))
		}
		w.Gateway(ns, name, opts...)
		return
	}
	kind := pick(r, []mesh.WorkloadKind{mesh.KindDeployment, mesh.KindDeployment, mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet, mesh.KindJob, mesh.KindPod})
	w.Workload(kind, ns, name, append([]meshtest.Option{meshtest.Service(name)}, opts...)...)
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func TestS52_promisesHoldOnRandomMeshes(t *testing.T) {
	walked, kinds := 0, map[plan.Kind]int{}
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		s, req := random(seed)
		if len(s.Orphans()) > 0 {
			continue // broken before the upgrade: TestFindings covers it
		}
		p := plan.Build(s, req)
		c := promise{p, s}
		states, broken := c.forward(p.Steps)
		broken = append(broken, c.back(states)...)
		if len(broken) > 0 {
			t.Fatalf("seed %d breaks a promise (run with -first-seed %d -seeds 1):\n%s\n%s", seed, seed, lines(broken), outline(p))
		}
		if len(p.Steps) > 0 {
			walked++
		}
		for _, st := range p.Steps {
			kinds[st.Kind]++
		}
	}
	t.Logf("%d of %d meshes had a plan; steps: %v", walked, *seeds, kinds)
	if *seeds < 1000 {
		return
	}
	if walked < *seeds/2 {
		t.Errorf("only %d of %d meshes had a plan: the generator tests too little", walked, *seeds)
	}
	for _, k := range plan.Kinds() {
		if kinds[k] < 50 {
			t.Errorf("%s was walked %d times only", k, kinds[k])
		}
	}
}

func TestBuild_sameMeshSameBytes(t *testing.T) {
	for seed := range uint64(50) {
		a, req := random(seed)
		b, again := random(seed)
		if x, y := plan.Build(a, req).Digest, plan.Build(b, again).Digest; x != y || x == "" {
			t.Fatalf("seed %d: %q and %q", seed, x, y)
		}
	}
}
