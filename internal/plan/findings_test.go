package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func change(f func(*mesh.Snapshot)) *meshtest.World { return meshtest.Bookinfo("1.27.0").Change(f) }

func one(f func(*mesh.Workload)) *meshtest.World {
	return meshtest.Bookinfo("1.27.0").Deployment("default", "odd", meshtest.Service("odd"), meshtest.With(f))
}

func release(s *mesh.Snapshot, name string) *mesh.Release {
	i := slices.IndexFunc(s.Releases, func(r mesh.Release) bool { return r.Name == name })
	return &s.Releases[i]
}

func TestFindings(t *testing.T) {
	with := ask
	argo := mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "argocd/shop"}
	for _, tt := range []struct {
		name   string
		world  *meshtest.World
		req    plan.Request
		code   string
		sev    plan.Severity
		object string
	}{
		{"a downgrade", meshtest.Bookinfo("1.29.2"), probed(), "SRN1002", plan.Mandatory, "version 1.29.1"},
		{"three minors at once", meshtest.Bookinfo("1.26.0"), probed(), "SRN1004", plan.Mandatory, "version 1.29.1"},
		{"a version that cannot be read", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.To = "latest" }), "SRN1001", plan.Mandatory, "request"},
		{"a control plane whose version cannot be read", meshtest.Bookinfo("latest"), probed(), "SRN1001", plan.Mandatory, "version latest"},
		{"a release that nothing is known of", meshtest.Bookinfo("1.31.0"), with(func(r *plan.Request) { r.To = "1.33.0" }), "SRN1003", plan.Overridable, "version 1.33.0"},
		{"S-18: istio-cni two minors behind", meshtest.Bookinfo("1.27.0").Singleton("istio-cni-node", "1.27.0"), probed(), "SRN1005", plan.Mandatory, "istio-cni-node"},
		{"S-18: istio-cni stays for its owner", meshtest.Bookinfo("1.28.0").Singleton("istio-cni-node", "1.28.0"), probed(), "SRN1008", plan.Info, "istio-cni-node"},
		{"Kubernetes too old", meshtest.Bookinfo("1.27.0").Kubernetes("v1.29.4-gke.1"), probed(), "SRN1006", plan.Mandatory, "Kubernetes"},
		{"a revision name with dots", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Revision = "1.29.1" }), "SRN1011", plan.Mandatory, "revision 1.29.1"},
		{"a revision name that is a tag", meshtest.Bookinfo("1.27.0").Tag("prod", "default"), with(func(r *plan.Request) { r.Revision = "prod" }), "SRN1012", plan.Mandatory, "revision prod"},
		{"a revision named default", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Revision = "default" }), "SRN1012", plan.Mandatory, "revision default"},
		{"a revision name that is taken", meshtest.Bookinfo("1.27.0").ControlPlane("new", "1.28.0"), with(func(r *plan.Request) { r.Revision = "new" }), "SRN1013", plan.Mandatory, "revision new"},
		{"several revisions and no --from", meshtest.Bookinfo("1.27.0").ControlPlane("by", "1.28.0"), probed(), "SRN1014", plan.Mandatory, "request"},
		{"a --from that is not there", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.From = []string{"nope"} }), "SRN1015", plan.Mandatory, "revision nope"},
		{"a --from that is a tag", meshtest.Bookinfo("1.27.0").Tag("prod", "default"), with(func(r *plan.Request) { r.From = []string{"prod"} }), "SRN1015", plan.Mandatory, "revision prod"},
		{"a --from that is the target", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.From = []string{"1-29-1"} }), "SRN1015", plan.Mandatory, "revision 1-29-1"},
		{"no Istio", meshtest.New(), probed(), "SRN1016", plan.Mandatory, "mesh"},
		{"an istiod that is not ready", change(func(s *mesh.Snapshot) { s.ControlPlanes[0].Ready = 1 }), probed(), "SRN1017", plan.Mandatory, "revision default"},
		{"installed by nobody known", change(func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerNone} }), probed(), "SRN1018", plan.Overridable, "revision default"},
		{"installed by istioctl", change(func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerIstioctl} }), probed(), "SRN1026", plan.Warning, "revision default"},
		{
			"installed by an istioctl that kept no values", change(func(s *mesh.Snapshot) {
				s.ControlPlanes[0].Owner, s.ControlPlanes[0].Version = mesh.Owner{Kind: mesh.OwnerIstioctl}, "1.25.2"
			}), probed(), "SRN1018", plan.Mandatory, "revision default",
		},
		{"S-45: a control plane in Git", change(func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = argo }), probed(), "SRN1019", plan.Info, "revision default"},
		{"a pending Helm release", change(func(s *mesh.Snapshot) { release(s, "istiod").Status = "pending-upgrade" }), probed(), "SRN1020", plan.Mandatory, "release istio-system/istiod"},
		{"a failed base release", change(func(s *mesh.Snapshot) { release(s, "istio-base").Status = "failed" }), probed(), "SRN1020", plan.Mandatory, "release istio-system/istio-base"},
		{"no base release", change(func(s *mesh.Snapshot) { s.Releases = s.Releases[1:] }), probed(), "SRN1021", plan.Overridable, "release istio-base"},
		{"CRDs of nobody", change(func(s *mesh.Snapshot) { s.CRDs[0].Owner = mesh.Owner{Kind: mesh.OwnerNone} }), probed(), "SRN1022", plan.Info, "release istio-system/istio-base"},
		{"S-15: values that name the old istiod", change(func(s *mesh.Snapshot) {
			release(s, "istiod").Values = map[string]any{"meshConfig": map[string]any{"defaultConfig": map[string]any{"discoveryAddress": "istiod.istio-system.svc:15012"}}}
		}), probed(), "SRN1023", plan.Warning, "release istio-system/istiod"},
		{"S-15: values of the request", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Values = map[string]any{"revision": "x"} }), "SRN1023", plan.Warning, "request"},
		{"S-45: revisionTags in the values", change(func(s *mesh.Snapshot) { release(s, "istiod").Values = map[string]any{"revisionTags": []any{"prod"}} }), probed(), "SRN1024", plan.Mandatory, "release istio-system/istiod"},
		{"S-45: a tag that Helm owns", meshtest.Bookinfo("1.27.0").Tag("prod", "default").Change(helmTag), probed(), "SRN1024", plan.Mandatory, "tag prod"},
		{"S-45: a tag in Git", meshtest.Bookinfo("1.27.0").Tag("prod", "default").Change(tagOwner(argo)), probed(), "SRN1025", plan.Info, "tag prod"},
		{"both labels", meshtest.Bookinfo("1.27.0").Namespace("two", mesh.InjectionLabel, "enabled", mesh.RevLabel, "default"), probed(), "SRN1030", plan.Warning, "namespace two"},
		{"a label that names nothing", meshtest.Bookinfo("1.27.0").Namespace("lost", mesh.RevLabel, "nope"), probed(), "SRN1031", plan.Overridable, "namespace lost"},
		{"a tag that leads to nothing", meshtest.Bookinfo("1.27.0").Tag("gone", "1-20-0"), probed(), "SRN1032", plan.Mandatory, "tag gone"},
		{"a validator that leads to nothing", change(func(s *mesh.Snapshot) { s.Validators[0].Revision = "gone" }), probed(), "SRN1032", plan.Mandatory, "validator istiod-default-validator"},
		{"a validator that leads to nothing and lets pass", change(func(s *mesh.Snapshot) { s.Validators[0].Revision, s.Validators[0].FailurePolicy = "gone", "Ignore" }), probed(), "SRN1032", plan.Warning, "validator istiod-default-validator"},
		{"S-2: a split tag", meshtest.Bookinfo("1.28.0").ControlPlane("by", "1.28.0").Tag("prod", "default").Change(func(s *mesh.Snapshot) { s.TagServices[0].Revision = "by" }), with(func(r *plan.Request) { r.From = []string{"default"} }), "SRN1033", plan.Mandatory, "tag prod"},
		{"S-2: a tag with a Service alone", change(func(s *mesh.Snapshot) {
			s.TagServices = []mesh.TagService{{Name: "t", Tag: "prod", Revision: "default"}}
		}), probed(), "SRN1033", plan.Mandatory, "tag prod"},
		{"two revisions inject", meshtest.Bookinfo("1.27.0").ControlPlane("by", "1.28.0").Change(func(s *mesh.Snapshot) {
			s.Injectors = append(s.Injectors, mesh.TagInjector("default", "by", "istio-system"))
		}), with(func(r *plan.Request) { r.From = []string{"default"} }), "SRN1034", plan.Mandatory, "namespace default"},
		{"S-1: the injector was switched on again", change(func(s *mesh.Snapshot) {
			s.Injectors = append(s.Injectors, mesh.TagInjector("default", "default", "istio-system"))
		}), probed(), "SRN1034", plan.Mandatory, "injector istio-sidecar-injector"},
		{"S-46: a namespace in Git", change(func(s *mesh.Snapshot) { s.Namespaces[1].Owner = argo }), probed(), "SRN1035", plan.Info, "namespace default"},
		{"a default validator without a tag", meshtest.New().Base("1.27.0", "1-27-0").ControlPlane("1-27-0", "1.27.0"), probed(), "SRN1036", plan.Mandatory, "validator istiod-default-validator"},
		{"the base release disagrees with the tag", meshtest.New().Base("1.27.0", "default").ControlPlane("1-27-0", "1.27.0").Tag("default", "1-27-0"), probed(), "SRN1037", plan.Warning, "release istio-system/istio-base"},
		{"S-19: a shape serin does not know", change(func(s *mesh.Snapshot) {
			s.Unsupported = []mesh.Object{{Kind: "Secret", Namespace: "istio-system", Name: "remote", Note: "a remote cluster"}}
		}), probed(), "SRN1040", plan.Mandatory, "secret istio-system/remote"},
		{"S-45: a default validator in Git", change(func(s *mesh.Snapshot) { s.Validators[0].Owner = argo }), probed(), "SRN1025", plan.Info, "validator istiod-default-validator"},
		{"S-6: a managed Gateway", change(func(s *mesh.Snapshot) {
			s.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "default", Name: "gw"}}
		}), probed(), "SRN1041", plan.Mandatory, "gateway default/gw"},
		{"Recreate", one(func(w *mesh.Workload) { w.Strategy = "Recreate" }), probed(), "SRN1050", plan.Overridable, "workload default/odd"},
		{"one replica without surge", one(func(w *mesh.Workload) { w.MaxSurge = 0 }), probed(), "SRN1050", plan.Overridable, "workload default/odd"},
		{"a DaemonSet without surge", meshtest.Bookinfo("1.27.0").Workload(mesh.KindDaemonSet, "default", "agent"), probed(), "SRN1050", plan.Warning, "workload daemonset default/agent"},
		{"OnDelete", one(func(w *mesh.Workload) { w.Strategy = "OnDelete" }), probed(), "SRN1051", plan.Overridable, "workload default/odd"},
		{"paused", one(func(w *mesh.Workload) { w.Paused = true }), probed(), "SRN1051", plan.Overridable, "workload default/odd"},
		{"a partition", one(func(w *mesh.Workload) { w.Partition = 1 }), probed(), "SRN1051", plan.Overridable, "workload default/odd"},
		{"a Job", meshtest.Bookinfo("1.27.0").Workload(mesh.KindJob, "default", "once"), probed(), "SRN1051", plan.Overridable, "workload job default/once"},
		{"a bare pod", meshtest.Bookinfo("1.27.0").Workload(mesh.KindPod, "default", "bare"), probed(), "SRN1051", plan.Overridable, "workload pod default/bare"},
		{"some other owner", meshtest.Bookinfo("1.27.0").Workload(mesh.KindOther, "default", "x"), probed(), "SRN1051", plan.Overridable, "workload other default/x"},
		{"a rollout under way", one(func(w *mesh.Workload) { w.Settled = false }), probed(), "SRN1052", plan.Overridable, "workload default/odd"},
		{"a budget that allows nothing", one(func(w *mesh.Workload) { w.Budget, w.MaxUnavailable = &mesh.Budget{Name: "b"}, 1 }), probed(), "SRN1053", plan.Overridable, "workload default/odd"},
		{"a budget that a surge does not touch", one(func(w *mesh.Workload) { w.Budget = &mesh.Budget{Name: "b"} }), probed(), "SRN1053", plan.Warning, "workload default/odd"},
		{"a template that names a revision", meshtest.New().Base("1.27.0", "").ControlPlane("old", "1.27.0").Namespace("a").Deployment("a", "b", meshtest.Labels(mesh.RevLabel, "old")), probed(), "SRN1054", plan.Overridable, "workload a/b"},
		{"pods on a revision their labels do not lead to", meshtest.Bookinfo("1.27.0").Namespace("bare").Deployment("bare", "x", meshtest.On("default")), probed(), "SRN1055", plan.Overridable, "workload bare/x"},
		{"pods that would get a proxy", meshtest.Bookinfo("1.27.0").Deployment("default", "x", meshtest.On("")), probed(), "SRN1055", plan.Overridable, "workload default/x"},
		{"pods on a revision that is gone", meshtest.Bookinfo("1.27.0").Deployment("default", "x", meshtest.On("1-20-0")), probed(), "SRN1055", plan.Overridable, "workload default/x"},
		{"a workload in Git", one(func(w *mesh.Workload) { w.Owner = argo }), probed(), "SRN1056", plan.Warning, "workload default/odd"},
		{"configuration only the old revision reads", change(func(s *mesh.Snapshot) {
			s.PinnedObjects = []mesh.Object{{Kind: "VirtualService", Namespace: "default", Name: "v", Revision: "default"}}
		}), probed(), "SRN1057", plan.Overridable, "virtualservice default/v"},
		{"configuration pinned to a tag", meshtest.Bookinfo("1.27.0").Tag("prod", "default").Change(func(s *mesh.Snapshot) {
			s.PinnedObjects = []mesh.Object{{Kind: "VirtualService", Namespace: "default", Name: "v", Revision: "prod"}}
		}), probed(), "SRN1058", plan.Warning, "virtualservice default/v"},
		{"S-47: nothing sends requests", meshtest.Bookinfo("1.27.0"), plan.Request{To: "1.29.1"}, "SRN1060", plan.Overridable, "request"},
		{"a wave that names nothing", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Waves = []plan.Wave{{Namespaces: []string{"nope"}}} }), "SRN1061", plan.Mandatory, "wave 1"},
		{"a wave of more than everything", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Waves = []plan.Wave{{}, {Percent: 101}} }), "SRN1061", plan.Mandatory, "wave 2"},
		{"S-9: a wave that names what follows only a tag", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) { r.Waves = []plan.Wave{{Workloads: []string{"istio-ingress/istio-ingress"}}} }), "SRN1062", plan.Warning, "wave 1"},
		{"a wave to which nothing belongs", meshtest.Bookinfo("1.27.0"), with(func(r *plan.Request) {
			r.Waves = []plan.Wave{{Selector: map[string]string{"no": "one"}, Approve: true}}
		}), "SRN1063", plan.Warning, "wave 1"},
		{"already there", meshtest.Bookinfo("1.29.1"), probed(), "SRN1010", plan.Info, "mesh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(tt.world.Snapshot(), tt.req)
			i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Code == tt.code && f.Object == tt.object })
			if i < 0 {
				t.Fatalf("no %s about %s:\n%s", tt.code, tt.object, outline(p))
			}
			f := p.Findings[i]
			if f.Severity != tt.sev {
				t.Errorf("it is %s, want %s", f.Severity, tt.sev)
			}
			if blocking := f.Severity == plan.Mandatory || f.Severity == plan.Overridable; blocking && (len(p.Steps) > 0 || f.Remedy == "") {
				t.Errorf("a finding in the way has a remedy and leaves no steps: %+v", f)
			}
			if f.Reason == "" || strings.Contains(f.Reason+f.Remedy, "R§") {
				t.Errorf("its reason is for people: %q", f.Reason)
			}
		})
	}
}

