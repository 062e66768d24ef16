package cluster_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

var _ drive.Writer = (*cluster.Writer)(nil)

// shop is a default revision by Helm with a Deployment, a StatefulSet and a
// DaemonSet in a labelled namespace, whose restarts give them new pods at once.
func shop(t *testing.T) (*world, *helmFake, *cluster.Writer) {
	t.Helper()
	two := int32(2)
	app := func(name string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}}
	}
	sel := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	named := func(p *corev1.Pod, app string) *corev1.Pod { p.Labels["app"] = app; return p }
	w := newWorld(t,
		namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"),
		istiod("default", "1.27.0", 1), injector("default", "root"), ownValidator("default"), defaultValidator("default"), istiodService("default"),
		deployment("shop", "cart", 1, "app", "cart:1"), replicaSet("shop", "cart-1", "cart"),
		named(pod("cart-1-a", "default", "1.27.0", controller("ReplicaSet", "apps/v1", "cart-1")), "cart"),
		&appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "db", Generation: 1},
			Spec:       appsv1.StatefulSetSpec{Replicas: &two, Selector: sel("db"), Template: app("db")},
			Status:     appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2},
		},
		named(pod("db-0", "default", "1.27.0", controller("StatefulSet", "apps/v1", "db")), "db"),
		named(pod("db-1", "default", "1.27.0", controller("StatefulSet", "apps/v1", "db")), "db"),
		&appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "log", UID: "log", Generation: 1},
			Spec:       appsv1.DaemonSetSpec{Selector: sel("log"), Template: app("log")},
			Status:     appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1, NumberAvailable: 1, NumberReady: 1},
		},
		named(pod("log-x", "default", "1.27.0", controller("DaemonSet", "apps/v1", "log")), "log"),
		helmCRD("virtualservices", "networking.istio.io", "VirtualService"),
	)
	rolls(t, w)
	h := newHelm(t, w,
		mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.27.0", Status: "deployed"},
		mesh.Release{Namespace: istioSystem, Name: "istiod", Chart: "istiod", Version: "1.27.0", Status: "deployed", Values: map[string]any{"a": "b"}},
	)
	return w, h, cluster.WriterOf(w.Clients, istioSystem, h, w.reader())
}

// rolls gives a workload whose template changes new pods, injected as the
// namespace's labels and the live injectors have it.
func rolls(t *testing.T, w *world) {
	t.Helper()
	for _, kind := range []string{"deployments", "statefulsets", "daemonsets"} {
		w.kube.PrependReactor("patch", kind, func(a clienttesting.Action) (bool, runtime.Object, error) {
			p, ok := a.(clienttesting.PatchActionImpl)
			if !ok || a.GetNamespace() != "shop" {
				return false, nil, nil
			}
			version := map[string]string{"default": "1.27.0"}[injects(t, w)]
			if version == "" {
				version = "1.29.1"
			}
			pods := corev1.SchemeGroupVersion.WithResource("pods")
			list, err := w.kube.Tracker().List(pods, corev1.SchemeGroupVersion.WithKind("Pod"), "shop")
			if err != nil {
				return true, nil, err
			}
			for _, o := range list.(*corev1.PodList).Items {
				if o.Labels["app"] != p.Name || kind == "statefulsets" && heldBack(t, p.Patch, o.Name) {
					continue
				}
				o.Annotations[mesh.RevLabel] = injects(t, w)
				o.Spec.Containers[1].Image = "docker.io/istio/proxyv2:" + version
				if err := w.kube.Tracker().Update(pods, &o, "shop"); err != nil {
					return true, nil, err
				}
			}
			return false, nil, nil
		})
	}
}

// heldBack says whether a StatefulSet's new partition keeps a pod on the old template.
func heldBack(t *testing.T, patch []byte, pod string) bool {
	t.Helper()
	var s appsv1.StatefulSet
	if err := json.Unmarshal(patch, &s); err != nil {
		t.Fatal(err)
	}
	u := s.Spec.UpdateStrategy.RollingUpdate
	return u != nil && u.Partition != nil && pod < fmt.Sprintf("db-%d", *u.Partition)
}

// injects is the revision that injects the namespace shop now. It asks the
// tracker: the clients are locked while a reactor runs.
func injects(t *testing.T, w *world) string {
	t.Helper()
	o, err := w.kube.Tracker().Get(corev1.SchemeGroupVersion.WithResource("namespaces"), "", "shop")
	if err != nil {
		t.Fatal(err)
	}
	gv := admissionv1.SchemeGroupVersion
	list, err := w.kube.Tracker().List(gv.WithResource("mutatingwebhookconfigurations"), gv.WithKind("MutatingWebhookConfiguration"), "")
	if err != nil {
		t.Fatal(err)
	}
	var revs []string
	for _, m := range list.(*admissionv1.MutatingWebhookConfigurationList).Items {
		for _, h := range m.Webhooks {
			s, err := metav1.LabelSelectorAsSelector(h.NamespaceSelector)
			if err != nil {
				t.Fatal(err)
			}
			if s.Matches(labels.Set(o.(*corev1.Namespace).Labels)) && !strings.Contains(h.Name, "object.") {
				revs = append(revs, m.Labels[mesh.RevLabel])
			}
		}
	}
	slices.Sort(revs)
	if revs = slices.Compact(revs); len(revs) != 1 {
		t.Errorf("the next pod is injected by %v", revs)
		return ""
	}
	return revs[0]
}

