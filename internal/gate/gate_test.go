package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

var cart, shop = ref("cart"), ref("shop")

func ref(name string) mesh.Ref {
	return mesh.Ref{Kind: mesh.KindDeployment, Namespace: "default", Name: name}
}

// moved is a mesh in which cart has moved to "new" and shop is still on "old".
func moved() (gate.Question, gate.Evidence) {
	s := meshtest.New().ControlPlane("new", "1.29.1").ControlPlane("old", "1.27.0").
		Namespace("default", mesh.RevLabel, "old").
		Deployment("default", "cart", meshtest.Replicas(2), meshtest.Service("cart")).
		Deployment("default", "shop", meshtest.Replicas(2), meshtest.Service("shop")).Snapshot()
	ev := gate.Evidence{At: time.Unix(0, 0), Served: map[string]int{}, Missing: map[gate.Name]string{}}
	for i, p := range s.Pods {
		if p.Workload == cart {
			s.Pods[i].Revision, s.Pods[i].Version = "new", "1.29.1"
		}
		p = s.Pods[i]
		ev.Proxies = append(ev.Proxies, gate.Proxy{Namespace: p.Namespace, Name: p.Name, Revision: p.Revision, Version: p.Version})
		ev.Served[p.Namespace+"/"+p.Name] = 3
	}
	ev.Snapshot = s
	dry := gate.DryRun{Namespace: "default", Revision: "new", Proxies: 1}
	ev.DryRuns = []gate.DryRun{dry, dry}
	ev.Requests = []gate.Comparison{{Before: gate.Window{Sent: 100}, Now: gate.Window{Sent: 100}}}
	ev.Approved = map[int]string{4: "erin"}
	return gate.Question{Revision: "new", Old: "old", Version: "1.29.1", Namespaces: []string{"default"}, Workloads: []mesh.Ref{cart}, Step: 4}, ev
}

// firstPods asks only for the first pod of cart, whose second is on "old" still.
func firstPods(t *testing.T, q *gate.Question, ev *gate.Evidence) {
	t.Helper()
	q.FirstPods = true
	seen := false
	for i, p := range ev.Snapshot.Pods {
		if p.Workload != cart {
			continue
		}
		if seen {
			ev.Snapshot.Pods[i].Revision, ev.Snapshot.Pods[i].Version = "old", "1.27.0"
			for j, x := range ev.Proxies {
				if x.Name == p.Name {
					ev.Proxies[j].Revision, ev.Proxies[j].Version = "old", "1.27.0"
				}
			}
		}
		seen = true
	}
}

// optedIn asks about a workload of an unlabelled namespace too, which is gone.
func optedIn(q *gate.Question, ev *gate.Evidence) {
	q.Namespaces = append(q.Namespaces, "legacy")
	q.Workloads = append(q.Workloads, mesh.Ref{Kind: mesh.KindDeployment, Namespace: "legacy", Name: "cart"})
	ev.Snapshot.Namespaces = append(ev.Snapshot.Namespaces, mesh.Namespace{Name: "legacy"})
}

func pod(t *testing.T, ev *gate.Evidence, of mesh.Ref) *mesh.Pod {
	t.Helper()
	i := slices.IndexFunc(ev.Snapshot.Pods, func(p mesh.Pod) bool { return p.Workload == of })
	return &ev.Snapshot.Pods[i]
}

func proxy(t *testing.T, ev *gate.Evidence, of mesh.Ref) *gate.Proxy {
	t.Helper()
	name := pod(t, ev, of).Name
	i := slices.IndexFunc(ev.Proxies, func(p gate.Proxy) bool { return p.Name == name })
	return &ev.Proxies[i]
}

func plane(ev *gate.Evidence, rev string) *mesh.ControlPlane {
	i := slices.IndexFunc(ev.Snapshot.ControlPlanes, func(c mesh.ControlPlane) bool { return c.Revision == rev })
	return &ev.Snapshot.ControlPlanes[i]
}

