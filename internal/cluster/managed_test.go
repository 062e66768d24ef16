package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

const modelOf = "serin.dev/model-of"

// deployed is a cluster with a Gateway that the istiod of default deploys, and two
// istiods that deploy what serin copies of it. It writes down what is done to the
// Gateway, and what of it would have lost requests.
type deployed struct {
	*world

	t      *testing.T
	writer *cluster.Writer
	dyn    *dynamicfake.FakeDynamicClient
	did    []string // in order: "annotation serin-…", "claim default", "roll 1-29-1"
	broken []string
	deaf   string // a revision whose istiod takes no claim
	writes int
	dies   int  // the write at which the API server goes away; 0 never
	after  bool // it has done the write by then

	istiods bool // it is an istiod that writes

	found    gate.Foresight // what a comparison finds
	wrong    error
	compared []string              // the image and owner of the templates that were compared
	during   func(context.Context) // a comparison
}

// Compare is the comparer's: what it finds is given.
func (d *deployed) Compare(ctx context.Context, st plan.Step, t corev1.PodTemplateSpec, _ []string) (gate.Foresight, error) {
	if now := d.gateway().GetLabels()[mesh.RevLabel]; now != d.tag() || len(d.claims()) != 2 || len(st.Workloads) != 1 {
		d.broken = append(d.broken, "compared where only one revision programs it")
	}
	c := t.Spec.Containers[0]
	d.compared = append(d.compared, c.Image+" "+c.Env[0].Value+" "+t.Labels[mesh.GatewayNameLabel])
	if d.during != nil {
		d.during(ctx)
	}
	if ctx.Err() != nil {
		return gate.Foresight{}, ctx.Err()
	}
	return d.found, d.wrong
}

var errAway = errors.New("the API server is away")

func gatewayKind() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: mesh.GatewayAPIGroup, Version: "v1", Resource: "gateways"}
}

func newDeployed(t *testing.T, label string) *deployed {
	t.Helper()
	g := in("shop", custom("gateway.networking.k8s.io/v1", "Gateway", "edge", nil, map[string]any{
		"gatewayClassName": "istio",
		"listeners":        []any{map[string]any{"name": "https", "port": int64(443), "protocol": "HTTPS", "tls": map[string]any{"mode": "Terminate"}}},
	}))
	g.SetUID("of-edge")
	g.SetLabels(map[string]string{"team": "web"})
	if label != "" {
		g.SetLabels(map[string]string{"team": "web", mesh.RevLabel: label})
	}
	g.SetAnnotations(map[string]string{mesh.VersionAnnotation: "5", "example.com/owner": "web", "kubectl.kubernetes.io/last-applied-configuration": "{}"})
	d := &deployed{t: t, world: newWorld(t, namespace("shop"), g, crd("gateways", mesh.GatewayAPIGroup, "Gateway"))}
	d.writer = cluster.WriterOf(d.Clients, istioSystem, nil, d.reader())
	d.writer.SetPaces(cluster.Paces{Hear: time.Millisecond, Take: 300 * time.Millisecond, Accept: 300 * time.Millisecond})
	d.writer.Compares(d)
	var ok bool
	if d.dyn, ok = d.Dynamic.(*dynamicfake.FakeDynamicClient); !ok {
		t.Fatal("the world's dynamic client is not the fake")
	}
	d.deploys("edge", "of-edge", g.GetLabels(), "default")
	d.pods("default")
	d.did = nil
	for _, f := range []*clienttesting.Fake{&d.kube.Fake, &d.dyn.Fake} {
		for _, verb := range []string{"create", "delete", "patch"} {
			f.PrependReactor(verb, "*", d.react)
		}
	}
	return d
}

