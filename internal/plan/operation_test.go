package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// canary is bookinfo with a new revision beside the old one.
func canary() *meshtest.World { return meshtest.Bookinfo("1.27.0").ControlPlane("1-29-1", "1.29.1") }

func op(o plan.Operation) plan.Request { return plan.Request{Operation: &o} }

func kinds(p plan.Plan) []string {
	out := []string{}
	for _, st := range p.Steps {
		word := string(st.Kind) + " " + st.Target
		if slices.Contains(st.Needs, gate.Approval) {
			word += " (asks)"
		}
		out = append(out, word)
	}
	return out
}

// inTheWay are the codes and objects of the findings that stop a plan.
func inTheWay(p plan.Plan) []string {
	out := []string{}
	for _, f := range p.Findings {
		if f.Severity == plan.Mandatory || f.Severity == plan.Overridable {
			out = append(out, f.Code+" "+f.Object)
		}
	}
	return out
}

func tagged(m *mesh.Snapshot, tag string) {
	m.TagServices = append(m.TagServices, mesh.TagService{Name: mesh.TagServiceName(tag), Tag: tag, Revision: "1-29-1"})
}

// helmTag lets the release istiod own and render the tags.
func helmTag(m *mesh.Snapshot) {
	for i := range m.Releases {
		if m.Releases[i].Name == "istiod" {
			m.Releases[i].Values = map[string]any{"revisionTags": []any{"prod"}}
		}
	}
	for i := range m.Injectors {
		if m.Injectors[i].Tag != "" {
			m.Injectors[i].Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/istiod"}
		}
	}
}

