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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

const ingress = "istio-ingressgateway"

// edgeLabels are istioctl's on a gateway's objects.
func edgeLabels(rev string) map[string]string {
	l := theirs(rev)
	l["operator.istio.io/component"], l["app"] = "IngressGateways", ingress
	return l
}

// renderedAt is the gateway's Deployment as istioctl renders it at a revision.
func renderedAt(rev, version string) *appsv1.Deployment {
	d := deployment(istioSystem, ingress, 2, "istio-proxy", "docker.io/istio/proxyv2:"+version)
	d.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	d.Labels = edgeLabels(rev)
	d.Spec.Template.Labels = map[string]string{"app": ingress, mesh.RevLabel: rev, mesh.InjectLabel: "false"}
	return d
}

func asObject(t *testing.T, o any) unstructured.Unstructured {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	return unstructured.Unstructured{Object: m}
}

// rendering is a cluster with such a gateway; what is applied is stored as given,
// its pods follow at once.
type rendering struct {
	*world
	writer  *cluster.Writer
	helm    *helmFake
	applied []string // kind and strategy's maxUnavailable, in order; tries are not among them
}

func newRendering(t *testing.T, objects ...runtime.Object) *rendering {
	t.Helper()
	live := renderedAt("default", "1.27.0")
	r := &rendering{world: newWorld(t, append(objects, live)...)}
	r.helm = newHelm(t, r.world)
	r.helm.operator = func(version, _ string) []unstructured.Unstructured {
		spec, _ := r.helm.documents[len(r.helm.documents)-1]["spec"].(map[string]any)
		rev, _ := spec["revision"].(string)
		if values, ok := spec["values"].(map[string]any); ok && rev == "" {
			rev, _ = values["revision"].(string)
		}
		if rev == "" {
			rev = "default"
		}
		return []unstructured.Unstructured{asObject(t, renderedAt(rev, version))}
	}
	dyn, ok := r.Dynamic.(*dynamicfake.FakeDynamicClient)
	if !ok {
		t.Fatal("no fake")
	}
	gvr := appsv1.SchemeGroupVersion.WithResource("deployments")
	first := asObject(t, live)
	if err := dyn.Tracker().Create(gvr, &first, istioSystem); err != nil {
		t.Fatal(err)
	}
	dyn.PrependReactor("patch", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchActionImpl)
		if !ok {
			return false, nil, nil
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(p.Patch, &o.Object); err != nil {
			return true, nil, err
		}
		if len(p.PatchOptions.DryRun) > 0 {
			return true, o, nil
		}
		missing, has, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "strategy", "rollingUpdate", "maxUnavailable")
		r.applied = append(r.applied, strings.TrimSpace("Deployment "+map[bool]string{true: "surging"}[has && fmt.Sprint(missing) == "0"]))
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return true, nil, err
		}
		was, err := r.kube.AppsV1().Deployments(istioSystem).Get(t.Context(), ingress, metav1.GetOptions{})
		if err != nil {
			return true, nil, err
		}
		d.UID, d.Status, d.Generation, d.Spec.Replicas = was.UID, was.Status, was.Generation, was.Spec.Replicas
		if _, err := r.kube.AppsV1().Deployments(istioSystem).Update(t.Context(), &d, metav1.UpdateOptions{}); err != nil {
			return true, nil, err
		}
		return true, o, dyn.Tracker().Update(gvr, o, istioSystem)
	})
	r.writer = newWriter(r.world, r.helm)
	return r
}

func renderStep() plan.Step {
	return plan.Step{
		Kind: plan.RenderGateway, Target: istioSystem + "/" + ingress, Namespace: istioSystem, From: "default", To: "1-29-1", Version: "1.29.1",
		Workloads: []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: istioSystem, Name: ingress}},
	}
}