// hidden lets a tag of the new revision's name lead to the old one.
func hidden(q *gate.Question, ev *gate.Evidence) {
	q.Namespaces = nil
	for i := range ev.DryRuns {
		ev.DryRuns[i].Revision = "old"
	}
	ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("new", "old", "istio-system"))
}

type change func(*testing.T, *gate.Question, *gate.Evidence)

func TestJudge(t *testing.T) {
	window := func(before, now gate.Window) change {
		return func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			ev.Requests = []gate.Comparison{{Before: before, Now: now}}
		}
	}
	for _, tt := range []struct {
		name   string
		gate   gate.Name
		change change
		want   gate.State
		reason string
	}{
		{"S8 two agree", gate.Injection, nil, gate.Open, "two dry-run pods"},
		{"S8 one is not enough", gate.Injection, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.DryRuns = ev.DryRuns[:1] }, gate.Unknown, "1 dry-run pods"},
		{"S8 they disagree", gate.Injection, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.DryRuns[1].Revision = "old" }, gate.Shut, `"old"`},
		{"two proxies", gate.Injection, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.DryRuns[0].Proxies = 2 }, gate.Shut, "2 proxies"},
		{"the API server refuses", gate.Injection, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.DryRuns[0].Error = "quota" }, gate.Unknown, "quota"},
		{"an error hides no wrong one", gate.Injection, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			ev.DryRuns[0].Error, ev.DryRuns[1].Revision = "quota", "old"
		}, gate.Shut, `"old"`},
		{"S9 the workloads in question are gone", gate.Injection, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			optedIn(q, ev)
		}, gate.Open, "each of 1 namespaces are injected by new; not asked, since the workloads that were in question are gone: legacy"},
		{"S9 nothing else is in question", gate.Injection, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			optedIn(q, ev)
			q.Namespaces, ev.DryRuns = []string{"legacy"}, nil
		}, gate.Open, "each of 0 namespaces are injected by new; not asked"},
		{"S47 one of them is there and was not asked", gate.Injection, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			optedIn(q, ev)
			ev.Snapshot.Workloads = append(ev.Snapshot.Workloads, mesh.Workload{Ref: q.Workloads[1]})
		}, gate.Unknown, "0 dry-run pods in legacy"},
		{"S47 the mesh was not seen", gate.Injection, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			optedIn(q, ev)
			ev.Snapshot = mesh.Snapshot{}
		}, gate.Unknown, "the mesh was not observed"},
		{"S47 its own label decides", gate.Injection, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			optedIn(q, ev)
			ev.Snapshot.Namespaces[len(ev.Snapshot.Namespaces)-1].Labels = map[string]string{mesh.RevLabel: "new"}
		}, gate.Unknown, "0 dry-run pods in legacy"},
		{"S47 no namespace", gate.Injection, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Namespaces = nil }, gate.Unknown, "no namespace"},

		{"at full size", gate.ControlPlane, nil, gate.Open, "2 of 2"},
		{"there is none", gate.ControlPlane, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Revision = "none" }, gate.Shut, "no control plane"},
		{"S16 one istiod", gate.ControlPlane, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			plane(ev, "new").Replicas, plane(ev, "new").Ready = 1, 1
		}, gate.Unknown, "1 of 2"},
		{"S16 fewer than the old", gate.ControlPlane, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { plane(ev, "old").Ready = 3 }, gate.Unknown, "2 of 3"},
		{"S16 a tag goes back to one istiod, as its plan has said", gate.ControlPlane, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			q.Istiods, plane(ev, "new").Replicas, plane(ev, "new").Ready, plane(ev, "old").Ready = 1, 1, 1, 3
		}, gate.Open, "1 of 1"},
		{"S16 and to none of it", gate.ControlPlane, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			q.Istiods, plane(ev, "new").Replicas, plane(ev, "new").Ready = 1, 1, 0
		}, gate.Unknown, "0 of 1"},
		{"its tag hides it, and is on its way to it", gate.ControlPlane, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			hidden(q, ev)
			q.Tag = "new"
		}, gate.Open, "while tag new leads to old"},
		{"a tag hides it that does not move", gate.ControlPlane, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			hidden(q, ev)
			q.Tag = "other"
		}, gate.Unknown, `revision "old"`},
		{"no CA bundle", gate.ControlPlane, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			for _, in := range ev.Snapshot.Injectors {
				in.Webhooks[0].CABundle = false
			}
		}, gate.Unknown, "CA bundle"},
		{"no injector", gate.ControlPlane, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.Snapshot.Injectors = nil }, gate.Unknown, "no injector"},
		{"its pods are another's", gate.ControlPlane, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			q.Namespaces, ev.DryRuns[1].Revision = nil, "old"
		}, gate.Unknown, `"old"`},

		{"all established", gate.CRDs, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.CRDs = []mesh.CRD{{Name: "a", Established: true}}
		}, gate.Open, "1 CRDs"},
		{"none listed", gate.CRDs, nil, gate.Unknown, "no CRD"},
		{"one is not", gate.CRDs, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.Snapshot.CRDs = []mesh.CRD{{Name: "a"}} }, gate.Unknown, "a"},

		{"no tag", gate.Tags, nil, gate.Unknown, "no tag"},
		{"S2 split", gate.Tags, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("prod", "new", "istio-system"))
			ev.Snapshot.TagServices = []mesh.TagService{{Name: "s", Tag: "prod", Revision: "old"}}
		}, gate.Shut, "prod is split"},
		{"S2 whole, and elsewhere", gate.Tags, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("prod", "old", "istio-system"))
			q.Tag = "prod"
		}, gate.Shut, "tag prod leads to old, not to new"},
		{"S2 whole, and where it is to lead, beside another", gate.Tags, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("prod", "new", "istio-system"), mesh.TagInjector("other", "old", "istio-system"))
			q.Tag = "prod"
		}, gate.Open, "prod -> new"},
		{"S2 nobody said where it is to lead", gate.Tags, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("prod", "old", "istio-system"))
			q.Tag, q.Revision = "prod", ""
		}, gate.Open, "prod -> old"},
		{"agreed", gate.Tags, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			ev.Snapshot.Injectors = append(ev.Snapshot.Injectors, mesh.TagInjector("prod", "new", "istio-system"))
			ev.Snapshot.TagServices = []mesh.TagService{{Name: "s", Tag: "prod", Revision: "new"}}
		}, gate.Open, "prod -> new"},

		{"all ready", gate.RolledOut, nil, gate.Open, "2 of 2"},
		{"the first pod is enough", gate.RolledOut, firstPods, gate.Open, "1 first pods ready on new"},
		{"the first pod is coming", gate.RolledOut, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			firstPods(t, q, ev)
			pod(t, ev, cart).Ready = false
		}, gate.Unknown, "waiting for default/cart"},
		{"the first pod has not been made", gate.RolledOut, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			firstPods(t, q, ev)
			pod(t, ev, cart).Revision = "old"
		}, gate.Unknown, "waiting for default/cart"},
		{"the first pod is in sync, the others are old", gate.Proxies, firstPods, gate.Open, "1 moved proxies in sync with new"},
		{"the first pod is not in sync", gate.Proxies, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			firstPods(t, q, ev)
			proxy(t, ev, cart).Stale = []string{"CDS"}
		}, gate.Unknown, "has not acknowledged CDS"},
		{"a pod beside the first is unwell", gate.Proxies, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			firstPods(t, q, ev)
			last := len(ev.Proxies) - 1
			for i, p := range ev.Proxies {
				if p.Revision == "old" {
					last = i
				}
			}
			ev.Proxies = slices.Delete(ev.Proxies, last, last+1)
		}, gate.Unknown, "the old revision is unwell"},
		{"one is coming", gate.RolledOut, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); pod(t, ev, cart).Ready = false }, gate.Unknown, "1 of 2 pods ready on new, waiting for"},
		{"one is still old", gate.RolledOut, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); pod(t, ev, cart).Revision = "old" }, gate.Unknown, "1 of 2"},
		{"too few", gate.RolledOut, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			for i := range ev.Snapshot.Workloads {
				ev.Snapshot.Workloads[i].Replicas = 3
			}
		}, gate.Unknown, "2 of 3"},
		{"one more that leaves", gate.RolledOut, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			p := *pod(t, ev, cart)
			p.Name, p.Revision, p.Leaving = "cart-9", "old", true
			ev.Snapshot.Pods = append(ev.Snapshot.Pods, p)
		}, gate.Open, "2 of 2"},

		{"S10 in sync", gate.Proxies, nil, gate.Open, "2 moved"},
		{"S10 not connected yet", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); proxy(t, ev, cart).Name = "x" }, gate.Unknown, "is not connected"},
		{"S10 stale", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, cart).Stale = []string{"CDS"}
		}, gate.Unknown, "CDS"},
		{"S10 stale for long", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, cart).Stale, proxy(t, ev, cart).StaleFor = []string{"CDS", "EDS"}, 42*time.Second
		}, gate.Unknown, "has not acknowledged CDS, EDS for 42s"},
		{"S10 a push is under way to one that stays", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, shop).Stale, proxy(t, ev, shop).StaleFor = []string{"EDS"}, 3*time.Second
		}, gate.Open, "the others well"},
		{"S10 and it does not arrive", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, shop).Stale, proxy(t, ev, shop).StaleFor = []string{"EDS"}, 11*time.Second
		}, gate.Unknown, "the old revision is unwell: default/shop-0 has not acknowledged EDS for 11s"},
		{"its proxy has restarted", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); pod(t, ev, cart).Restarts = 2 }, gate.Shut, "has a proxy that has restarted 2 times"},
		{"one that stays restarted long ago", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); pod(t, ev, shop).Restarts = 2 }, gate.Open, ""},
		{"one that stays is not Ready", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); pod(t, ev, shop).Ready = false }, gate.Open, ""},
		{"S10 rejected", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, cart).Rejected = []string{"LDS: no"}
		}, gate.Shut, "LDS: no"},
		{"S10 another version", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, cart).Version = "1.27.0"
		}, gate.Unknown, "version 1.27.0"},
		{"S55 connected to another", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, shop).Revision = "new"
		}, gate.Shut, "connected to new"},
		{"S10 the old is unwell", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) { t.Helper(); proxy(t, ev, shop).Name = "x" }, gate.Unknown, "old revision is unwell"},
		{"S48 a shut one says so too", gate.Proxies, func(t *testing.T, _ *gate.Question, ev *gate.Evidence) {
			t.Helper()
			proxy(t, ev, cart).Rejected = []string{"LDS: no"}
			proxy(t, ev, shop).Name = "x"
		}, gate.Shut, "old revision is unwell"},
		{"S47 nobody reports", gate.Proxies, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.Proxies = nil }, gate.Unknown, ""},

		{"S11 answered", gate.Served, nil, gate.Open, "6 requests"},
		{"S11 silence", gate.Served, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.Served = nil }, gate.Unknown, "0 of 1"},
		{"S11 too few", gate.Served, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.MinServed = 7 }, gate.Unknown, "6 of 7"},
		{"S11 only the old pods", gate.Served, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Workloads = []mesh.Ref{shop} }, gate.Unknown, "0 of 1"},
		{"S11 no Service", gate.Served, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			for i := range ev.Snapshot.Workloads {
				ev.Snapshot.Workloads[i].Services = nil
			}
			ev.Served = nil
		}, gate.Open, "no Service selects default/cart"},

		{"S47 nobody sends any, and silence is no news", gate.Served, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) { q.Counted, ev.Served = true, nil }, gate.Open, "0 requests"},
		{"S47 nobody sends any, and a number is asked for", gate.Served, func(_ *testing.T, q *gate.Question, ev *gate.Evidence) {
			q.Counted, q.MinServed, ev.Served = true, 2, nil
		}, gate.Unknown, "0 of 2"},
		{"S47 zero-config: as before", gate.Served, counted(gate.Window{Sent: 2000, Failed: 2}, gate.Window{Sent: 600, Failed: 1}), gate.Open, "6 requests"},
		{"S47 zero-config: two in a hundred that only the new pods have", gate.Served, counted(gate.Window{Sent: 2000}, gate.Window{Sent: 600, Failed: 12}), gate.Shut, "the moved pods: 600 sent, 12 failed"},
		{"S47 zero-config: perhaps", gate.Served, counted(gate.Window{Sent: 2000}, gate.Window{Sent: 100, Failed: 2}), gate.Unknown, "more will tell"},
		{"S47 zero-config: twice as slow", gate.Served, counted(within(80*time.Millisecond, 2000), within(160*time.Millisecond, 600)), gate.Shut, "slower: p50 160ms, before the step 80ms"},
		{"S47 zero-config: a few are not compared", gate.Served, counted(gate.Window{Sent: 2000}, gate.Window{Sent: 5, Failed: 5}), gate.Open, ""},
		{"S47 zero-config: nor what fails by itself", gate.Served, counted(gate.Window{Sent: 2000, Failed: 900}, gate.Window{Sent: 600, Failed: 300}), gate.Open, ""},

		{"well", gate.Requests, window(gate.Window{Sent: 100}, gate.Window{Sent: 100}), gate.Open, "100 sent, 0 failed, at most 2.6% (95% sure)"},
		{"all fail", gate.Requests, window(gate.Window{Sent: 100}, gate.Window{Sent: 2, Failed: 2, Example: "503"}), gate.Shut, "before the step 0 of 100 (by chance 1 in 5200); for example: 503"},
		{"a first failure may be chance", gate.Requests, window(gate.Window{Sent: 100}, gate.Window{Sent: 30, Failed: 1, Example: "503"}), gate.Open, "30 sent, 1 failed"},
		{"two may be", gate.Requests, window(gate.Window{Sent: 1000}, gate.Window{Sent: 40, Failed: 2, Example: "503"}), gate.Unknown, "more will tell; for example: 503"},
		{"one in fifty, of many", gate.Requests, window(gate.Window{Sent: 2400}, gate.Window{Sent: 600, Failed: 12}), gate.Shut, "12 failed; before the step 0 of 2400"},
		{"as before", gate.Requests, window(gate.Window{Sent: 2400, Failed: 48}, gate.Window{Sent: 600, Failed: 13}), gate.Open, "13 failed"},
		{"too few to tell", gate.Requests, window(gate.Window{Sent: 100}, gate.Window{Sent: 19}), gate.Unknown, "20 are needed"},
		{"a target that fails by itself", gate.Requests, window(gate.Window{Sent: 100, Failed: 30}, gate.Window{Sent: 100, Failed: 30}), gate.Unknown, "it says nothing: 30 of 100 failed before"},
		{"nothing is known from before, and all is well", gate.Requests, window(gate.Window{}, gate.Window{Sent: 100}), gate.Open, ""},
		{"nothing is known from before, and much fails", gate.Requests, window(gate.Window{}, gate.Window{Sent: 100, Failed: 30}), gate.Shut, "1 of 100 is taken for it"},
		{"S47 no probe", gate.Requests, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) { ev.Requests = nil }, gate.Unknown, "no probe"},

		{"S54 pods do", gate.NothingRefers, nil, gate.Shut, "3 still rely on old: namespace default, pod default/shop-0"},
		{"S54 what is being deleted is waited for", gate.NothingRefers, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			p := *pod(t, ev, cart)
			p.Name, p.Revision, p.Leaving = "cart-9", "gone", true
			ev.Snapshot.Pods = append(ev.Snapshot.Pods, p)
			q.Old = "gone"
		}, gate.Unknown, "waiting until 1 pod on gone that is being deleted has gone: default/cart-9"},
		{"S54 not beside one that stays", gate.NothingRefers, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			leaves, stays := *pod(t, ev, cart), *pod(t, ev, cart)
			leaves.Name, leaves.Revision, leaves.Leaving = "cart-8", "gone", true
			stays.Name, stays.Revision = "cart-9", "gone"
			ev.Snapshot.Pods = append(ev.Snapshot.Pods, leaves, stays)
			q.Old = "gone"
		}, gate.Shut, "1 still rely on gone: pod default/cart-9"},
		{"S54 nothing", gate.NothingRefers, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Old = "gone" }, gate.Open, "gone"},
		{"a mesh is left", gate.NothingLeft, nil, gate.Shut, "revision new"},
		{"S53 CRDs may stay", gate.NothingLeft, func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
			s := &ev.Snapshot
			s.ControlPlanes, s.Injectors, s.Validators, s.TagServices, s.CRDs = nil, nil, nil, nil, []mesh.CRD{{Name: "gateways.networking.istio.io"}}
			s.Releases = []mesh.Release{{Namespace: "istio-system", Name: "istio-cni", Chart: "cni"}}
		}, gate.Open, "is left"},
		{"S47 nobody named", gate.NothingRefers, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Old = "" }, gate.Unknown, ""},

		{"all expected", gate.Prove, foreseen(), gate.Open, "2 workloads and 9 objects put before new, 3 differences expected"},
		{"unexplained asks", gate.Prove, foreseen(timeout), gate.Unknown, "unexplained: CDS connectTimeout changed; serin prove --revision new shows all, approving step 5"},
		{"unexplained and approved", gate.Prove, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			foreseen(timeout)(t, q, ev)
			ev.Approved = map[int]string{5: "erin"}
		}, gate.Open, "1 approved by erin"},
		{"dangerous", gate.Prove, foreseen(timeout, hostGone), gate.Shut, "dangerous: RDS virtualHosts[] removed; serin"},
		{"dangerous whoever approves", gate.Prove, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			foreseen(hostGone)(t, q, ev)
			ev.Approved = map[int]string{5: "erin"}
		}, gate.Shut, "virtualHosts"},
		{"accepted by their patterns", gate.Prove, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			foreseen(timeout, hostGone)(t, q, ev)
			q.Accept = []string{timeout.Pattern, hostGone.Pattern}
		}, gate.Open, ", 2 accepted"},
		{"what has no pattern cannot be accepted", gate.Prove, func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
			t.Helper()
			foreseen(gate.Difference{What: "the pod would be refused", Dangerous: true})(t, q, ev)
			q.Accept = []string{""}
		}, gate.Shut, "refused"},
		{"S47 nobody was asked", gate.Prove, nil, gate.Unknown, "was not asked"},

		{"said yes", gate.Approval, nil, gate.Open, "erin"},
		{"to another step", gate.Approval, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Step = 5 }, gate.Unknown, "step 5"},
	} {
		t.Run(string(tt.gate)+"/"+tt.name, func(t *testing.T) {
			q, ev := moved()
			if tt.change != nil {
				tt.change(t, &q, &ev)
			}
			if v := gate.Judge(tt.gate, q, ev); v.State != tt.want || !strings.Contains(v.Reason, tt.reason) || v.Gate != tt.gate {
				t.Errorf("%+v, want %s with %q", v, tt.want, tt.reason)
			}
		})
	}
}