func TestOperations(t *testing.T) {
	gateway := mesh.Object{Kind: "Gateway", Namespace: "shop", Name: "edge"}
	shop := func(w *meshtest.World, label string) *meshtest.World {
		return w.Namespace("shop", mesh.RevLabel, label).Deployment("shop", "cart", meshtest.Service("cart"))
	}
	for name, tt := range map[string]struct {
		world *meshtest.World
		op    plan.Operation
		want  []string
		stops []string
	}{
		"a new tag": {
			canary(), plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"}, []string{"set-tag prod"}, nil,
		},
		"S-5 a tag that is there asks": {
			shop(canary().Tag("prod", "default"), "prod"),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			[]string{"move-tag prod -> 1-29-1 (asks)"},
			nil,
		},
		"S-1 the default tag is pinned to the unrevisioned injector first": {
			canary(),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"default"}, Revision: "1-29-1"},
			[]string{"pin-default-tag default", "move-tag default -> 1-29-1 (asks)"},
			nil,
		},
		"a tag that leads there already": {
			canary().Tag("prod", "1-29-1"), plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"}, []string{}, nil,
		},
		"S-2 a split tag is not moved": {
			canary().Tag("prod", "default").Change(func(m *mesh.Snapshot) { tagged(m, "prod") }),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			[]string{},
			[]string{"SRN1033 tag prod"},
		},
		"S-2 and is repaired": {
			canary().Tag("prod", "default").Change(func(m *mesh.Snapshot) { tagged(m, "prod") }),
			plan.Operation{Verb: plan.TagRepair},
			[]string{"set-tag prod"},
			nil,
		},
		"a whole tag needs no repair": {canary().Tag("prod", "default"), plan.Operation{Verb: plan.TagRepair}, []string{}, nil},
		"a Service without an injector is half a tag": {
			canary().Change(func(m *mesh.Snapshot) { tagged(m, "prod") }), plan.Operation{Verb: plan.TagRepair}, []string{"set-tag prod"}, nil,
		},
		"S-1 the unrevisioned injector on beside the default tag is repaired": {
			canary().Tag("default", "default").Change(func(m *mesh.Snapshot) {
				i := slices.IndexFunc(m.Injectors, func(in mesh.Injector) bool { return in.Name == "istio-sidecar-injector" })
				m.Injectors[i].Webhooks = mesh.RevisionInjector("default", "istio-system").Webhooks
			}),
			plan.Operation{Verb: plan.TagRepair, Tags: []string{"default"}},
			[]string{"set-tag default"},
			nil,
		},
		"a new tag may have what its flags ask for": {
			canary(), plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1", WebhookName: "mine", AutoInject: true}, []string{"set-tag prod"}, nil,
		},
		"a tag that is there keeps its injector's name": {
			canary().Tag("prod", "default"), plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1", WebhookName: "mine"}, []string{}, []string{"SRN1211 tag prod"},
		},
		"and its entries": {
			canary().Tag("prod", "default"), plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1", AutoInject: true}, []string{}, []string{"SRN1211 tag prod"},
		},
		"and so does the default that is pinned": {
			canary(), plan.Operation{Verb: plan.TagSet, Tags: []string{"default"}, Revision: "1-29-1", WebhookName: "mine"}, []string{}, []string{"SRN1211 tag default"},
		},
		"the name it has may be said": {
			canary().Tag("prod", "default"),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1", WebhookName: "istio-revision-tag-prod"},
			[]string{"move-tag prod -> 1-29-1 (asks)"},
			nil,
		},
		"a tag named as a revision": {
			canary(), plan.Operation{Verb: plan.TagSet, Tags: []string{"1-29-1"}, Revision: "default"}, []string{}, []string{"SRN1201 tag 1-29-1"},
		},
		"a tag of a tag": {
			canary().Tag("prod", "default"), plan.Operation{Verb: plan.TagSet, Tags: []string{"next"}, Revision: "prod"}, []string{}, []string{"SRN1200 revision prod"},
		},
		"a tag that Helm renders": {
			canary().Tag("prod", "default").Change(helmTag),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			[]string{},
			[]string{"SRN1024 tag prod"},
		},
		"R§2.2 a tag with Helm's marks that istioctl copied": {
			canary().Tag("prod", "default").Change(func(m *mesh.Snapshot) {
				i := slices.IndexFunc(m.Injectors, func(in mesh.Injector) bool { return in.Tag == "prod" })
				m.Injectors[i].Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/istiod"}
			}),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			[]string{"move-tag prod -> 1-29-1 (asks)"},
			nil,
		},
		"S-5 a managed Gateway rolls at once": {
			canary().Namespace("shop").Tag("prod", "default").Change(func(m *mesh.Snapshot) {
				g := gateway
				g.Revision = "prod"
				m.ManagedGateways = append(m.ManagedGateways, g)
			}),
			plan.Operation{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			[]string{},
			[]string{"SRN1209 gateway shop/edge"},
		},
		"a tag that is followed stays": {
			shop(canary().Tag("prod", "default"), "prod"),
			plan.Operation{Verb: plan.TagRemove, Tags: []string{"prod"}},
			[]string{},
			[]string{"SRN1202 deployment shop/cart", "SRN1202 namespace shop"},
		},
		"one that is not goes": {
			canary().Tag("prod", "default"), plan.Operation{Verb: plan.TagRemove, Tags: []string{"prod"}}, []string{"remove-tag prod (asks)"}, nil,
		},
		"the default tag gives back to the unrevisioned injector": {
			canary().Tag("default", "default"), plan.Operation{Verb: plan.TagRemove, Tags: []string{"default"}}, []string{"remove-tag default (asks)"}, nil,
		},
		"the default tag elsewhere is followed": {
			canary().Tag("default", "1-29-1"),
			plan.Operation{Verb: plan.TagRemove, Tags: []string{"default"}},
			[]string{},
			[]string{
				"SRN1202 deployment default/details-v1", "SRN1202 deployment default/productpage-v1", "SRN1202 deployment default/ratings-v1",
				"SRN1202 deployment default/reviews-v1", "SRN1202 deployment default/reviews-v2", "SRN1202 deployment default/reviews-v3",
				"SRN1202 deployment istio-ingress/istio-ingress", "SRN1202 namespace default",
			},
		},
		"S-7 a namespace moves in one patch, then its workloads": {
			canary(),
			plan.Operation{Verb: plan.Move, Namespaces: []string{"default"}, To: "1-29-1"},
			[]string{"move-namespace default", "restart-workloads default/*"},
			nil,
		},
		"the first of several pods goes ahead": {
			canary().Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Replicas(3)),
			plan.Operation{Verb: plan.Move, Namespaces: []string{"shop"}, To: "1-29-1"},
			[]string{"move-namespace shop", "restart-first-pods shop/cart", "restart-workloads shop/cart"},
			nil,
		},
		"labels only": {
			canary(), plan.Operation{Verb: plan.Move, Namespaces: []string{"default"}, To: "1-29-1", LabelsOnly: true}, []string{"move-namespace default"}, nil,
		},
		"S-6 a managed Gateway without a label would move with its namespace": {
			shop(canary(), "1-29-1").Tag("default", "default").Change(func(m *mesh.Snapshot) { m.ManagedGateways = append(m.ManagedGateways, gateway) }),
			plan.Operation{Verb: plan.Move, Namespaces: []string{"shop"}, To: "default"},
			[]string{},
			[]string{"SRN1209 gateway shop/edge"},
		},
		"a namespace and a revision that are not there": {
			canary(),
			plan.Operation{Verb: plan.Move, Namespaces: []string{"nope"}, To: "gone"},
			[]string{},
			[]string{"SRN1200 namespace nope", "SRN1200 request"},
		},
		"a namespace that Argo CD owns": {
			canary().Change(func(m *mesh.Snapshot) {
				for i := range m.Namespaces {
					m.Namespaces[i].Owner = mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "shop"}
				}
			}),
			plan.Operation{Verb: plan.Move, Namespaces: []string{"default"}, To: "1-29-1"},
			[]string{},
			[]string{"SRN1035 namespace default"},
		},
		"only what is on the wrong revision is restarted": {
			canary().Namespace("shop", mesh.RevLabel, "1-29-1").Deployment("shop", "cart", meshtest.On("default")).Deployment("shop", "db"),
			plan.Operation{Verb: plan.Roll},
			[]string{"restart-workloads shop/cart"},
			nil,
		},
		"the first pod, and then it asks": {
			canary().Namespace("shop", mesh.RevLabel, "1-29-1").Deployment("shop", "cart", meshtest.On("default"), meshtest.Replicas(2)),
			plan.Operation{Verb: plan.Roll, Workloads: []string{"deploy/cart"}, FirstPod: true},
			[]string{"restart-first-pods shop/cart", "restart-workloads shop/cart (asks)"},
			nil,
		},
		"a workload that is not there": {canary(), plan.Operation{Verb: plan.Roll, Workloads: []string{"nope"}}, []string{}, []string{"SRN1200 workload nope"}},
		"what cannot be restarted is listed and left": {
			canary().Namespace("shop", mesh.RevLabel, "1-29-1").Workload(mesh.KindPod, "shop", "bare", meshtest.On("default")),
			plan.Operation{Verb: plan.Roll},
			[]string{},
			nil,
		},
		"S-54 what relies on a revision keeps it": {
			canary(),
			plan.Operation{Verb: plan.Uninstall, Revision: "default"},
			[]string{},
			[]string{
				"SRN1204 deployment istio-ingress/istio-ingress", "SRN1204 helmrelease istio-system/istio-base", "SRN1204 namespace default",
				"SRN1204 pod default/details-v1-0", "SRN1204 pod default/productpage-v1-0", "SRN1204 pod default/ratings-v1-0", "SRN1204 pod default/reviews-v1-0",
				"SRN1204 pod default/reviews-v2-0", "SRN1204 pod default/reviews-v3-0", "SRN1204 pod istio-ingress/istio-ingress-0",
				"SRN1204 validatingwebhookconfiguration istiod-default-validator",
			},
		},
		"S-53 one that nothing relies on goes": {
			canary(), plan.Operation{Verb: plan.Uninstall, Revision: "1-29-1"}, []string{"remove-revision 1-29-1 (asks)"}, nil,
		},
		"a tag is not uninstalled": {
			canary().Tag("prod", "1-29-1"), plan.Operation{Verb: plan.Uninstall, Revision: "prod"}, []string{}, []string{"SRN1200 revision prod"},
		},
		"the base chart serves every revision": {
			canary(), plan.Operation{Verb: plan.Uninstall, Chart: "base"}, []string{}, []string{"SRN1204 release istio-system/istio-base"},
		},
		"the base chart goes before the last control plane": {
			meshtest.New().Base("1.29.1", "default").ControlPlane("default", "1.29.1"),
			plan.Operation{Verb: plan.Uninstall, Chart: "base"},
			[]string{"remove-chart istio-system/istio-base (asks)"},
			nil,
		},
		"the last control plane, after the base chart": {
			meshtest.New().ControlPlane("default", "1.29.1"), plan.Operation{Verb: plan.Uninstall, Revision: "default"}, []string{"remove-revision default (asks)"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), op(tt.op))
			if d := cmp.Diff(tt.want, kinds(p)); d != "" {
				t.Errorf("steps: %s", d)
			}
			if d := cmp.Diff(tt.stops, inTheWay(p), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("in the way: %s", d)
			}
			if err := plan.Verify(p); err != nil {
				t.Error(err)
			}
			for _, st := range p.Steps {
				if st.Undo == (plan.Undo{}) || st.Why == "" || st.Question.Step != st.Number {
					t.Errorf("step %d lacks something: %+v", st.Number, st)
				}
			}
			kept(t, tt.world.Snapshot(), p)
		})
	}
}

