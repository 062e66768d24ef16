package evidence_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// admission answers dry-run pods as webhooks would, and remembers them.
type admission struct {
	mu     sync.Mutex
	asked  []*corev1.Pod
	dry    []bool
	inject func(*corev1.Pod) error
}

func (a *admission) install(w *world) {
	w.client.PrependReactor("create", "pods", func(action ktesting.Action) (bool, runtime.Object, error) {
		create := action.(ktesting.CreateActionImpl)
		pod := create.GetObject().(*corev1.Pod)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, pod.DeepCopy())
		a.dry = append(a.dry, slices.Equal(create.CreateOptions.DryRun, []string{"All"}))
		if err := a.inject(pod); err != nil {
			return true, nil, err
		}
		return true, pod, nil
	})
}

func sidecar(revision string) func(*corev1.Pod) error {
	return func(p *corev1.Pod) error {
		p.Annotations = map[string]string{"istio.io/rev": revision}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "istio-proxy"})
		return nil
	}
}

func gatherDryRuns(t *testing.T, w *world, q gate.Question, gates ...gate.Name) gate.Evidence {
	t.Helper()
	ev, err := w.gatherer().Gather(t.Context(), q, gates)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestEachNamespaceIsAskedTwiceWithoutMakingAPod(t *testing.T) {
	w := newWorld()
	a := &admission{inject: sidecar("1-29-1")}
	a.install(w)
	w.reader.snapshot = mesh.Snapshot{Namespaces: []mesh.Namespace{
		{Name: "shop", Labels: map[string]string{"istio-injection": "enabled"}},
		{Name: "bank", Labels: map[string]string{"istio.io/rev": "prod"}},
	}}
	ev := gatherDryRuns(t, w, gate.Question{Revision: "1-29-1", Namespaces: []string{"shop", "bank"}}, gate.Injection)
	shop := gate.DryRun{Namespace: "shop", Revision: "1-29-1", Proxies: 1}
	bank := gate.DryRun{Namespace: "bank", Revision: "1-29-1", Proxies: 1}
	if diff := cmp.Diff([]gate.DryRun{shop, shop, bank, bank}, ev.DryRuns); diff != "" {
		t.Error(diff)
	}
	if len(a.dry) != 4 || slices.Contains(a.dry, false) {
		t.Errorf("dry run of each: %v", a.dry)
	}
	for _, p := range a.asked {
		if len(p.Labels) != 0 {
			t.Errorf("in a labelled namespace the pod has labels %v", p.Labels)
		}
	}
}

func TestADryRunPodPassesPodSecurityRestricted(t *testing.T) {
	w := newWorld()
	a := &admission{inject: sidecar("x")}
	a.install(w)
	gatherDryRuns(t, w, gate.Question{Namespaces: []string{"shop"}}, gate.Injection)
	spec := a.asked[0].Spec
	c := spec.Containers[0].SecurityContext
	if !*spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*c.AllowPrivilegeEscalation || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("got %+v", spec)
	}
	if spec.Containers[0].Resources.Limits.Cpu().IsZero() || spec.Containers[0].Resources.Requests.Memory().IsZero() {
		t.Error("a quota would refuse a pod without requests and limits")
	}
}

func TestProxiesAreCountedAmongInitContainersToo(t *testing.T) {
	w := newWorld()
	native := func(p *corev1.Pod) error {
		p.Spec.InitContainers = []corev1.Container{{Name: "istio-validation"}, {Name: "istio-proxy"}}
		return sidecar("1-29-1")(p)
	}
	(&admission{inject: native}).install(w)
	ev := gatherDryRuns(t, w, gate.Question{Namespaces: []string{"shop"}}, gate.Injection)
	if ev.DryRuns[0].Proxies != 2 {
		t.Errorf("got %+v", ev.DryRuns[0])
	}
}

func TestADryRunThatIsNotInjectedOrRefused(t *testing.T) {
	w := newWorld()
	calls := 0
	(&admission{inject: func(*corev1.Pod) error {
		if calls++; calls > 1 {
			return errors.New("pods \"serin-dry-run-x\" is forbidden: exceeded quota: pods=10")
		}
		return nil
	}}).install(w)
	ev := gatherDryRuns(t, w, gate.Question{Namespaces: []string{"shop"}}, gate.Injection)
	want := []gate.DryRun{{Namespace: "shop"}, {Namespace: "shop", Error: "pods \"serin-dry-run-x\" is forbidden: exceeded quota: pods=10"}}
	if diff := cmp.Diff(want, ev.DryRuns); diff != "" {
		t.Error(diff)
	}
}