// counted is what the moved pods have counted, for long enough.
func counted(before, now gate.Window) change {
	return func(_ *testing.T, _ *gate.Question, ev *gate.Evidence) {
		ev.Pods = []gate.Comparison{{Name: "the moved pods", Before: before, Now: now, Lately: now, Long: true}}
	}
}

func within(took time.Duration, n int) gate.Window {
	return gate.Window{Sent: n, P50: took, P99: took, Latencies: []gate.Bucket{{From: took - 1, UpTo: took, N: n}}}
}

// Differences that no rule explains.
var (
	timeout  = gate.Difference{Pattern: "CDS connectTimeout changed", What: "CDS connectTimeout changed"}
	hostGone = gate.Difference{Pattern: "RDS virtualHosts[] removed", What: "RDS virtualHosts[] removed", Dangerous: true}
)

func foreseen(found ...gate.Difference) func(*testing.T, *gate.Question, *gate.Evidence) {
	return func(t *testing.T, q *gate.Question, ev *gate.Evidence) {
		t.Helper()
		q.Step = 5
		ev.Foresight = &gate.Foresight{Workloads: 2, Objects: 9, Expected: 3, Found: found}
	}
}

// Only what a person's word would open says that it asks for it.
func TestJudge_asks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		gate   gate.Name
		change func(*testing.T, *gate.Question, *gate.Evidence)
		want   bool
	}{
		{"approval", gate.Approval, func(_ *testing.T, q *gate.Question, _ *gate.Evidence) { q.Step = 5 }, true},
		{"unexplained", gate.Prove, foreseen(timeout), true},
		{"dangerous too", gate.Prove, foreseen(timeout, hostGone), false},
		{"not asked", gate.Prove, nil, false},
		{"another gate", gate.CRDs, nil, false},
	} {
		q, ev := moved()
		if tt.change != nil {
			tt.change(t, &q, &ev)
		}
		if v := gate.Judge(tt.gate, q, ev); v.Asks != tt.want {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestS47_noGateOpensWithoutEvidence(t *testing.T) {
	for _, n := range []gate.Name{
		gate.ControlPlane, gate.Injection, gate.Tags, gate.CRDs, gate.RolledOut, gate.Proxies, gate.Served, gate.Requests, gate.NothingRefers, gate.NothingLeft, gate.Approval, gate.Prove, "no-such-gate",
	} {
		q, ev := moved()
		ev.Missing[n] = "no permission"
		if v := gate.Judge(n, q, ev); v.State != gate.Unknown || v.Reason != "no permission" {
			t.Errorf("missing: %+v", v)
		}
		for _, q := range []gate.Question{q, {}} {
			if v := gate.Judge(n, q, gate.Evidence{}); v.State != gate.Unknown || v.Reason == "" {
				t.Errorf("no evidence at all: %+v", v)
			}
		}
	}
}

func TestS48_theOldRevisionMustBeWell(t *testing.T) {
	_, ev := moved()
	if v := gate.Well([]string{"old"}, ev.Snapshot); v.State != gate.Open || gate.OldUnwell([]gate.Verdict{v}) {
		t.Errorf("%+v", v)
	}
	plane(&ev, "old").Ready = 1
	for _, revs := range [][]string{{"old"}, {"new", "old"}, {"gone"}} {
		if v := gate.Well(revs, ev.Snapshot); v.State == gate.Open || !gate.OldUnwell([]gate.Verdict{v}) {
			t.Errorf("%v: %+v", revs, v)
		}
	}
	if v := gate.Well(nil, ev.Snapshot); v.State != gate.Unknown {
		t.Errorf("%+v", v)
	}
	_, ev = moved()
	for _, in := range ev.Snapshot.Injectors {
		in.Webhooks[0].CABundle = false
	}
	if v := gate.Well([]string{"old"}, ev.Snapshot); v.State == gate.Open {
		t.Error(fmt.Sprint(v))
	}
}

// S-22: in the midst of a deed nobody is asked: what nobody has accepted stops it.
func TestS22_whatStopsADeed(t *testing.T) {
	f := gate.Foresight{Found: []gate.Difference{{Pattern: "CDS x changed", What: "a"}, {Pattern: "RDS y removed", What: "b", Dangerous: true}, {What: "c"}}}
	for _, tt := range []struct {
		accepted []string
		want     string
	}{{nil, "b a c"}, {[]string{"CDS x changed"}, "b c"}, {[]string{"RDS y removed", "CDS x changed", ""}, "c"}} {
		var got []string
		for _, d := range f.Stops(tt.accepted) {
			got = append(got, d.What)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v: %v, want %s", tt.accepted, got, tt.want)
		}
	}
}