// kept is the promise of an upgrade, for one operation: nothing that relied on
// something is left without it, after every step, forward and back.
func kept(t *testing.T, s mesh.Snapshot, p plan.Plan) {
	t.Helper()
	before := s.Orphans()
	states := []mesh.Snapshot{s}
	for _, st := range p.Steps {
		states = append(states, plan.Simulate(states[len(states)-1], st))
		if more := added(before, states[len(states)-1].Orphans()); len(more) > 0 {
			t.Errorf("after step %d, %s: %s", st.Number, st.Kind, strings.Join(more, "; "))
		}
	}
	now := states[len(states)-1]
	var applied []int
	for i := range p.Steps {
		applied = append(applied, i)
	}
	stays := false
	for _, i := range plan.UndoOrder(p, applied) {
		if p.Steps[i].Undo.Irreversible != "" {
			return
		}
		stays = stays || p.Steps[i].Undo.Nothing
		now = plan.SimulateUndo(now, p.Steps[i], s)
		if more := added(before, now.Orphans()); len(more) > 0 {
			t.Errorf("step %d taken back: %s", i+1, strings.Join(more, "; "))
		}
	}
	if d := cmp.Diff(s, now, cmpopts.EquateEmpty()); d != "" && !stays {
		t.Errorf("S-51: not as before: %s", d)
	}
}

