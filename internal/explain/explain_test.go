package explain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/explain"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

// canary is the default revision at 1.27.0, revision canary at 1.29.1 and the tag prod that leads to it.
func canary() *meshtest.World {
	return meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").ControlPlane("canary", "1.29.1").Tag("prod", "canary")
}

func only(t *testing.T, s mesh.Snapshot, q explain.Query) explain.Subject {
	t.Helper()
	found := explain.Find(s, q)
	if len(found) != 1 {
		t.Fatalf("%+v: found %v", q, found)
	}
	return found[0]
}

func deployment(t *testing.T, s mesh.Snapshot, name string) explain.Answer {
	t.Helper()
	return explain.Explain(explain.Look{Snapshot: s}, only(t, s, explain.Query{Kind: explain.Workload, Name: name}))
}

// The truth table of R§1.7: who takes the pod, and the words that say why.
func TestExplain_whoInjects(t *testing.T) {
	for name, tt := range map[string]struct {
		namespace, pod []string
		change         func(*mesh.Workload)
		next, because  string
	}{
		"nobody asks":                       {next: "none", because: "neither the namespace nor the pod asks"},
		"the pod asks":                      {pod: []string{mesh.InjectLabel, "true"}, next: "default", because: "the pod's label sidecar.istio.io/inject=true"},
		"the pod refuses":                   {pod: []string{mesh.InjectLabel, "false"}, namespace: []string{mesh.RevLabel, "canary"}, next: "none", because: "refuses every injector"},
		"the pod names a revision":          {pod: []string{mesh.RevLabel, "canary"}, next: "canary", because: "the pod's label istio.io/rev=canary"},
		"the pod names a tag":               {pod: []string{mesh.RevLabel, "prod"}, next: "canary", because: "the pod's label istio.io/rev=prod"},
		"the pod names nothing":             {pod: []string{mesh.RevLabel, "nope", mesh.InjectLabel, "true"}, next: "none", because: "names no revision and no tag; there are canary, default, prod"},
		"the namespace is enabled":          {namespace: []string{mesh.InjectionLabel, "enabled"}, pod: []string{mesh.RevLabel, "canary"}, next: "default", because: "the namespace's label istio-injection=enabled"},
		"the namespace is disabled":         {namespace: []string{mesh.InjectionLabel, "disabled", mesh.RevLabel, "canary"}, pod: []string{mesh.InjectLabel, "true"}, next: "none", because: "whatever the pod says"},
		"the namespace names a tag":         {namespace: []string{mesh.RevLabel, "prod"}, pod: []string{mesh.RevLabel, "nope"}, next: "canary", because: "the namespace's label istio.io/rev=prod"},
		"the namespace names nothing":       {namespace: []string{mesh.RevLabel, "nope"}, next: "none", because: "istio.io/rev=nope names no revision and no tag"},
		"both labels":                       {namespace: []string{mesh.InjectionLabel, "enabled", mesh.RevLabel, "canary"}, next: "default", because: "istio-injection=enabled"},
		"on the host's network":             {namespace: []string{mesh.RevLabel, "canary"}, change: func(w *mesh.Workload) { w.HostNetwork = true }, next: "none", because: "though a webhook matches"},
		"an annotation that istiod obeys":   {namespace: []string{mesh.RevLabel, "canary"}, change: func(w *mesh.Workload) { w.TemplateAnnotations = map[string]string{mesh.InjectLabel: "false"} }, next: "none", because: "annotation"},
		"an annotation beside its own name": {namespace: []string{mesh.RevLabel, "canary"}, pod: []string{mesh.InjectLabel, "true"}, change: func(w *mesh.Workload) { w.TemplateAnnotations = map[string]string{mesh.InjectLabel: "false"} }, next: "canary", because: "istio.io/rev=canary"},
	} {
		t.Run(name, func(t *testing.T) {
			change := tt.change
			if change == nil {
				change = func(*mesh.Workload) {}
			}
			s := canary().Namespace("shop", tt.namespace...).Deployment("shop", "cart", meshtest.Labels(tt.pod...), meshtest.With(change)).Snapshot()
			a := deployment(t, s, "cart")
			if a.Next != tt.next || !strings.Contains(strings.Join(a.Because, "; "), tt.because) {
				t.Errorf("next %q, because %q", a.Next, a.Because)
			}
			agrees(t, a)
		})
	}
}

