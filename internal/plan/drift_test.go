package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// half is the usual upgrade after its namespace has moved.
func half() (plan.Plan, mesh.Snapshot) {
	p, c := bookinfo()
	states, _ := c.forward(p.Steps)
	return p, states[6]
}

func TestS14_whatJoinsIsNoDrift(t *testing.T) {
	p, want := half()
	got := want.Clone()
	got.ControlPlanes[0].Ready, got.ControlPlanes[0].Replicas = 1, 5
	got.Workloads[0].Replicas, got.Workloads[0].Settled = 9, false
	got.Workloads = append(got.Workloads, mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "default", Name: "new"}})
	got.Pods = got.Pods[1:]
	got.Namespaces = append(got.Namespaces, mesh.Namespace{Name: "new"})
	got.Injectors[0].Webhooks[0].CABundle = false
	got.Validators[0].FailurePolicy = "Ignore"
	got.TagServices = nil
	got.Namespaces[0].Labels["team"] = "x"
	release(&got, "istiod-1-29-1").Values = map[string]any{"revision": "1-29-1", "pilot": map[string]any{"cpu": 1}}
	for i := range got.Injectors {
		if got.Injectors[i].Revision == "1-29-1" { // another chart's rendering of what the plan itself makes
			got.Injectors[i].Webhooks[0].NamespaceSelector.MatchExpressions = nil
		}
	}
	if d := plan.Newcomers(want, got, p); len(d) > 0 {
		t.Error(lines(d))
	}
	got.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "default", Name: "gw"}} // by its namespace's label on the new revision
	if d := plan.Drift(want, got, p); len(d) > 0 {
		t.Error(lines(d))
	}
	if d := lines(plan.Newcomers(want, got, p)); d != "gateway default/gw: new, deployed by revision 1-29-1" {
		t.Errorf("it stands in the way back: %s", d)
	}
}

// S-25: what hands a Gateway to another revision at once, or leaves it with none, is
// seen before it is done; a frozen one is serin's own to move.
func TestS25_whatRollsGateways(t *testing.T) {
	p, was := half()
	was.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "default", Name: "gw"}}
	was.Edge.Gateways = []mesh.GatewayObject{{Namespace: "default", Name: "gw", Class: "istio", Controller: mesh.ControllerGateway, Managed: true}}
	i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.MoveNamespace && st.Namespace == "default" })
	back := plan.SimulateUndo(was, p.Steps[i], was)
	if d := lines(plan.Rolled(was, back)); d != "default/gw" {
		t.Errorf("its namespace's label goes back: %q", d)
	}
	if d := plan.Rolled(was, was); len(d) > 0 {
		t.Errorf("nothing changes: %v", d)
	}
	orphaned := was.Clone()
	orphaned.ControlPlanes = slices.DeleteFunc(orphaned.ControlPlanes, func(c mesh.ControlPlane) bool { return c.Revision == p.To })
	if d := lines(plan.Rolled(was, orphaned)); d != "default/gw" {
		t.Errorf("its istiod goes: %q", d)
	}
	was.Edge.Gateways[0].Frozen = "serin-1"
	if d := plan.Rolled(was, back); len(d) > 0 {
		t.Errorf("frozen: %v", d)
	}
}