func tagOwner(o mesh.Owner) func(*mesh.Snapshot) {
	return func(s *mesh.Snapshot) { s.Injectors[len(s.Injectors)-1].Owner = o }
}

func TestFindings_areReportedAllAtOnce(t *testing.T) {
	s := meshtest.Bookinfo("1.26.0").Kubernetes("v1.20.0").Namespace("lost", mesh.RevLabel, "nope").Snapshot()
	p := plan.Build(s, plan.Request{To: "1.29.1", Revision: "a.b"})
	for _, code := range []string{"SRN1004", "SRN1006", "SRN1011", "SRN1031", "SRN1060"} {
		if !strings.Contains(outline(p), code) {
			t.Errorf("%s is missing:\n%s", code, outline(p))
		}
	}
}

func TestFindings_whatIsIgnoredWarns(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Deployment("default", "odd", meshtest.With(func(w *mesh.Workload) { w.Strategy = "Recreate" })).Snapshot()
	p := plan.Build(s, ask(func(r *plan.Request) { r.IgnoreChecks = []string{"SRN1050"} }))
	if len(p.Steps) == 0 || !strings.Contains(outline(p), "warning SRN1050 workload default/odd") {
		t.Error(outline(p))
	}
	p = plan.Build(s, ask(func(r *plan.Request) { r.To, r.IgnoreChecks = "1.26.0", []string{"SRN1050", "SRN1002"} }))
	if len(p.Steps) > 0 || !strings.Contains(outline(p), "mandatory SRN1002") {
		t.Errorf("what is mandatory cannot be ignored:\n%s", outline(p))
	}
}