func (r *rendering) image(t *testing.T) string {
	t.Helper()
	d, err := r.kube.AppsV1().Deployments(istioSystem).Get(t.Context(), ingress, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

func (r *rendering) kept(t *testing.T) []string {
	t.Helper()
	list, err := r.kube.CoreV1().Secrets(istioSystem).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range list.Items {
		out = append(out, s.Name)
	}
	return out
}

func byFile() plan.Plan {
	return plan.Plan{To: "1-29-1", Request: plan.Request{Operator: map[string]any{"spec": map[string]any{}}}}
}

// S-33: kept, rolled with surge, then given its own strategy; again and again; and
// put back from what was kept, which is then let go.
func TestS33_renderedThereAndBack(t *testing.T) {
	r := newRendering(t)
	for range 2 { // a crash may come after it
		if err := r.writer.Apply(t.Context(), renderStep(), byFile(), mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"Deployment surging", "Deployment", "Deployment surging", "Deployment"}, r.applied); d != "" {
		t.Error(d)
	}
	if got := r.image(t); !strings.HasSuffix(got, ":1.29.1") {
		t.Errorf("it runs %s", got)
	}
	if d := cmp.Diff([]string{"serin-kept-gateway-istio-system.istio-ingressgateway.default"}, r.kept(t)); d != "" {
		t.Error(d)
	}
	for range 2 {
		if err := r.writer.Revert(t.Context(), renderStep(), byFile(), mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.image(t); !strings.HasSuffix(got, ":1.27.0") {
		t.Errorf("back it runs %s", got)
	}
	if slices.Contains(r.kept(t), "serin-kept-gateway-istio-system.istio-ingressgateway.default") {
		t.Errorf("%v", r.kept(t))
	}
}

// S-33: without anything kept the Deployment's own history has its template; where
// that has none either, it is refused and nothing is touched.
func TestS33_putBackFromItsHistory(t *testing.T) {
	st := renderStep()
	st.Kind, st.From, st.To = plan.PutBackGateway, "default", "1-26-0"
	r := newRendering(t)
	if err := r.writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); !errors.Is(err, drive.ErrRefused) || len(r.applied) > 0 {
		t.Errorf("%v, applied %v", err, r.applied)
	}
	older := func(name, number, image string) *appsv1.ReplicaSet {
		rs := replicaSet(istioSystem, name, ingress)
		rs.Annotations = map[string]string{"deployment.kubernetes.io/revision": number}
		rs.Spec.Template = *renderedAt("1-26-0", image).Spec.Template.DeepCopy()
		rs.Spec.Template.Labels[mesh.HashLabel] = name
		rs.Labels = rs.Spec.Template.Labels
		return rs
	}
	r = newRendering(t, older("a", "9", "1.26.0"), older("b", "10", "1.26.1"))
	if err := r.writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	d, err := r.kube.AppsV1().Deployments(istioSystem).Get(t.Context(), ingress, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l := d.Spec.Template.Labels
	if !strings.HasSuffix(r.image(t), ":1.26.1") || l[mesh.RevLabel] != "1-26-0" || l[mesh.HashLabel] != "" || d.Labels[mesh.RevLabel] != "1-26-0" {
		t.Errorf("%s %v %v", r.image(t), l, d.Labels)
	}
	if !slices.Contains(r.kept(t), "serin-kept-gateway-istio-system.istio-ingressgateway.default") {
		t.Errorf("for the way forward: %v", r.kept(t))
	}
}

// S-33: from another source than made it, it is refused by the fields that would
// change, in the plan's preview and in the step; unless that is accepted.
func TestS33_anotherSource(t *testing.T) {
	r := newRendering(t)
	render := r.helm.operator
	r.helm.operator = func(version, component string) []unstructured.Unstructured {
		out := render(version, component)
		_ = unstructured.SetNestedField(out[0].Object, "high", "spec", "template", "spec", "priorityClassName")
		return out
	}
	_, preview := r.writer.Manifest(t.Context(), renderStep(), byFile(), mesh.Snapshot{}, false)
	for what, err := range map[string]error{"plan": preview, "step": r.writer.Apply(t.Context(), renderStep(), byFile(), mesh.Snapshot{})} {
		if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "spec.template.spec.priorityClassName (not set, would be high)") || !strings.Contains(err.Error(), plan.CodeOtherSource) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(r.applied)+len(r.kept(t)) > 0 {
		t.Errorf("applied %v, kept %v", r.applied, r.kept(t))
	}
	p := byFile()
	p.Request.IgnoreChecks = []string{plan.CodeOtherSource}
	if err := r.writer.Apply(t.Context(), renderStep(), p, mesh.Snapshot{}); err != nil {
		t.Error(err)
	}
}

// Without a file, what the cluster knows of it is rendered: its name, its
// namespace, its labels, and the values that are kept.
func TestS33_withoutAFile(t *testing.T) {
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "values"}, Data: map[string]string{"original-values": `{}`}}
	r := newRendering(t, kept)
	before := mesh.Snapshot{ControlPlanes: []mesh.ControlPlane{{Revision: "default", Ready: 2, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}}}
	if _, err := r.writer.Manifest(t.Context(), renderStep(), plan.Plan{To: "1-29-1"}, before, false); err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedSlice(r.helm.documents[0], "spec", "components", "ingressGateways")
	want := []any{map[string]any{"name": ingress, "namespace": istioSystem, "enabled": true, "label": map[string]any{"app": ingress}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if rev, named, _ := unstructured.NestedString(r.helm.documents[1], "spec", "values", "revision"); named {
		t.Errorf("for the default revision it is rendered as %q", rev)
	}
	r.helm.operator = func(string, string) []unstructured.Unstructured { return nil }
	if _, err := r.writer.Manifest(t.Context(), renderStep(), byFile(), mesh.Snapshot{}, false); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("a file that has no such gateway: %v", err)
	}
}

func TestUnlike(t *testing.T) {
	made := func(f func(*appsv1.Deployment)) *unstructured.Unstructured {
		d := renderedAt("default", "1.27.0")
		f(d)
		o := asObject(t, d)
		return &o
	}
	same := made(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "docker.io/istio/proxyv2:1.29.1-distroless"
		d.Labels["helm.sh/chart"], d.Labels["operator.istio.io/version"] = "istio-ingress-1.29.1", "1.29.1"
		d.Annotations = map[string]string{}
	})
	as := made(func(*appsv1.Deployment) {})
	if got := cluster.Unlike(as, same); len(got) > 0 {
		t.Errorf("%v", got)
	}
	other := made(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "mirror.example.com:5000/proxyv2:1.27.0"
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: "more"})
	})
	if got := cluster.Unlike(as, other); len(got) != 1 || !strings.HasPrefix(got[0], "spec.template.spec.containers") {
		t.Errorf("%v", got)
	}
}
