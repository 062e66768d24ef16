package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// gateways is a cluster with a gateway of two ready pods, and a second one of two
// that their gate holds out; its kubelet and controllers follow at once.
type gateways struct {
	*world
	t      *testing.T
	helm   *helmFake
	writer *cluster.Writer
	gates  []string // pods whose gate was set, in order: "edge-2-a True"
}

func ref(name string) mesh.Ref {
	return mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: name}
}

func newGateways(t *testing.T) *gateways {
	t.Helper()
	second := deployment("shop", "edge-2", 2, "istio-proxy", "auto")
	second.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: mesh.ProvenGate}}
	second.Status.ReadyReplicas, second.Status.AvailableReplicas = 0, 0
	objects := []runtime.Object{namespace("shop"), deployment("shop", "edge", 2, "istio-proxy", "auto"), second, replicaSet("shop", "edge-1", "edge"), replicaSet("shop", "edge-2-1", "edge-2")}
	for _, n := range []string{"a", "b"} {
		p := pod("edge-"+n, "default", "1.27.0", controller("ReplicaSet", "apps/v1", "edge-1"))
		p.Labels["app"] = "edge"
		objects = append(objects, p, heldPod("edge-2-"+n))
	}
	g := &gateways{world: newWorld(t, objects...), t: t}
	g.helm = newHelm(t, g.world, mesh.Release{Namespace: "shop", Name: "edge", Chart: "gateway", Version: "1.27.0", Values: map[string]any{"revision": "default", "a": "b"}})
	g.writer = cluster.WriterOf(g.Clients, istioSystem, g.helm, g.reader())
	g.kube.PrependReactor("patch", "pods", g.kubelet)
	g.kube.PrependReactor("patch", "deployments", g.controller)
	return g
}

func heldPod(name string) *corev1.Pod {
	p := pod(name, "1-29-1", "1.29.1", controller("ReplicaSet", "apps/v1", "edge-2-1"))
	p.Labels["app"] = "edge-2"
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: mesh.ProvenGate}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	return p
}

// kubelet makes a pod Ready when its gate says so, and not when it does not.
func (g *gateways) kubelet(a clienttesting.Action) (bool, runtime.Object, error) {
	patch, ok := a.(clienttesting.PatchActionImpl)
	if !ok || patch.Subresource != "status" {
		return false, nil, nil
	}
	var given corev1.Pod
	if err := json.Unmarshal(patch.Patch, &given); err != nil {
		return true, nil, err
	}
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	o, err := g.kube.Tracker().Get(pods, "shop", patch.Name)
	if err != nil {
		return true, nil, err
	}
	p := o.(*corev1.Pod).DeepCopy()
	said := given.Status.Conditions[0]
	g.gates = append(g.gates, p.Name+" "+string(said.Status))
	p.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: said.Type, Status: said.Status}, {Type: corev1.PodReady, Status: said.Status},
	}
	return true, p, g.kube.Tracker().Update(pods, p, "shop")
}

// controller gives a Deployment that is scaled its pods.
func (g *gateways) controller(a clienttesting.Action) (bool, runtime.Object, error) {
	patch, ok := a.(clienttesting.PatchActionImpl)
	if !ok || patch.Subresource != "scale" {
		return false, nil, nil
	}
	var to struct{ Spec struct{ Replicas int32 } }
	if err := json.Unmarshal(patch.Patch, &to); err != nil {
		return true, nil, err
	}
	n := to.Spec.Replicas
	g.status(patch.Name, n, n)
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	for i, name := range []string{"a", "b"} {
		_ = g.kube.Tracker().Delete(pods, "shop", patch.Name+"-"+name)
		if i < int(n) {
			p := pod(patch.Name+"-"+name, "default", "1.27.0", controller("ReplicaSet", "apps/v1", patch.Name+"-1"))
			p.Labels["app"] = patch.Name
			if err := g.kube.Tracker().Add(p); err != nil {
				return true, nil, err
			}
		}
	}
	d, err := g.kube.Tracker().Get(appsv1.SchemeGroupVersion.WithResource("deployments"), "shop", patch.Name)
	return true, d, err
}

// status says how many pods a Deployment has, and how many are ready.
func (g *gateways) status(name string, n, ready int32) {
	g.t.Helper()
	deployments := appsv1.SchemeGroupVersion.WithResource("deployments")
	o, err := g.kube.Tracker().Get(deployments, "shop", name)
	if err != nil {
		g.t.Fatal(err)
	}
	d := o.(*appsv1.Deployment).DeepCopy()
	d.Spec.Replicas = &n
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: ready, AvailableReplicas: ready}
	if err := g.kube.Tracker().Update(deployments, d, "shop"); err != nil {
		g.t.Fatal(err)
	}
}

// ready are the workload's pods that are Ready.
func (g *gateways) ready(name string) []string {
	g.t.Helper()
	pods, err := g.kube.CoreV1().Pods("shop").List(g.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		g.t.Fatal(err)
	}
	var out []string
	for _, p := range pods.Items {
		if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			out = append(out, p.Name)
		}
	}
	return out
}

func (g *gateways) step(kind plan.Kind, name string, from, to int, behind string) plan.Step {
	st := plan.Step{Kind: kind, Target: "shop/" + name, Namespace: "shop", Workloads: []mesh.Ref{ref(name)}, Pods: &plan.Pods{From: from, To: to}}
	if behind != "" {
		other := ref(behind)
		st.Behind = &other
	}
	return st
}