// agrees holds an answer to itself: an injector matches when an entry does, and an
// entry when all its terms hold.
func agrees(t *testing.T, a explain.Answer) {
	t.Helper()
	for _, in := range a.Injectors {
		any := false
		for _, e := range in.Entries {
			if e.Matches == slices.ContainsFunc(e.Terms, func(x explain.Term) bool { return !x.Holds }) {
				t.Errorf("%s %s: %v, %+v", in.Name, e.Name, e.Matches, e.Terms)
			}
			any = any || e.Matches
		}
		if in.Matches != any {
			t.Errorf("%s: %v", in.Name, in.Matches)
		}
		if in.Matches && a.Next != in.Revision && a.Next != "conflict" && !strings.Contains(strings.Join(a.Because, " "), "though a webhook matches") {
			t.Errorf("%s matches, and the next pod is of %s", in.Name, a.Next)
		}
	}
}

func TestExplain_waits(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*meshtest.World)
		opts   []meshtest.Option
		want   string // empty: nothing
	}{
		"nothing":            {},
		"a restart":          {opts: []meshtest.Option{meshtest.On("default")}, want: "a restart, which leads to canary: shop/cart; serin restart -n shop cart"},
		"a rollout":          {opts: []meshtest.Option{meshtest.With(func(w *mesh.Workload) { w.Settled = false })}, want: "its rollout"},
		"its pause":          {opts: []meshtest.Option{meshtest.With(func(w *mesh.Workload) { w.Paused = true })}, want: "rollout resume deployment/cart"},
		"a split tag":        {change: func(w *meshtest.World) { w.Change(func(s *mesh.Snapshot) { s.TagServices[0].Revision = "default" }) }, want: "serin tag repair prod"},
		"no istiod is ready": {change: func(w *meshtest.World) { w.Change(func(s *mesh.Snapshot) { s.ControlPlanes[1].Ready = 0 }) }, want: "none is ready"},
		"no control plane":   {change: func(w *meshtest.World) { w.Change(func(s *mesh.Snapshot) { s.ControlPlanes = s.ControlPlanes[:1] }) }, want: "has no control plane"},
		"a CA bundle": {change: func(w *meshtest.World) {
			w.Change(func(s *mesh.Snapshot) { s.Injectors[2].Webhooks[0].CABundle = false })
		}, want: "injector istio-revision-tag-prod to get its CA bundle"},
		"two would inject it": {change: func(w *meshtest.World) {
			w.Change(func(s *mesh.Snapshot) { s.Injectors[0].Webhooks[0].NamespaceSelector = mesh.Selector{} })
		}, want: "two revisions would inject"},
	} {
		t.Run(name, func(t *testing.T) {
			w := canary().Namespace("shop", mesh.RevLabel, "prod").Deployment("shop", "cart", tt.opts...)
			if tt.change != nil {
				tt.change(w)
			}
			s := w.Snapshot()
			l := explain.Look{Snapshot: s}
			for _, p := range s.Pods {
				l.Proxies = append(l.Proxies, gate.Proxy{Namespace: p.Namespace, Name: p.Name, Istiod: "istiod-x"})
			}
			a := explain.Explain(l, only(t, s, explain.Query{Kind: explain.Workload, Name: "cart"}))
			var lines []string
			for _, x := range a.Waits {
				lines = append(lines, x.For+"; "+x.Remedy)
			}
			if said := strings.Join(lines, "\n"); tt.want == "" && said != "" || !strings.Contains(said, tt.want) {
				t.Errorf("waits for %q", said)
			}
			agrees(t, a)
		})
	}
}