func TestS14_drift(t *testing.T) {
	argo := mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "argocd/shop"}
	set := func(s *mesh.Snapshot, name string, f func(*mesh.Injector)) {
		for i := range s.Injectors {
			if s.Injectors[i].Name == name {
				f(&s.Injectors[i])
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*mesh.Snapshot)
		want   string
	}{
		{"a control plane is gone", func(s *mesh.Snapshot) { s.ControlPlanes = s.ControlPlanes[:1] }, "revision 1-29-1: its control plane is gone"},
		{"a control plane was upgraded", func(s *mesh.Snapshot) { s.ControlPlanes[0].Version = "1.28.0" }, "revision default: was 1.27.0, is 1.28.0"},
		{"a control plane has another owner", func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = argo }, "revision default: belonged to helm istio-system/istiod, belongs to argocd argocd/shop"},
		{"a new control plane", func(s *mesh.Snapshot) {
			s.ControlPlanes = append(s.ControlPlanes, mesh.ControlPlane{Revision: "x", Version: "1.30.0"})
		}, "revision x: a new control plane, 1.30.0"},
		{"a tag moved", func(s *mesh.Snapshot) {
			set(s, "istio-revision-tag-default", func(i *mesh.Injector) { i.Revision = "1-29-1" })
		}, "tag default: led to default, leads to 1-29-1"},
		{"a tag is gone", func(s *mesh.Snapshot) { set(s, "istio-revision-tag-default", func(i *mesh.Injector) { i.Tag = "" }) }, "tag default: led to default, is gone"},
		{"a tag is split", func(s *mesh.Snapshot) {
			s.TagServices = []mesh.TagService{{Name: "x", Tag: "default", Revision: "1-29-1"}}
		}, "tag default: its parts disagree"},
		{"a new tag", func(s *mesh.Snapshot) {
			s.Injectors = append(s.Injectors, mesh.TagInjector("p", "default", "istio-system"))
		}, "tag p: new, leads to default"},
		{"S-1: the injector is on again", func(s *mesh.Snapshot) {
			set(s, "istio-sidecar-injector", func(i *mesh.Injector) { *i = mesh.RevisionInjector("default", "istio-system") })
		}, "injector istio-sidecar-injector: switched off, and on again"},
		{"an injector was switched off", func(s *mesh.Snapshot) { set(s, "istio-revision-tag-default", func(i *mesh.Injector) { *i = i.Off() }) }, "injector istio-revision-tag-default: switched off"},
		{"an injector is gone", func(s *mesh.Snapshot) { s.Injectors = s.Injectors[:1] }, "gone"},
		{"an injector calls another", func(s *mesh.Snapshot) {
			set(s, "istio-sidecar-injector-1-29-1", func(i *mesh.Injector) { i.Revision = "x" })
		}, "called 1-29-1, calls x"},
		{"a new injector", func(s *mesh.Snapshot) { s.Injectors = append(s.Injectors, mesh.RevisionInjector("x", "istio-system")) }, "injector istio-sidecar-injector-x: new, calls x"},
		{"the default validator moved", func(s *mesh.Snapshot) {
			for i := range s.Validators {
				s.Validators[i].Revision = "1-29-1"
			}
		}, "validator istiod-default-validator: called default, calls 1-29-1"},
		{"the default validator is gone", func(s *mesh.Snapshot) { s.Validators = nil }, "validator istiod-default-validator: gone"},
		{"somebody wrote the label back", func(s *mesh.Snapshot) { s.Namespaces[0].Labels = map[string]string{mesh.InjectionLabel: "enabled"} }, `namespace default: label istio-injection was absent, is "enabled"`},
		{"a namespace is gone", func(s *mesh.Snapshot) { s.Namespaces = nil }, "namespace default: gone"},
		{"a namespace has another owner", func(s *mesh.Snapshot) { s.Namespaces[0].Owner = argo }, "namespace default: belonged to none"},
		{"a release is gone", func(s *mesh.Snapshot) { s.Releases = s.Releases[1:] }, "gone"},
		{"a release is being changed", func(s *mesh.Snapshot) { release(s, "istiod").Status = "pending-upgrade" }, "release istio-system/istiod: was deployed, is pending-upgrade"},
		{"a release has another version", func(s *mesh.Snapshot) { release(s, "istio-base").Version = "1.30.0" }, "release istio-system/istio-base: was at 1.29.1, is at 1.30.0"},
		{"a release has other values", func(s *mesh.Snapshot) { release(s, "istiod").Values = map[string]any{"a": "b"} }, "release istio-system/istiod: its values have changed"},
		{"a workload has another owner", func(s *mesh.Snapshot) { s.Workloads[0].Owner = argo }, "workload default/details-v1: belonged to none, belongs to argocd argocd/shop"},
		{"a managed Gateway appears", func(s *mesh.Snapshot) {
			s.ManagedGateways = []mesh.Object{{Kind: "Gateway", Namespace: "default", Name: "gw", Revision: "default"}}
		}, "gateway default/gw: new, deployed by revision default, which would lose requests when what it follows moves (serin rollback, and plan again with it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, want := half()
			got := want.Clone()
			tt.change(&got)
			if d := lines(plan.Drift(want, got, p)); !strings.Contains(d, tt.want) {
				t.Errorf("got:\n%s\nwant: %s", d, tt.want)
			}
		})
	}
}

func TestS14_selectorsOfOthersMatter(t *testing.T) {
	p, c := bookinfo()
	got := c.start.Clone()
	got.Injectors[0].Webhooks[2].NamespaceSelector = mesh.Selector{MatchLabels: map[string]string{"a": "b"}}
	if d := cmp.Diff([]string{"injector istio-sidecar-injector: its selectors have changed"}, plan.Drift(c.start, got, p)); d != "" {
		t.Error(d)
	}
}

func TestS14_everyStateOfAPlanFitsItself(t *testing.T) {
	for seed := range uint64(50) {
		s, req := random(seed)
		p := plan.Build(s, req)
		states, _ := promise{p, s}.forward(p.Steps)
		for k, state := range states {
			if d := plan.Drift(state, state.Clone(), p); len(d) > 0 {
				t.Fatalf("seed %d, step %d: %s", seed, k, lines(d))
			}
		}
	}
}