// deploys is istiod's controller: it applies a Deployment for a Gateway, named for it.
func (d *deployed) deploys(name, uid string, labels map[string]string, rev string) {
	d.t.Helper()
	d.istiods = true
	defer func() { d.istiods = false }()
	labels = withKey(labels, mesh.GatewayNameLabel, name)
	selector := map[string]string{mesh.GatewayNameLabel: name}
	a := appsapply.Deployment(name+"-istio", "shop").WithLabels(labels).
		WithOwnerReferences(metaapply.OwnerReference().WithAPIVersion("gateway.networking.k8s.io/v1").WithKind("Gateway").WithName(name).WithUID(types.UID(uid))).
		WithSpec(appsapply.DeploymentSpec().WithReplicas(0).WithSelector(metaapply.LabelSelector().WithMatchLabels(selector)).
			WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithAnnotations(map[string]string{mesh.RevLabel: rev, modelOf: "x"}).
				WithSpec(coreapply.PodSpec().WithServiceAccountName(name + "-istio").
					WithContainers(coreapply.Container().WithName("istio-proxy").WithImage("proxyv2:" + rev).WithEnv(coreapply.EnvVar().WithName("OWNER").WithValue("gateways/" + name))))))
	if name == "edge" {
		delete(a.Spec.Template.Annotations, modelOf)
		a.Spec.Replicas = nil // as many as there are: that is its scaler's
	}
	if _, err := d.kube.AppsV1().Deployments("shop").Apply(d.t.Context(), a, metav1.ApplyOptions{FieldManager: mesh.ControllerGateway, Force: true}); err != nil {
		d.t.Fatal(err)
	}
}

func withKey(m map[string]string, k, v string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	out[k] = v
	return out
}