func TestExplain_proxies(t *testing.T) {
	s := canary().Namespace("shop", mesh.RevLabel, "prod").Deployment("shop", "cart", meshtest.Replicas(5)).Snapshot()
	s.Pods[4].Leaving = true
	l := explain.Look{Snapshot: s, Proxies: []gate.Proxy{
		{Namespace: "shop", Name: "cart-0", Istiod: "i"},
		{Namespace: "shop", Name: "cart-1", Istiod: "i", Stale: []string{"CDS"}},
		{Namespace: "shop", Name: "cart-2", Istiod: "i", Rejected: []string{"LDS: no"}},
	}}
	of := only(t, s, explain.Query{Kind: explain.Workload, Name: "cart"})
	got := map[string][]string{}
	for _, r := range explain.Explain(l, of).Runs {
		got[r.Sync] = r.Pods
	}
	want := map[string][]string{"synced": {"shop/cart-0"}, "stale": {"shop/cart-1"}, "rejected": {"shop/cart-2"}, "not connected": {"shop/cart-3"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	l.ProxiesUnknown = "forbidden"
	if a := explain.Explain(l, of); len(a.Runs) != 1 || a.Runs[0].Sync != "unknown" || a.ProxiesUnknown == "" {
		t.Errorf("got %+v", a.Runs)
	}
	l.Snapshot.Pods[0].Revision = ""
	pod := explain.Explain(l, only(t, s, explain.Query{Kind: explain.Pod, Namespace: "shop", Name: "cart-0"}))
	if len(pod.Runs) != 1 || pod.Runs[0].Sync != "no proxy" || len(pod.Runs[0].Pods) != 1 {
		t.Errorf("got %+v", pod.Runs)
	}
}

// followed is a mesh where much follows the tag prod.
func followed() mesh.Snapshot {
	return canary().Namespace("shop", mesh.RevLabel, "prod").Namespace("store", mesh.RevLabel, "canary").Namespace("mixed").
		Deployment("shop", "cart").Deployment("store", "till").Deployment("mixed", "own", meshtest.Labels(mesh.RevLabel, "prod")).
		Deployment("mixed", "out").
		Change(func(s *mesh.Snapshot) {
			s.ManagedGateways = []mesh.Object{
				{Kind: "Gateway", Namespace: "mixed", Name: "edge", Revision: "prod"},
				{Kind: "Gateway", Namespace: "shop", Name: "door"},
				{Kind: "Gateway", Namespace: "store", Name: "back"},
				{Kind: "Gateway", Namespace: "mixed", Name: "plain"},
			}
		}).Snapshot()
}

func TestExplain_movesAlong(t *testing.T) {
	s := followed()
	byTag := explain.Along{
		When: "tag prod moves", Namespaces: []string{"shop"}, Workloads: []string{"mixed/own", "shop/cart"}, Gateways: []string{"mixed/edge", "shop/door"},
	}
	for name, tt := range map[string]struct {
		q    explain.Query
		want []explain.Along
	}{
		"a tag":                         {explain.Query{Name: "prod"}, []explain.Along{byTag}},
		"a namespace on a tag":          {explain.Query{Name: "shop"}, []explain.Along{{When: "its labels change", Workloads: []string{"shop/cart"}}, byTag}},
		"a namespace on a revision":     {explain.Query{Name: "store"}, []explain.Along{{When: "its labels change", Workloads: []string{"store/till"}}}},
		"a workload in a namespace":     {explain.Query{Kind: explain.Workload, Name: "cart"}, []explain.Along{{When: "namespace shop moves", Workloads: []string{"shop/cart"}}, byTag}},
		"a workload by itself":          {explain.Query{Kind: explain.Workload, Name: "own"}, []explain.Along{{When: "its own labels change", Workloads: []string{"mixed/own"}}, byTag}},
		"a gateway by its label":        {explain.Query{Name: "edge"}, []explain.Along{byTag}},
		"a gateway by its namespace":    {explain.Query{Name: "door"}, []explain.Along{byTag}},
		"a gateway of a plain revision": {explain.Query{Name: "back"}, []explain.Along{}},
		"a namespace without a label":   {explain.Query{Name: "mixed"}, []explain.Along{}},
	} {
		t.Run(name, func(t *testing.T) {
			a := explain.Explain(explain.Look{Snapshot: s}, only(t, s, tt.q))
			if d := cmp.Diff(tt.want, a.Along); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestExplain_gatewaysAndPlainNamespaces(t *testing.T) {
	s := followed()
	for name, want := range map[string][2]string{
		"edge": {"canary", "its own label: istio.io/rev=prod"}, "door": {"canary", "the label of namespace shop: istio.io/rev=prod"},
		"back": {"canary", "the label of namespace store: istio.io/rev=canary"}, "plain": {"default", "without a label, the default"},
		"mixed": {"none", "by their own labels, to canary (tag prod): own"},
	} {
		a := explain.Explain(explain.Look{Snapshot: s}, only(t, s, explain.Query{Name: name}))
		if a.Next != want[0] || !strings.Contains(strings.Join(a.Because, "; "), want[1]) {
			t.Errorf("%s: next %q, because %q", name, a.Next, a.Because)
		}
	}
}

// A Service behind which two versions stand is shown whole, whichever of its
// workloads is asked about.
func TestExplain_aServiceOfTwoVersions(t *testing.T) {
	s := canary().Namespace("shop", mesh.RevLabel, "prod").
		Deployment("shop", "a", meshtest.Service("web", "alone"), meshtest.On("default")).
		Deployment("shop", "b", meshtest.Service("web"), meshtest.Replicas(2)).Snapshot()
	want := []explain.Service{{Name: "shop/web", Backends: []explain.Backend{
		{Revision: "canary", Version: "1.29.1", Pods: 2, Workloads: []string{"b"}},
		{Revision: "default", Version: "1.27.0", Pods: 1, Workloads: []string{"a"}},
	}}}
	for _, q := range []explain.Query{{Kind: explain.Workload, Name: "a"}, {Kind: explain.Workload, Name: "b"}, {Name: "shop"}, {Name: "prod"}, {Name: "b-1"}} {
		if d := cmp.Diff(want, explain.Explain(explain.Look{Snapshot: s}, only(t, s, q)).Services); d != "" {
			t.Errorf("%v: %s", q, d)
		}
	}
}

func TestFind(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Tag("default", "default").Namespace("other").Deployment("other", "productpage-v1").Snapshot()
	for name, tt := range map[string]struct {
		q    explain.Query
		want []string
	}{
		"a namespace and a tag":      {explain.Query{Name: "default"}, []string{"namespace default", "tag default"}},
		"the tag":                    {explain.Query{Kind: explain.Tag, Name: "default"}, []string{"tag default"}},
		"in two namespaces":          {explain.Query{Name: "productpage-v1"}, []string{"deployment default/productpage-v1", "deployment other/productpage-v1"}},
		"in one":                     {explain.Query{Namespace: "other", Name: "productpage-v1"}, []string{"deployment other/productpage-v1"}},
		"a pod":                      {explain.Query{Name: "ratings-v1-0"}, []string{"pod default/ratings-v1-0"}},
		"a gateway that is injected": {explain.Query{Kind: explain.Gateway, Name: "istio-ingress"}, []string{"deployment istio-ingress/istio-ingress"}},
		"of another kind":            {explain.Query{Kind: explain.Workload, Workload: mesh.KindDaemonSet, Name: "ratings-v1"}, nil},
		"nothing":                    {explain.Query{Name: "nothing"}, nil},
	} {
		var got []string
		for _, of := range explain.Find(s, tt.q) {
			got = append(got, of.String())
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWith_addsWhatNobodyInjects(t *testing.T) {
	s := canary().Namespace("plain").Snapshot()
	for _, kind := range []mesh.WorkloadKind{mesh.KindDeployment, mesh.KindPod} {
		with, of := explain.With(s, mesh.Workload{Ref: mesh.Ref{Kind: kind, Namespace: "plain", Name: "x"}, Settled: true})
		a := explain.Explain(explain.Look{Snapshot: with}, of)
		if a.Next != "none" || len(a.Waits) > 0 || len(a.Runs) != len(with.Pods) {
			t.Errorf("%s: %+v", kind, a)
		}
	}
	if len(s.Workloads)+len(s.Pods) > 0 {
		t.Error("the snapshot itself was changed")
	}
}
