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

// dangling leaves an injector and a validator of a revision that is gone.
func dangling(s *mesh.Snapshot) {
	s.Injectors = append(s.Injectors, mesh.RevisionInjector("gone", s.IstioNamespace))
	s.Validators = append(s.Validators, mesh.RevisionValidator("gone", s.IstioNamespace))
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Validators, func(a, b mesh.Validator) int { return strings.Compare(a.Name, b.Name) })
}

func byHelm(s *mesh.Snapshot) {
	for i, w := range s.Workloads {
		if w.Gateway() {
			s.Workloads[i].Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: w.Namespace + "/" + w.Name}
			s.Releases = append(s.Releases, mesh.Release{Namespace: w.Namespace, Name: w.Name, Chart: "gateway", Version: "1.27.0", Status: "deployed"})
		}
	}
	slices.SortFunc(s.Releases, func(a, b mesh.Release) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
}

// Whatever installed it, all of it goes, in an order in which webhooks never
// outlive what answers them, what relies on it is listed, and it can be taken back
// to the last field. S-1, S-51, S-53, S-54.
func TestPurge(t *testing.T) {
	for name, tt := range map[string]struct {
		mesh mesh.Snapshot
		want []string
	}{
		"by Helm, with a gateway and a tag": {
			canary().Tag("prod", "1-29-1").Change(byHelm).Snapshot(),
			[]string{"remove-chart istio-ingress/istio-ingress (asks)", "remove-tag prod", "remove-rest what no release holds", "remove-chart istio-system/istio-base", "remove-revision default", "remove-revision 1-29-1"},
		},
		"the default pinned to another revision": {
			canary().Tag("default", "1-29-1").Deactivate("default").Snapshot(),
			[]string{"remove-tag default (asks)", "remove-rest what no release holds", "remove-chart istio-system/istio-base", "remove-revision default", "remove-revision 1-29-1"},
		},
		"by istioctl": {
			meshtest.ByIstioctl(meshtest.Bookinfo("1.27.0").Snapshot()), []string{"remove-rest what no release holds (asks)", "remove-revision default"},
		},
		"only what an unfortunate removal has left": {
			meshtest.New().Change(dangling).Snapshot(), []string{"remove-rest what no release holds (asks)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := tt.mesh
			p := plan.Build(before, op(plan.Operation{Verb: plan.Uninstall, Purge: true}))
			if d := cmp.Diff(tt.want, kinds(p)); d != "" {
				t.Fatalf("%s\n%v", d, p.Findings)
			}
			now := before
			for _, st := range p.Steps {
				now = plan.Simulate(now, st)
				for _, i := range now.Injectors {
					if c, ok := now.ControlPlane(i.Revision); i.Revision != "gone" && (!ok || c.Ready == 0) {
						t.Errorf("after %s injector %s has nobody who answers", st.Kind, i.Name)
					}
				}
			}
			v := gate.Judge(gate.NothingLeft, gate.Question{}, gate.Evidence{Snapshot: now})
			if v.State != gate.Open {
				t.Errorf("left: %s", v.Reason)
			}
			if len(now.CRDs) != len(before.CRDs) {
				t.Error("S-53: CRDs went")
			}
			listed := map[string]bool{}
			for _, f := range p.Findings {
				listed[f.Object] = true
			}
			for _, pod := range now.Pods {
				if !listed["pod "+pod.Namespace+"/"+pod.Name] {
					t.Errorf("S-54: pod %s relies on it and is not listed", pod.Name)
				}
			}
			for _, st := range slices.Backward(p.Steps) {
				now = plan.SimulateUndo(now, st, before)
			}
			if d := cmp.Diff(before, now, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("S-51: not as before: %s", d)
			}
		})
	}
}

func TestPurge_refusesWhatWouldComeBack(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*mesh.Snapshot)
		want   []string
	}{
		"Argo CD owns the control plane": {
			func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istiod"} }, []string{"SRN1019 revision default"},
		},
		"nobody known does": {
			func(s *mesh.Snapshot) { s.ControlPlanes[0].Owner = mesh.Owner{Kind: mesh.OwnerNone} }, []string{"SRN1018 revision default"},
		},
		"there is nothing": {
			func(s *mesh.Snapshot) { *s = meshtest.New().Snapshot() }, []string{"SRN1200 mesh"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := meshtest.Bookinfo("1.27.0").Change(tt.change).Snapshot()
			p := plan.Build(s, op(plan.Operation{Verb: plan.Uninstall, Purge: true}))
			if d := cmp.Diff(tt.want, inTheWay(p)); d != "" || len(p.Steps) > 0 {
				t.Error(d)
			}
		})
	}
}