func TestFindings_whatStaysKeepsTheOldRevision(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Workload(mesh.KindPod, "default", "bare").Snapshot()
	p := plan.Build(s, ask(func(r *plan.Request) { r.IgnoreChecks = []string{"SRN1051"} }))
	out := outline(p)
	if strings.Contains(out, "remove-revision") || !strings.Contains(out, "warning SRN1059 revision default: it is not removed: pod default/bare-0") {
		t.Error(out)
	}
}

func TestS16_onlyAnInstallationThatSomebodyOwnsIsRemoved(t *testing.T) {
	s := change(func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerNone} }).Snapshot()
	out := outline(plan.Build(s, ask(func(r *plan.Request) { r.IgnoreChecks = []string{"SRN1018"} })))
	if strings.Contains(out, "remove-revision") || !strings.Contains(out, "SRN1059") {
		t.Error(out)
	}
}

func TestS47_withoutAProbeTheChoiceIsExplicit(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(s, plan.Request{To: "1.29.1", IgnoreChecks: []string{"SRN1060"}})
	for _, st := range p.Steps {
		if slices.Contains(st.Proof, "requests") {
			t.Errorf("step %d: %v", st.Number, st.Proof)
		}
		if st.Kind == plan.Restart && (!slices.Contains(st.Proof, "served") || st.Question.MinServed > 0) {
			t.Errorf("what the pods of step %d count is not compared, or a number of requests is asked for that nobody sends: %v %+v", st.Number, st.Proof, st.Question)
		}
	}
	p = plan.Build(s, plan.Request{To: "1.29.1", Prometheus: &plan.Prometheus{URL: "http://prometheus"}})
	if len(p.Steps) == 0 || slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1060" }) {
		t.Errorf("a Prometheus is a choice: %+v", p.Findings)
	}
	p = plan.Build(s, plan.Request{To: "1.29.1", IgnoreChecks: []string{"SRN1060"}, MinServed: 3})
	if i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.Restart }); !slices.Contains(p.Steps[i].Proof, "served") || p.Steps[i].Question.MinServed != 3 {
		t.Errorf("minServed asks for real requests: %+v", p.Steps[i])
	}
}