// pods gives the Gateway's Deployment one pod, of a revision, as a kubelet at once.
func (d *deployed) pods(rev string) {
	d.t.Helper()
	for _, r := range []string{"default", "1-29-1"} {
		_ = d.kube.Tracker().Delete(pods, "shop", "edge-"+r)
	}
	p := pod("edge-"+rev, rev, "1.0.0", nil)
	p.Labels = map[string]string{mesh.GatewayNameLabel: "edge"}
	if err := d.kube.Tracker().Add(p); err != nil {
		d.t.Fatal(err)
	}
	deployments := appsv1.SchemeGroupVersion.WithResource("deployments")
	o, err := d.kube.Tracker().Get(deployments, "shop", "edge-istio")
	if err != nil {
		d.t.Fatal(err)
	}
	dep := o.(*appsv1.Deployment).DeepCopy()
	dep.Status = appsv1.DeploymentStatus{ObservedGeneration: dep.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	if err := d.kube.Tracker().Update(deployments, dep, "shop"); err != nil {
		d.t.Fatal(err)
	}
}

// react is the API server: it may go away before a write or after it. Then istiods
// and kubelets do their part.
func (d *deployed) react(a clienttesting.Action) (bool, runtime.Object, error) {
	if d.istiods || a.GetSubresource() != "" || a.GetResource().Resource == "events" { // an event that is lost stops nothing
		return false, nil, nil
	}
	d.writes++
	dies := d.writes == d.dies
	if !dies {
		d.watch(a)
		return false, nil, nil
	}
	if d.after { // done, and nobody hears of it
		d.watch(a)
		d.carryOut(a)
	}
	return true, nil, errAway
}

// carryOut does what the fakes' own reaction would.
func (d *deployed) carryOut(a clienttesting.Action) {
	tracker := d.kube.Tracker()
	if a.GetResource().Group == mesh.GatewayAPIGroup {
		tracker = d.dyn.Tracker()
	}
	_, _, _ = clienttesting.ObjectReaction(tracker)(a) // of what is not there the answer is lost as well
}

// watch writes down what a write does to the Gateway.
func (d *deployed) watch(a clienttesting.Action) {
	d.t.Helper()
	switch a := a.(type) {
	case clienttesting.CreateActionImpl:
		if o, ok := a.Object.(*unstructured.Unstructured); ok && a.Resource == gatewayKind() {
			d.copied(o)
			return
		}
		if c := nameOf(a.Object); strings.HasPrefix(c, d.tag()+"-") {
			d.did = append(d.did, "claim "+strings.TrimPrefix(c, d.tag()+"-"))
		}
	case clienttesting.DeleteActionImpl:
		switch {
		case a.Resource == gatewayKind():
			_ = d.kube.Tracker().Delete(appsv1.SchemeGroupVersion.WithResource("deployments"), "shop", a.Name+"-istio")
		case strings.HasPrefix(a.Name, d.tag()+"-"):
			d.let(strings.TrimPrefix(a.Name, d.tag()+"-"))
		}
	case clienttesting.PatchActionImpl:
		d.patched(a)
	}
}

func (d *deployed) tag() string { return mesh.PrivateTag("shop", "edge") }

func nameOf(o runtime.Object) string {
	m, ok := o.(metav1.Object)
	if !ok {
		return ""
	}
	return m.GetName()
}

// copied is an istiod's: one whose revision claims the copy's tag deploys it.
func (d *deployed) copied(g *unstructured.Unstructured) {
	hooks, err := d.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(d.t.Context(), metav1.ListOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	if g.GetAnnotations()[mesh.VersionAnnotation] != "" || g.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"] != "" {
		d.broken = append(d.broken, "the copy is frozen, or somebody's")
	}
	for _, h := range hooks.Items {
		if rev := h.Labels[mesh.RevLabel]; h.Labels[mesh.TagLabel] == g.GetLabels()[mesh.RevLabel] && rev != d.deaf {
			d.deploys(g.GetName(), "of-"+g.GetName(), g.GetLabels(), rev)
		}
	}
}

// let notes that a revision lets go of the Gateway: of none whose pods serve.
func (d *deployed) let(rev string) {
	d.did = append(d.did, "unclaim "+rev)
	g := d.gateway()
	for _, serves := range []string{"default", "1-29-1"} { // by the tracker: a reactor that asks the client waits for itself
		p, err := d.kube.Tracker().Get(pods, "shop", "edge-"+serves)
		if err == nil && serves == rev && g.GetLabels()[mesh.RevLabel] == d.tag() {
			d.broken = append(d.broken, fmt.Sprintf("%s lets go of %s, which serves", rev, nameOf(p)))
		}
	}
}

func (d *deployed) patched(a clienttesting.PatchActionImpl) {
	var patch struct {
		Metadata struct{ Labels, Annotations map[string]*string }
		Spec     struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
	}
	_ = json.Unmarshal(a.Patch, &patch) // a patch of another form has none of it
	frozen := d.gateway().GetAnnotations()[mesh.VersionAnnotation] == d.tag()
	switch {
	case a.Resource == gatewayKind():
		if v, ok := patch.Metadata.Annotations[mesh.VersionAnnotation]; ok {
			d.did = append(d.did, "version "+said(v))
		}
		if v, ok := patch.Metadata.Labels[mesh.RevLabel]; ok {
			d.did = append(d.did, "label "+said(v))
			if now := d.gateway().GetLabels()[mesh.RevLabel]; now != said(v) && (said(v) != "none" || now != "") && (!frozen || len(d.claims()) == 0) {
				d.broken = append(d.broken, fmt.Sprintf("labelled %s, which was %q, with no claim, or not frozen", said(v), now))
			}
		}
	case a.Name == "edge-istio":
		rev := patch.Spec.Template.Metadata.Annotations[mesh.RevLabel]
		d.did = append(d.did, "roll "+rev)
		if !frozen || len(d.claims()) != 2 {
			d.broken = append(d.broken, "rolled, not frozen or not claimed by both")
		}
		d.pods(rev)
	}
}

func said(v *string) string {
	if v == nil {
		return "none"
	}
	return *v
}

func (d *deployed) gateway() *unstructured.Unstructured {
	d.t.Helper()
	o, err := d.dyn.Tracker().Get(gatewayKind(), "shop", "edge")
	if err != nil {
		d.t.Fatal(err)
	}
	return o.(*unstructured.Unstructured).DeepCopy()
}

// claims are the revisions that claim the Gateway's private tag.
func (d *deployed) claims() []string {
	var out []string
	for _, rev := range []string{"1-29-1", "default"} {
		_, err := d.kube.Tracker().Get(admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), "", mesh.ClaimOf(d.tag(), rev).Name)
		if err == nil {
			out = append(out, rev)
		}
	}
	return out
}