func TestInAnUnlabelledNamespaceThePodsAskAsTheWorkloadsDo(t *testing.T) {
	w := newWorld()
	// The fake webhooks: the pod's own labels decide (R§1.7).
	a := &admission{inject: func(p *corev1.Pod) error {
		switch {
		case p.Labels["istio.io/rev"] != "":
			return sidecar(p.Labels["istio.io/rev"])(p)
		case p.Labels["sidecar.istio.io/inject"] == "true":
			return sidecar("default")(p)
		}
		return nil
	}}
	a.install(w)
	workload := func(name string, labels map[string]string) mesh.Workload {
		return mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "legacy", Name: name}, TemplateLabels: labels}
	}
	w.reader.snapshot = mesh.Snapshot{
		Namespaces: []mesh.Namespace{{Name: "legacy", Labels: map[string]string{"team": "x"}}},
		Workloads: []mesh.Workload{
			workload("a", map[string]string{"app": "a", "istio.io/rev": "prod"}),
			workload("b", map[string]string{"app": "b", "sidecar.istio.io/inject": "true"}),
			workload("c", map[string]string{"app": "c", "sidecar.istio.io/inject": "true"}), // as b
			workload("d", map[string]string{"app": "d", "istio.io/rev": "other"}),           // not in question
		},
	}
	q := gate.Question{Namespaces: []string{"legacy"}}
	for _, i := range []int{0, 1, 2} {
		q.Workloads = append(q.Workloads, w.reader.snapshot.Workloads[i].Ref)
	}
	ev := gatherDryRuns(t, w, q, gate.Injection)
	prod := gate.DryRun{Namespace: "legacy", Revision: "prod", Proxies: 1}
	byDefault := gate.DryRun{Namespace: "legacy", Revision: "default", Proxies: 1}
	if diff := cmp.Diff([]gate.DryRun{prod, prod, byDefault, byDefault}, ev.DryRuns); diff != "" {
		t.Error(diff)
	}
	// Nobody in question there: an unlabelled pod tells whether the namespace is injected.
	ev = gatherDryRuns(t, w, gate.Question{Namespaces: []string{"legacy"}}, gate.Injection)
	if diff := cmp.Diff([]gate.DryRun{{Namespace: "legacy"}, {Namespace: "legacy"}}, ev.DryRuns); diff != "" {
		t.Error(diff)
	}
	// One of those in question was deleted: the others tell. All were: nobody is asked for.
	w.reader.snapshot.Workloads = w.reader.snapshot.Workloads[1:]
	if diff := cmp.Diff([]gate.DryRun{byDefault, byDefault}, gatherDryRuns(t, w, q, gate.Injection).DryRuns); diff != "" {
		t.Error(diff)
	}
	w.reader.snapshot.Workloads = w.reader.snapshot.Workloads[2:]
	if ev := gatherDryRuns(t, w, q, gate.Injection); len(ev.DryRuns) > 0 {
		t.Errorf("got %+v", ev.DryRuns)
	}
	// The namespace was labelled meanwhile: a plain pod tells.
	w.reader.snapshot.Namespaces[0].Labels = map[string]string{"istio-injection": "enabled"}
	if ev := gatherDryRuns(t, w, q, gate.Injection); len(ev.DryRuns) != 2 {
		t.Errorf("got %+v", ev.DryRuns)
	}
}

func TestTheNewInjectorIsProvenBeforeAnythingUsesIt(t *testing.T) {
	disabled := map[string]string{"istio-injection": "disabled"}
	tests := map[string]struct {
		namespaces []mesh.Namespace
		in         string // "": nowhere
	}{
		"in Istio's namespace":      {namespaces: []mesh.Namespace{{Name: "istio-system"}}, in: "istio-system"},
		"beside it when labelled":   {namespaces: []mesh.Namespace{{Name: "istio-system", Labels: disabled}, {Name: "kube-system"}, {Name: "quiet"}}, in: "quiet"},
		"nowhere when all labelled": {namespaces: []mesh.Namespace{{Name: "istio-system", Labels: disabled}, {Name: "kube-system"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			a := &admission{inject: sidecar("1-29-1")}
			a.install(w)
			w.reader.snapshot.Namespaces = test.namespaces
			ev := gatherDryRuns(t, w, gate.Question{Revision: "1-29-1"}, gate.ControlPlane)
			if test.in == "" {
				if len(a.asked) != 0 || !strings.Contains(ev.Missing[gate.ControlPlane], "1-29-1") {
					t.Errorf("got %+v", ev)
				}
				return
			}
			run := gate.DryRun{Namespace: test.in, Revision: "1-29-1", Proxies: 1}
			if diff := cmp.Diff([]gate.DryRun{run, run}, ev.DryRuns); diff != "" {
				t.Error(diff)
			}
			want := map[string]string{"istio.io/rev": "1-29-1", "sidecar.istio.io/inject": "true"}
			if diff := cmp.Diff(want, a.asked[0].Labels); diff != "" {
				t.Error(diff)
			}
		})
	}
}