func added(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(o string) bool { return slices.Contains(before, o) })
}

// relabelled lets the namespace default lead to the new revision, with its pods on the old.
func relabelled(s *mesh.Snapshot) {
	for i, n := range s.Namespaces {
		if n.Name == "default" {
			s.Namespaces[i].Labels = map[string]string{mesh.RevLabel: "1-29-1"}
		}
	}
}

// With --surge every Deployment has one pod more first, also one of a single pod; a
// StatefulSet has a first pod; and the rest is asked for.
func TestSurge(t *testing.T) {
	s := canary().Workload(mesh.KindStatefulSet, "default", "db", meshtest.Replicas(2)).Snapshot()
	relabelled(&s)
	p := plan.Build(s, op(plan.Operation{Verb: plan.Roll, Namespaces: []string{"default"}, Workloads: []string{"db", "details-v1"}, FirstPod: true, Surge: true}))
	want := []string{"surge-pods default/details-v1", "restart-first-pods statefulset default/db", "restart-workloads default/* (asks)"}
	if d := cmp.Diff(want, kinds(p)); d != "" {
		t.Fatalf("%s\n%v", d, p.Findings)
	}
	after := plan.Simulate(s, p.Steps[0])
	if n := len(after.Pods) - len(s.Pods); n != 1 {
		t.Errorf("%d pods more", n)
	}
	end := plan.Simulate(plan.Simulate(after, p.Steps[1]), p.Steps[2])
	if len(end.Pods) != len(s.Pods) {
		t.Errorf("%d pods at the end, %d before", len(end.Pods), len(s.Pods))
	}
}