// state is all that serin may have left.
func (d *deployed) state() string {
	d.t.Helper()
	g := d.gateway()
	dep, err := d.kube.AppsV1().Deployments("shop").Get(d.t.Context(), "edge-istio", metav1.GetOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	all, err := d.kube.AppsV1().Deployments("shop").List(d.t.Context(), metav1.ListOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	configs, err := d.kube.CoreV1().ConfigMaps("shop").List(d.t.Context(), metav1.ListOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	gateways, err := d.Dynamic.Resource(gatewayKind()).Namespace("shop").List(d.t.Context(), metav1.ListOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("label %q version %q claims %v template %v %v of %d Deployments, %d Gateways, %d ConfigMaps", g.GetLabels()[mesh.RevLabel], g.GetAnnotations()[mesh.VersionAnnotation], d.claims(),
		dep.Spec.Template.Labels, dep.Spec.Template.Annotations, len(all.Items), len(gateways.Items), len(configs.Items))
}

func (d *deployed) fine() {
	d.t.Helper()
	for _, b := range d.broken {
		d.t.Errorf("S-21: %s (%v)", b, d.did)
	}
}

func moveOf(label string) plan.Step {
	tag, stamp := mesh.PrivateTag("shop", "edge"), "5"
	st := plan.Step{
		Kind: plan.MoveGateway, Target: "shop/edge", Namespace: "shop", Gateway: "edge", From: "default", To: "1-29-1",
		Workloads: []mesh.Ref{ref("edge-istio")}, Before: map[string]*string{mesh.RevLabel: nil, mesh.VersionAnnotation: &stamp},
		After: map[string]*string{mesh.RevLabel: &tag, mesh.VersionAnnotation: &tag},
	}
	if label != "" {
		st.Before[mesh.RevLabel], st.Last = &label, &label
	}
	return st
}

func returnOf(label string) plan.Step {
	st := moveOf(label)
	st.Kind, st.From, st.Before, st.After = plan.ReturnGateway, "1-29-1", st.After, map[string]*string{mesh.RevLabel: st.Last, mesh.VersionAnnotation: st.Before[mesh.VersionAnnotation]}
	return st
}

// S-20 to S-22, S-25: the parts in their order, there, given back, taken again and
// back; each twice is as once; and nothing of serin's is left at either end.
func TestS21_managedPartsInOrder(t *testing.T) {
	for _, label := range []string{"prod", ""} {
		t.Run("label "+label, func(t *testing.T) {
			d := newDeployed(t, label)
			tag, start := d.tag(), d.state()
			own := label
			if label == "" {
				own = "none"
			}
			move, back := moveOf(label), returnOf(label)
			for _, part := range []struct {
				name string
				do   func() error
				want []string
			}{
				{
					"moved", func() error { return d.writer.Apply(t.Context(), move, plan.Plan{}, mesh.Snapshot{}) },
					[]string{"version " + tag, "claim default", "claim 1-29-1", "label " + tag, "roll 1-29-1", "unclaim default"},
				},
				{
					"returned", func() error { return d.writer.Apply(t.Context(), back, plan.Plan{}, mesh.Snapshot{}) },
					[]string{"label " + own, "unclaim 1-29-1", "unclaim 1-29-1", "version 5"},
				},
				{
					"taken again", func() error { return d.writer.Revert(t.Context(), back, plan.Plan{}, mesh.Snapshot{}) },
					[]string{"version " + tag, "claim 1-29-1", "claim 1-29-1", "label " + tag},
				},
				{
					"moved back", func() error { return d.writer.Revert(t.Context(), move, plan.Plan{}, mesh.Snapshot{}) },
					[]string{"version " + tag, "claim 1-29-1", "claim default", "label " + tag, "roll default", "unclaim 1-29-1", "label " + own, "unclaim default", "unclaim 1-29-1", "version 5"},
				},
			} {
				d.did = nil
				if err := part.do(); err != nil {
					t.Fatalf("%s: %v", part.name, err)
				}
				if diff := cmp.Diff(part.want, d.did); diff != "" {
					t.Errorf("%s: %s", part.name, diff)
				}
				is := d.state()
				if err := part.do(); err != nil {
					t.Fatalf("%s, again: %v", part.name, err)
				}
				if diff := cmp.Diff(is, d.state()); diff != "" {
					t.Errorf("%s twice: %s", part.name, diff)
				}
			}
			if diff := cmp.Diff(start, d.state()); diff != "" {
				t.Errorf("S-25: not as before: %s", diff)
			}
			d.fine()
		})
	}
}

// S-22: what the new revision makes of the Gateway is applied under its own name,
// owner and account, with its own label as it will be, and istiod's fields stay istiod's.
func TestS22_modelIsRenamed(t *testing.T) {
	d := newDeployed(t, "prod")
	if err := d.writer.Apply(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	dep, err := d.kube.AppsV1().Deployments("shop").Get(t.Context(), "edge-istio", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := dep.Spec.Template
	want := map[string]string{"team": "web", mesh.RevLabel: "prod", mesh.GatewayNameLabel: "edge"}
	if diff := cmp.Diff(want, pod.Labels); diff != "" {
		t.Errorf("its pods' labels: %s", diff)
	}
	if diff := cmp.Diff(map[string]string{mesh.RevLabel: "1-29-1"}, pod.Annotations); diff != "" {
		t.Errorf("its pods' annotations: %s", diff)
	}
	c := pod.Spec.Containers[0]
	if c.Image != "proxyv2:1-29-1" || c.Env[0].Value != "gateways/edge" || pod.Spec.ServiceAccountName != "edge-istio" || dep.Spec.Replicas != nil || dep.OwnerReferences[0].UID != "of-edge" {
		t.Errorf("it runs %s for %s as %s, %v pods, owned by %s", c.Image, c.Env[0].Value, pod.Spec.ServiceAccountName, dep.Spec.Replicas, dep.OwnerReferences[0].UID)
	}
	for _, m := range dep.ManagedFields {
		if m.Manager == cluster.Manager {
			t.Error("fields of istiod's are serin's")
		}
	}
}

// S-21: an istiod that takes no private tag holds the step before the label has moved.
func TestS21_anIstiodThatTakesNoClaim(t *testing.T) {
	for _, deaf := range []string{"default", "1-29-1"} {
		d := newDeployed(t, "prod")
		d.deaf = deaf
		err := d.writer.Apply(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
		if !errors.Is(err, drive.ErrRefused) || !strings.Contains(fmt.Sprint(err), "the istiod of "+deaf+" does not take a private tag") {
			t.Errorf("%s is deaf: %v", deaf, err)
		}
		if slices.ContainsFunc(d.did, func(s string) bool { return strings.HasPrefix(s, "label") || strings.HasPrefix(s, "roll") }) {
			t.Errorf("%s is deaf: %v", deaf, d.did)
		}
		d.deaf = ""
		if err := d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Error(err)
		}
		d.fine()
	}
	d := newDeployed(t, "prod") // and one that somebody has deleted meanwhile
	if err := d.dyn.Tracker().Delete(gatewayKind(), "shop", "edge"); err != nil {
		t.Fatal(err)
	}
	d.kube.ReactionChain = d.kube.ReactionChain[3:]
	d.dyn.ReactionChain = d.dyn.ReactionChain[3:]
	if err := d.writer.Apply(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("it is gone: %v", err)
	}
	if err := d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Errorf("it is gone, and there is nothing to take back: %v", err)
	}
}

// S-49: the API server goes away before, or after, each write of a move and of its
// way back; done again from the beginning it ends as without, and at no moment did
// an istiod let go of a pod that serves.
func TestS49_managedDiesAtEachWrite(t *testing.T) {
	ways := []struct {
		name string
		do   func(d *deployed) error
	}{
		{"moved", func(d *deployed) error {
			return d.writer.Apply(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
		}},
		{"returned", func(d *deployed) error {
			return d.writer.Apply(t.Context(), returnOf("prod"), plan.Plan{}, mesh.Snapshot{})
		}},
		{"taken again", func(d *deployed) error {
			return d.writer.Revert(t.Context(), returnOf("prod"), plan.Plan{}, mesh.Snapshot{})
		}},
		{"moved back", func(d *deployed) error {
			return d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
		}},
	}
	for i, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			before := func() *deployed {
				d := newDeployed(t, "prod")
				for _, w := range ways[:i] {
					if err := w.do(d); err != nil {
						t.Fatal(err)
					}
				}
				d.writes = 0
				return d
			}
			whole := before()
			if err := way.do(whole); err != nil {
				t.Fatal(err)
			}
			want, writes := whole.state(), whole.writes
			if writes < 4 {
				t.Fatalf("only %d writes: the test proves nothing", writes)
			}
			for n := 1; n <= writes; n++ {
				for _, after := range []bool{false, true} {
					d := before()
					d.dies, d.after = n, after
					if err := way.do(d); err == nil {
						t.Errorf("write %d, after it %v: nobody noticed", n, after)
					}
					d.dies = 0
					if err := way.do(d); err != nil {
						t.Errorf("write %d, after it %v: done again: %v", n, after, err)
						continue
					}
					if diff := cmp.Diff(want, d.state()); diff != "" {
						t.Errorf("write %d, after it %v: %s", n, after, diff)
					}
					d.fine()
				}
			}
		})
	}
}

// S-51: a process that dies while an istiod deploys a copy leaves that, with its claim
// and its ConfigMap: taken back, or returned, nothing of it is there, though the Gateway
// itself may be gone.
func TestS51_noCopyIsLeft(t *testing.T) {
	for _, rev := range []string{"default", "1-29-1"} {
		for name, end := range map[string]func(d *deployed) error{
			"taken back": func(d *deployed) error {
				return d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
			},
			"gone, and taken back": func(d *deployed) error {
				if err := d.dyn.Tracker().Delete(gatewayKind(), "shop", "edge"); err != nil {
					return err
				}
				d.kube.ReactionChain, d.dyn.ReactionChain = d.kube.ReactionChain[3:], d.dyn.ReactionChain[3:]
				return d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
			},
		} {
			t.Run(rev+", "+name, func(t *testing.T) {
				d := newDeployed(t, "prod")
				start := d.copies()
				copied := mesh.PrivateTag("shop", "edge of "+rev)
				killed := false
				d.dyn.PrependReactor("delete", "gateways", func(a clienttesting.Action) (bool, runtime.Object, error) {
					if del, ok := a.(clienttesting.DeleteAction); ok && del.GetName() == copied && !killed { // nothing is written any more
						killed = true
						d.dies, d.after = d.writes+1, false
						return true, nil, errAway
					}
					return false, nil, nil
				})
				if err := d.writer.Apply(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err == nil || !killed {
					t.Fatalf("it was not killed: %v", err)
				}
				d.dies, d.dyn.ReactionChain = 0, d.dyn.ReactionChain[1:]
				if left := d.copies(); len(left) != len(start)+3 {
					t.Fatalf("it has left %v, which proves nothing", left)
				}
				if err := end(d); err != nil {
					t.Fatal(err)
				}
				if left := d.copies(); !slices.Equal(left, start) {
					t.Errorf("left are %v", left)
				}
			})
		}
	}
}

// copies are the objects that a copy consists of, or its claims.
func (d *deployed) copies() []string {
	d.t.Helper()
	var out []string
	for _, rev := range []string{"default", "1-29-1"} {
		tag := mesh.PrivateTag("shop", "edge of "+rev)
		if _, err := d.dyn.Tracker().Get(gatewayKind(), "shop", tag); err == nil {
			out = append(out, "gateway "+tag)
		}
		if _, err := d.kube.Tracker().Get(corev1.SchemeGroupVersion.WithResource("configmaps"), "shop", tag); err == nil {
			out = append(out, "configmap "+tag)
		}
		if _, err := d.kube.Tracker().Get(admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), "", mesh.ClaimOf(tag, rev).Name); err == nil {
			out = append(out, "claim "+tag)
		}
	}
	return out
}

// S-25: a Gateway that came after the plan follows its namespace's label: to take that
// back would roll it. It is refused until the Gateway is gone; who goes step by step
// was told, and asked.
func TestS25_aNewcomerIsNotRolledBack(t *testing.T) {
	late := in("shop", custom("gateway.networking.k8s.io/v1", "Gateway", "late", nil, map[string]any{"gatewayClassName": "istio"}))
	w := newWorld(t, namespace(istioSystem), namespace("shop", mesh.RevLabel, "1-29-1"), crd("gateways", mesh.GatewayAPIGroup, "Gateway"), late,
		istiod("default", "1.27.0", 1), istiod("1-29-1", "1.29.1", 1), injector("default", "root"), injector("1-29-1", "root"), istiodService("default"))
	writer := cluster.WriterOf(w.Clients, istioSystem, nil, w.reader())
	before, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old, next := "default", "1-29-1"
	st := plan.Step{
		Number: 4, Kind: plan.MoveNamespace, Target: "shop", Namespace: "shop", From: old, To: next,
		Before: map[string]*string{mesh.RevLabel: &old}, After: map[string]*string{mesh.RevLabel: &next},
	}
	label := func() string {
		ns, err := w.kube.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ns.Labels[mesh.RevLabel]
	}
	err = writer.Revert(t.Context(), st, plan.Plan{}, before)
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(fmt.Sprint(err), "would lose requests: shop/late") || label() != next {
		t.Errorf("with the newcomer: %v, the label is %s", err, label())
	}
	if err := writer.Revert(t.Context(), st, plan.Plan{Request: plan.Request{Operation: &plan.Operation{}}}, before); err != nil || label() != old {
		t.Errorf("step by step: %v, the label is %s", err, label())
	}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	if err := w.Dynamic.Resource(gatewayKind()).Namespace("shop").Delete(t.Context(), "late", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Revert(t.Context(), st, plan.Plan{}, before); err != nil || label() != old {
		t.Errorf("once it is gone: %v, the label is %s", err, label())
	}
}

// S-27: a Gateway that serin has frozen for too long is warned of where people look,
// once for each freeze, whoever looks; one that is not overdue, or is not serin's, is not.
func TestS27_anOverdueFreezeIsWarnedOf(t *testing.T) {
	d := newDeployed(t, "prod")
	for _, tt := range []struct {
		by   string
		age  time.Duration
		want int
	}{
		{d.tag(), time.Hour, 0},
		{"by-hand", 5 * time.Hour, 0},
		{d.tag(), 5 * time.Hour, 1},
		{d.tag(), 5 * time.Hour, 1}, // another process looks
	} {
		g := d.gateway()
		g.SetAnnotations(map[string]string{mesh.VersionAnnotation: tt.by})
		at := metav1.NewTime(clock.Now().Add(-tt.age).Truncate(time.Hour))
		g.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: cluster.Manager, Time: &at}})
		if err := d.dyn.Tracker().Update(gatewayKind(), g, "shop"); err != nil {
			t.Fatal(err)
		}
		s, err := d.reader().Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.writer.Warn(t.Context(), s)
		events, err := d.kube.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(events.Items) != tt.want {
			t.Fatalf("frozen by %s for %s: %d events, want %d: %v", tt.by, tt.age, len(events.Items), tt.want, err)
		}
		for _, e := range events.Items {
			if e.Type != "Warning" || e.Reason != "FrozenTooLong" || e.InvolvedObject.UID != "of-edge" || e.InvolvedObject.Name != "edge" || !strings.Contains(e.Message, "serin repair") {
				t.Errorf("%+v", e)
			}
		}
	}
}