// S-29: pods are let in one by one, those that are in stay in, twice is once, and
// the way back takes out what the step let in.
func TestS29_openingLetsPodsInOneByOne(t *testing.T) {
	g := newGateways(t)
	for _, st := range []plan.Step{g.step(plan.OpenGateway, "edge-2", 0, 1, "edge"), g.step(plan.OpenGateway, "edge-2", 1, 2, "edge")} {
		for range 2 {
			if err := g.writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
				t.Fatal(err)
			}
		}
		if in := g.ready("edge-2"); len(in) != st.Pods.To {
			t.Errorf("in the Service are %v, want %d", in, st.Pods.To)
		}
	}
	if d := cmp.Diff([]string{"edge-2-a True", "edge-2-b True"}, g.gates); d != "" {
		t.Errorf("gates: %s", d)
	}
	g.gates = nil
	back := g.step(plan.OpenGateway, "edge-2", 1, 2, "edge")
	for range 2 {
		if err := g.writer.Revert(t.Context(), back, plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"edge-2-b False"}, g.gates); d != "" {
		t.Errorf("taken back: %s", d)
	}
	if err := g.writer.Apply(t.Context(), g.step(plan.OpenGateway, "edge-2", 0, 3, ""), plan.Plan{}, mesh.Snapshot{}); err == nil || !strings.Contains(err.Error(), "there are 2") {
		t.Errorf("more pods than there are: %v", err)
	}
}

// S-29, S-30: a pod that was made anew comes in too, once, and never beside more than may be.
func TestS30_aPodMadeAnewIsAdmitted(t *testing.T) {
	g := newGateways(t)
	for _, tt := range []struct {
		pod  string
		most int
		in   bool
	}{
		{"edge-2-a", 1, true},
		{"edge-2-a", 0, false}, // it is in
		{"edge-2-b", 1, false}, // as many as may be are in
		{"gone", 0, false},
		{"edge-2-b", 2, true},
	} {
		in, err := g.writer.Admit(t.Context(), ref("edge-2"), tt.pod, tt.most)
		if err != nil || in != tt.in {
			t.Errorf("%s, at most %d: %v, %v", tt.pod, tt.most, in, err)
		}
	}
	if in := g.ready("edge-2"); !slices.Equal(in, []string{"edge-2-a", "edge-2-b"}) {
		t.Errorf("in the Service are %v", in)
	}
	if _, err := g.writer.Admit(t.Context(), ref("edge"), "edge-a", 0); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("one that nothing holds: %v", err)
	}
}

// S-30: drained to zero and back, twice; never while the other has fewer ready ones.
func TestS30_drainedOnlyWhenTheOtherStands(t *testing.T) {
	g := newGateways(t)
	drain := g.step(plan.ScaleGateway, "edge", 2, 0, "edge-2")
	err := g.writer.Apply(t.Context(), drain, plan.Plan{}, mesh.Snapshot{})
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "0 pods would be ready behind the Service, and 2 are") || len(g.ready("edge")) != 2 {
		t.Fatalf("with nobody else behind the Service: %v, ready %v", err, g.ready("edge"))
	}
	g.status("edge-2", 2, 2)
	for range 2 {
		if err := g.writer.Apply(t.Context(), drain, plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if in := g.ready("edge"); len(in) != 0 {
		t.Errorf("drained, it has %v", in)
	}
	err = g.writer.Revert(t.Context(), g.step(plan.OpenGateway, "edge-2", 0, 2, "edge"), plan.Plan{}, mesh.Snapshot{})
	if !errors.Is(err, drive.ErrRefused) {
		t.Errorf("the other one's pods were taken out of the Service too: %v", err)
	}
	for range 2 {
		if err := g.writer.Revert(t.Context(), drain, plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if in := g.ready("edge"); len(in) != 2 {
		t.Errorf("back, it has %v", in)
	}
	g.status("edge", 3, 3) // a scaler has grown it since the plan was made
	err = g.writer.Apply(t.Context(), drain, plan.Plan{}, mesh.Snapshot{})
	if want := "kubectl -n shop scale deployment edge-2 --replicas=3, then serin gateway shift edge-2 -n shop --to 100%, then serin resume"; !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("grown to three, with two beside it: %v", err)
	}
}

// S-32: the release is renewed at rest, with its values but for the revision, and back.
func TestS32_renewedWithItsOwnValues(t *testing.T) {
	g := newGateways(t)
	before := mesh.Snapshot{Releases: []mesh.Release{{Namespace: "shop", Name: "edge", Chart: "gateway", Version: "1.27.0", Values: map[string]any{"revision": "default", "a": "***"}}}}
	st := plan.Step{Kind: plan.RenewGateway, Target: "shop/edge", Namespace: "shop", Release: &mesh.Release{Namespace: "shop", Name: "edge", Chart: "gateway", Version: "1.29.1", Values: map[string]any{"revision": "1-29-1"}}}
	for _, way := range []struct {
		do      func() error
		version string
		values  map[string]any
	}{
		{func() error { return g.writer.Apply(t.Context(), st, plan.Plan{}, before) }, "1.29.1", map[string]any{"revision": "1-29-1", "a": "b"}},
		{func() error { return g.writer.Revert(t.Context(), st, plan.Plan{}, before) }, "1.27.0", map[string]any{"revision": "default", "a": "b"}},
	} {
		for range 2 {
			if err := way.do(); err != nil {
				t.Fatal(err)
			}
		}
		is := g.helm.is["edge"]
		if d := cmp.Diff(way.values, is.Values); d != "" || is.Version != way.version {
			t.Errorf("at %s, want %s; values: %s", is.Version, way.version, d)
		}
	}
	if err := g.writer.Revert(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("what nobody knows was taken back: %v", err)
	}
	st.Release.Name, st.Target = "gone", "shop/gone"
	if err := g.writer.Apply(t.Context(), st, plan.Plan{}, before); err == nil || !strings.Contains(fmt.Sprint(err), "is gone") {
		t.Errorf("a release that is not there: %v", err)
	}
}