func planned(t *testing.T, w *world) (plan.Plan, mesh.Snapshot) {
	t.Helper()
	before, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Build(before, plan.Request{To: "1.29.1", IgnoreChecks: []string{"SRN1050", "SRN1060"}})
	if len(p.Steps) == 0 {
		t.Fatalf("there is no plan: %+.200v", p.Findings)
	}
	return p, before
}

// moves are the steps that can be taken back.
func moves(p plan.Plan) []plan.Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(st plan.Step) bool { return st.Kind == plan.RemoveRevision })
}

// apply carries steps out, each twice: the second time nothing may go wrong.
func apply(t *testing.T, writer drive.Writer, p plan.Plan, before mesh.Snapshot, steps []plan.Step) {
	t.Helper()
	for _, st := range steps {
		for range 2 {
			if err := writer.Apply(t.Context(), st, p, before); err != nil {
				t.Fatalf("step %d, %s: %v", st.Number, st.Kind, err)
			}
		}
	}
}

// TestThereAndBack applies every step of a plan twice, then takes back every one
// twice: afterwards the mesh is as it was (S-51).
func TestThereAndBack(t *testing.T) {
	w, h, writer := shop(t)
	p, before := planned(t, w)
	for _, st := range p.Steps {
		apply(t, writer, p, before, []plan.Step{st})
		sound(t, w, fmt.Sprintf("after step %d, %s", st.Number, st.Kind))
	}
	arrived(t, observed(t, w))
	if !h.did("install istiod-1-29-1 like istiod") || !h.did("upgrade istio-base 1.29.1") {
		t.Errorf("Helm did %v", h.calls)
	}
	for _, st := range undoOrder(p.Steps) {
		for range 2 {
			if err := writer.Revert(t.Context(), st, p, before); err != nil {
				t.Fatalf("taking back step %d, %s: %v", st.Number, st.Kind, err)
			}
		}
		sound(t, w, fmt.Sprintf("after taking back step %d, %s", st.Number, st.Kind))
	}
	if d := before.Differences(observed(t, w)); len(d) > 0 {
		t.Errorf("it is not as before: %s", strings.Join(d, "\n"))
	}
}

// arrived checks that everything is on the new revision.
func arrived(t *testing.T, s mesh.Snapshot) {
	t.Helper()
	for _, pod := range s.Pods {
		if pod.Revision != "1-29-1" {
			t.Errorf("pod %s is on %s", pod.Name, pod.Revision)
		}
	}
	if tag, _ := s.Tag("default"); tag.Revision != "1-29-1" || tag.Service != "1-29-1" || tag.Validator != "1-29-1" || tag.Split {
		t.Errorf("got %+v", tag)
	}
}

// undoOrder is the reverse, but a restart comes after what decides its pods' revision.
func undoOrder(done []plan.Step) []plan.Step {
	var out []plan.Step
	var later []plan.Step
	for _, st := range slices.Backward(done) {
		if st.UndoFirst > 0 {
			later = append(later, st)
			continue
		}
		out = append(out, st)
		for _, r := range later {
			if r.UndoFirst == st.Number {
				out = append(out, r)
			}
		}
	}
	return out
}

// sound checks the promise of an upgrade: nothing relies on what is not there.
func sound(t *testing.T, w *world, when string) {
	t.Helper()
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o := s.Orphans(); len(o) > 0 {
		t.Errorf("%s: %s", when, strings.Join(o, "; "))
	}
}

// TestRevertOfWhatWasNeverApplied must find nothing to do: a crash may come
// before the first request.
func TestRevertOfWhatWasNeverApplied(t *testing.T) {
	w, _, writer := shop(t)
	p, before := planned(t, w)
	for _, st := range p.Steps {
		switch st.Kind {
		case plan.RemoveRevision, plan.MoveTag, plan.RestoreLabels:
			continue // they start from what earlier steps made
		case plan.PinDefault, plan.UpgradeBase, plan.InstallRevision, plan.MoveNamespace, plan.FirstPods, plan.Restart,
			plan.SetTag, plan.RemoveTag, plan.InstallChart, plan.RemoveChart, plan.RestoreRevision, plan.RemoveRest, plan.Surge, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway, plan.RenderGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry:
		}
		if err := writer.Revert(t.Context(), st, p, before); err != nil {
			t.Errorf("step %d, %s: %v", st.Number, st.Kind, err)
		}
	}
	last, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, last); d != "" {
		t.Error(d)
	}
}

func TestEachKindHasADeedAndItsInverse(t *testing.T) {
	for _, k := range plan.Kinds() {
		t.Run(string(k), func(t *testing.T) {
			w, _, writer := shop(t)
			p, before := planned(t, w)
			i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == k })
			if i < 0 {
				t.Fatalf("the plan has no step of kind %s", k)
			}
			st := p.Steps[i]
			if err := writer.Apply(t.Context(), st, p, before); err != nil && strings.Contains(err.Error(), "no deed") {
				t.Error(err)
			}
			err := writer.Revert(t.Context(), st, p, before)
			if err != nil && strings.Contains(err.Error(), "no deed") {
				t.Error(err)
			}
		})
	}
	w, _, writer := shop(t)
	_, before := planned(t, w)
	if err := writer.Apply(t.Context(), plan.Step{Kind: "dance"}, plan.Plan{}, before); err == nil {
		t.Error("a kind that nobody knows was applied")
	}
}