func TestOperation_wholeAndBackIsAsBefore(t *testing.T) {
	for _, k := range plan.OperationKinds() {
		// Of some only other tests have a mesh: TestCanary_wholeAndBack, TestS33_aRenderedGatewayIsPutBack, TestS27_repair, TestS34_whatAKilledCommandLeavesIsRemoved.
		found := slices.Contains([]plan.Kind{plan.RenewGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry}, k)
		for _, o := range []plan.Operation{
			{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "1-29-1"},
			{Verb: plan.TagRemove, Tags: []string{"old"}},
			{Verb: plan.Install, Chart: "gateway", Name: "edge", Namespace: "edge"},
			{Verb: plan.Uninstall, Chart: "base"},
			{Verb: plan.Uninstall, Purge: true},
			keptOp("old", "1.28.0"),
			{Verb: plan.Roll, FirstPod: true, Surge: true},
			{Verb: plan.GatewayAdd, Namespace: "istio-ingress", Name: "istio-ingress", Revision: "1-29-1", To: "third"},
			{Verb: plan.GatewayShift, Namespace: "istio-ingress", Name: "second", Pods: "0"},
			{Verb: plan.GatewayDrain, Namespace: "istio-ingress", Name: "istio-ingress"},
		} {
			w := canary().Tag("old", "1-29-1").Namespace("edge")
			if strings.HasPrefix(string(o.Verb), "gateway-") {
				w = twoGateways()
			}
			if o.Chart == "base" {
				w = meshtest.New().Base("1.29.1", "default").ControlPlane("default", "1.29.1")
			}
			if o.Purge {
				w.Change(dangling)
			}
			if o.Verb == plan.Roll {
				w.Namespace("moved", mesh.RevLabel, "1-29-1").Deployment("moved", "cart", meshtest.On("default"))
			}
			r := op(o)
			r.To = "1.29.1"
			p := plan.Build(w.Snapshot(), r)
			for _, st := range p.Steps {
				if st.Kind != k {
					continue
				}
				found = true
				after := plan.Simulate(w.Snapshot(), st)
				if d := cmp.Diff(w.Snapshot(), after); d == "" {
					t.Errorf("simulating %s changes nothing", k)
				}
				if d := cmp.Diff(w.Snapshot(), plan.SimulateUndo(after, st, w.Snapshot()), cmpopts.EquateEmpty()); d != "" {
					t.Errorf("taking back %s: %s", k, d)
				}
			}
		}
		if !found {
			t.Errorf("no operation has a step %s", k)
		}
	}
}

// A pod that is being deleted goes by itself: it is waited for, and is neither in the
// way of an uninstall nor a part of what a person agrees to. Any other is in the way
// (S-54).
func TestUninstall_waitsForPodsThatGo(t *testing.T) {
	s := canary().Snapshot()
	about := func(p plan.Plan, code string) []plan.Finding {
		return slices.DeleteFunc(slices.Clone(p.Findings), func(f plan.Finding) bool { return f.Code != code })
	}
	uninstall := op(plan.Operation{Verb: plan.Uninstall, Revision: "1-29-1"})
	none := plan.Build(s, uninstall)
	if len(none.Steps) != 1 || len(about(none, "SRN1073")) != 0 {
		t.Fatalf("%+v", none)
	}
	for i, name := range []string{"old-0", "old-1"} {
		p := s.Pods[i]
		p.Name, p.Revision, p.Leaving = name, "1-29-1", true
		s.Pods = append(s.Pods, p)
	}
	waits := plan.Build(s, uninstall)
	fs := about(waits, "SRN1073")
	if len(waits.Steps) != 1 || len(fs) != 1 || fs[0].Severity != plan.Info || fs[0].Object != "revision 1-29-1" ||
		fs[0].Reason != "2 pods on it, being deleted (pod default/old-0, pod default/old-1): it is removed once they have gone, for which it waits 10m0s at most" {
		t.Errorf("%d steps, %+v", len(waits.Steps), waits.Findings)
	}
	if waits.Digest != none.Digest {
		t.Error("a pod that goes while somebody reads the plan makes it another plan")
	}
	if err := plan.Verify(waits); err != nil {
		t.Error(err)
	}
	s.Pods[len(s.Pods)-1].Leaving = false
	stays := plan.Build(s, uninstall)
	if len(stays.Steps) != 0 || len(about(stays, "SRN1204")) != 1 || about(stays, "SRN1204")[0].Object != "pod default/old-1" || len(about(stays, "SRN1073")) != 1 {
		t.Errorf("%d steps, %+v", len(stays.Steps), stays.Findings)
	}
}
