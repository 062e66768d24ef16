package cluster_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func pinStep() plan.Step {
	return plan.Step{Number: 1, Kind: plan.PinDefault, Tag: "default", From: "default", To: "default", Version: "1.27.0"}
}

// writes lists what was written, as "create mutatingwebhookconfigurations/name".
func writes(w *world) []string {
	var out []string
	for _, a := range w.kube.Actions() {
		what := a.GetVerb() + " " + a.GetResource().Resource + "/"
		switch a := a.(type) {
		case clienttesting.CreateActionImpl:
			if o, ok := a.Object.(metav1.Object); ok {
				out = append(out, what+o.GetName())
			}
		case clienttesting.UpdateActionImpl:
			if o, ok := a.Object.(metav1.Object); ok {
				out = append(out, what+o.GetName())
			}
		case clienttesting.PatchActionImpl:
			out = append(out, what+a.Name)
		case clienttesting.DeleteActionImpl:
			out = append(out, what+a.Name)
		}
	}
	return out
}

func observed(t *testing.T, w *world) mesh.Snapshot {
	t.Helper()
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPinWritesTheTagBeforeItSwitchesTheInjectorOff(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	w.kube.ClearActions()
	if err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	want := []string{"create mutatingwebhookconfigurations/istio-revision-tag-default", "update mutatingwebhookconfigurations/istio-sidecar-injector"}
	if d := cmp.Diff(want, writes(w)); d != "" {
		t.Error("-want +got", d)
	}
	tag, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), "istio-revision-tag-default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"app": "sidecar-injector", mesh.RevLabel: "default", mesh.TagLabel: "default"}, tag.Labels); d != "" {
		t.Error("the tag is nobody's release: -want +got", d)
	}
	if d := cmp.Diff(injector("default", "root").Webhooks, tag.Webhooks); d != "" {
		t.Error("its entries are the injector's: -want +got", d)
	}
	w.kube.ClearActions()
	if err := writer.Revert(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"update mutatingwebhookconfigurations/istio-sidecar-injector", "delete mutatingwebhookconfigurations/istio-revision-tag-default",
		"delete services/istiod-revision-tag-default",
	}
	if d := cmp.Diff(want, writes(w)); d != "" {
		t.Error("-want +got", d)
	}
}

func TestPinAfterTheTagWasLost(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	if err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	pinned := observed(t, w)
	if err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), "istio-revision-tag-default", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(pinned, observed(t, w)); d != "" {
		t.Error(d)
	}
}

func TestUnpinRefusesWhileTheTagIsElsewhere(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	if err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	api := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	tag, err := api.Get(t.Context(), "istio-revision-tag-default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tag.Labels[mesh.RevLabel] = "1-29-1"
	if _, err := api.Update(t.Context(), tag, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Revert(t.Context(), pinStep(), plan.Plan{}, before); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("got %v: two revisions would inject", err)
	}
}

// TestPinWaitsForTheBundle: the bundle comes while the deed waits, as istiod brings it.
func TestPinWaitsForTheBundle(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	gvr := admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")
	old := injector("default", "")
	if err := w.kube.Tracker().Update(gvr, old, ""); err != nil {
		t.Fatal(err)
	}
	watched := 0
	w.kube.PrependWatchReactor("mutatingwebhookconfigurations", func(a clienttesting.Action) (bool, watch.Interface, error) {
		watched++
		c, err := w.kube.Tracker().Watch(a.GetResource(), "")
		if err != nil {
			return true, nil, err
		}
		o, err := w.kube.Tracker().Get(gvr, "", "istio-revision-tag-default")
		if err != nil {
			return true, nil, err
		}
		tag, ok := o.(*admissionv1.MutatingWebhookConfiguration)
		if !ok {
			return false, nil, nil
		}
		tag = tag.DeepCopy()
		for i := range tag.Webhooks {
			tag.Webhooks[i].ClientConfig.CABundle = []byte("root")
		}
		return true, c, w.kube.Tracker().Update(gvr, tag, "")
	})
	if err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	if watched == 0 {
		t.Error("it did not wait")
	}
}

func TestWaitingSaysWhatItSawWhenItEnds(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	if err := w.kube.Tracker().Update(admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), injector("default", ""), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.kube.PrependWatchReactor("mutatingwebhookconfigurations", func(clienttesting.Action) (bool, watch.Interface, error) {
		cancel()
		return false, nil, nil
	})
	err := writer.Apply(ctx, pinStep(), plan.Plan{}, before)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "CA bundle of injector istio-revision-tag-default") {
		t.Errorf("got %v", err)
	}
	if s := observed(t, w); s.Injectors[1].IsOff() {
		t.Error("the injector was switched off before the tag could inject")
	}
}

func TestMoveTagRefusesWhatBelongsToARelease(t *testing.T) {
	w, h, writer := shop(t)
	in := injector("default", "root")
	in.Name, in.Labels[mesh.TagLabel] = "istio-revision-tag-prod", "prod"
	h.holds["istiod"] = []mesh.Object{{Kind: "MutatingWebhookConfiguration", Name: in.Name, Note: "prod"}}
	if _, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), in, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	st := plan.Step{Kind: plan.MoveTag, Tag: "prod", From: "default", To: "default", Version: "1.27.0"}
	err := writer.Apply(t.Context(), st, plan.Plan{}, observed(t, w))
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "istio-system/istiod") {
		t.Errorf("got %v", err)
	}
	// The marks alone mean nothing: istioctl copies them onto its tags (R§2.2).
	h.holds["istiod"] = nil
	if err := writer.Apply(t.Context(), st, plan.Plan{}, observed(t, w)); err != nil {
		t.Error(err)
	}
}

// TestMoveTagInPlace moves the default of a mesh without a base release: the
// validator takes the new istiod's address and keeps its policy.
func TestMoveTagInPlace(t *testing.T) {
	w, _, writer := shop(t)
	p, before := planned(t, w)
	apply(t, writer, p, before, p.Steps[:3])
	api := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	v := defaultValidator("default")
	v.Annotations, v.Labels = nil, map[string]string{mesh.RevLabel: "default", mesh.TagLabel: "default"}
	if _, err := api.Update(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	st := plan.Step{Kind: plan.MoveTag, Tag: "default", From: "default", To: "1-29-1", Version: "1.29.1"}
	if err := writer.Apply(t.Context(), st, p, before); err != nil {
		t.Fatal(err)
	}
	moved, err := api.Get(t.Context(), mesh.DefaultValidator, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if h := moved.Webhooks[0]; h.ClientConfig.Service.Name != "istiod-1-29-1" || *h.FailurePolicy != admissionv1.Fail || moved.Labels[mesh.RevLabel] != "1-29-1" {
		t.Errorf("got %+v", h)
	}
	svc := w.Kube.CoreV1().Services(istioSystem)
	if s, err := svc.Get(t.Context(), "istiod-revision-tag-default", metav1.GetOptions{}); err != nil || s.Spec.Ports[1].NodePort != 0 {
		t.Errorf("got %v, %v", s, err)
	}
	if err := writer.Revert(t.Context(), st, p, before); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Get(t.Context(), "istiod-revision-tag-default", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("1.27 has no Service for a tag, got %v", err)
	}
}

// TestMoveTagBackFromIstioctl is R§2.4's trap set right: "istioctl install" has led the
// validator away from what its release says, which then has nothing to upgrade.
func TestMoveTagBackFromIstioctl(t *testing.T) {
	w, h, writer := shop(t)
	p, before := planned(t, w)
	apply(t, writer, p, before, p.Steps[:3])
	api := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	v, err := api.Get(t.Context(), mesh.DefaultValidator, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.Labels[mesh.RevLabel], v.Webhooks[0].ClientConfig.Service.Name = "1-29-1", "istiod-1-29-1"
	if _, err := api.Update(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	base := h.is["istio-base"]
	base.Values = map[string]any{"defaultRevision": "default"}
	h.put(base)
	st := plan.Step{Kind: plan.MoveTag, Tag: "default", From: "1-29-1", To: "default", Version: "1.27.0"}
	if err := writer.Apply(t.Context(), st, p, before); err != nil {
		t.Fatal(err)
	}
	moved, err := api.Get(t.Context(), mesh.DefaultValidator, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c := moved.Webhooks[0].ClientConfig; c.Service.Name != "istiod" || moved.Labels[mesh.RevLabel] != "default" {
		t.Errorf("it still calls %s of %s", c.Service.Name, moved.Labels[mesh.RevLabel])
	}
}

func TestLabelsChangeInOnePatch(t *testing.T) {
	w, _, writer := shop(t)
	before := observed(t, w)
	rev, enabled := "1-29-1", "enabled"
	st := plan.Step{
		Kind: plan.MoveNamespace, Namespace: "shop",
		Before: map[string]*string{mesh.InjectionLabel: &enabled, mesh.RevLabel: nil}, After: map[string]*string{mesh.InjectionLabel: nil, mesh.RevLabel: &rev},
	}
	w.kube.ClearActions()
	if err := writer.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	a, ok := w.kube.Actions()[0].(clienttesting.PatchActionImpl)
	if !ok || len(w.kube.Actions()) != 1 {
		t.Fatalf("got %v", w.kube.Actions())
	}
	if got, want := string(a.Patch), `{"metadata":{"labels":{"istio-injection":null,"istio.io/rev":"1-29-1"}}}`; got != want {
		t.Errorf("got %s", got)
	}
	if a.PatchOptions.FieldManager != "serin" {
		t.Errorf("the labels belong to %q", a.PatchOptions.FieldManager)
	}
}

func TestFieldsAreHandedBack(t *testing.T) {
	shopNS := namespace("shop", mesh.InjectionLabel, "enabled")
	shopNS.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Update"}, {Manager: "serin", Operation: "Update"}}
	w := newWorld(t, shopNS)
	writer := newWriter(w, newHelm(t, w))
	enabled := "enabled"
	st := plan.Step{Kind: plan.RestoreLabels, Namespace: "shop", After: map[string]*string{mesh.InjectionLabel: &enabled, mesh.RevLabel: nil}}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	o, err := w.Metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.ManagedFields) != 1 || o.ManagedFields[0].Manager != "kubectl" {
		t.Errorf("got %v", o.ManagedFields)
	}
}

func removeStep() plan.Step {
	return plan.Step{Number: 9, Kind: plan.RemoveRevision, From: "default", To: "1-29-1"}
}

func TestRemoveRefusesWhatIsStillNeeded(t *testing.T) {
	w, h, writer := shop(t)
	err := writer.Apply(t.Context(), removeStep(), plan.Plan{}, observed(t, w))
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "shop") {
		t.Errorf("got %v", err)
	}
	if slices.ContainsFunc(h.calls, func(c string) bool { return strings.HasPrefix(c, "uninstall") }) {
		t.Errorf("Helm did %v", h.calls)
	}
}

// upgraded is a mesh at the end of a plan, but for the removal.
func upgraded(t *testing.T) (*helmFake, *cluster.Writer, mesh.Snapshot) {
	t.Helper()
	w, h, writer := shop(t)
	p, before := planned(t, w)
	apply(t, writer, p, before, moves(p))
	w.kube.ClearActions()
	return h, writer, before
}

func TestRemoveTakesTheWebhooksFirstAndNothingElse(t *testing.T) {
	h, writer, before := upgraded(t)
	w := h.w
	lease := "istio-gateway-deployment-default"
	h.fail["uninstall istiod"] = errors.New("the API server went away")
	if err := writer.Apply(t.Context(), removeStep(), plan.Plan{}, before); err == nil {
		t.Fatal("it went on")
	}
	want := []string{
		"delete mutatingwebhookconfigurations/istio-sidecar-injector", "delete validatingwebhookconfigurations/istio-validator-istio-system",
	}
	if d := cmp.Diff(want, writes(w)); d != "" {
		t.Error("-want +got", d)
	}
	delete(h.fail, "uninstall istiod")
	for range 2 {
		if err := writer.Apply(t.Context(), removeStep(), plan.Plan{}, before); err != nil {
			t.Fatal(err)
		}
	}
	s := observed(t, w)
	if len(s.ControlPlanes) != 1 || len(s.Injectors) != 2 || len(s.Validators) != 2 || len(s.Orphans()) > 0 {
		t.Errorf("got %+v, orphans %v", s.ControlPlanes, s.Orphans())
	}
	if !slices.Contains(writes(w), "delete leases/"+lease) {
		t.Error("the revision's lock is left")
	}
}

func TestRemoveRefusesAReleaseThatHoldsMore(t *testing.T) {
	for name, o := range map[string]mesh.Object{
		"a tag":     {Kind: "MutatingWebhookConfiguration", Name: "istio-revision-tag-prod", Note: "prod"},
		"a gateway": {Kind: "Deployment", Namespace: istioSystem, Name: "istio-ingressgateway"},
		"the CRDs":  {Kind: "CustomResourceDefinition", Name: "gateways.networking.istio.io"},
	} {
		t.Run(name, func(t *testing.T) {
			h, writer, before := upgraded(t)
			w := h.w
			h.holds["istiod"] = []mesh.Object{{Kind: "Deployment", Namespace: istioSystem, Name: "istiod"}, o}
			err := writer.Apply(t.Context(), removeStep(), plan.Plan{}, before)
			if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), o.Name) {
				t.Errorf("got %v", err)
			}
			if len(writes(w)) > 0 {
				t.Errorf("it wrote %v", writes(w))
			}
		})
	}
}

func TestUpgradeBaseAdoptsDefinitionsThatNobodyOwns(t *testing.T) {
	w := newWorld(t, crd("virtualservices", "networking.istio.io", "VirtualService"))
	h := newHelm(t, w, mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.23.0", Status: "deployed"})
	h.fail["upgrade istio-base 1.29.1"] = errors.New("enough seen")
	before := mesh.Snapshot{Releases: []mesh.Release{{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.23.0"}}}
	err := newWriter(w, h).Apply(t.Context(), plan.Step{Kind: plan.UpgradeBase, Version: "1.29.1"}, plan.Plan{}, before)
	if err == nil || !strings.Contains(err.Error(), "enough seen") {
		t.Fatal(err)
	}
	gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	o, err := w.Metadata.Resource(gvr).Get(t.Context(), "virtualservices.networking.istio.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if o.Labels["app.kubernetes.io/managed-by"] != "Helm" || o.Annotations["meta.helm.sh/release-name"] != "istio-base" || o.Annotations["meta.helm.sh/release-namespace"] != istioSystem {
		t.Errorf("got %v %v", o.Labels, o.Annotations)
	}
}

func TestInstallTakesTheValuesOfWhatHelmDoesNotOwn(t *testing.T) {
	w := newWorld(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "values"}, Data: map[string]string{"original-values": `{"meshConfig":{"accessLogFile":"/dev/stdout"}}`},
	})
	h := newHelm(t, w)
	before := mesh.Snapshot{ControlPlanes: []mesh.ControlPlane{{Revision: "default", Ready: 3, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}}}
	st := plan.Step{Kind: plan.InstallRevision, From: "default", To: "1-29-1", Version: "1.29.1"}
	if err := newWriter(w, h).Apply(t.Context(), st, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"meshConfig": map[string]any{"accessLogFile": "/dev/stdout"}, "revision": "1-29-1", "replicas": 3}
	if d := cmp.Diff(want, h.is["istiod-1-29-1"].Values); d != "" {
		t.Error("-want +got", d)
	}
}

func TestUninstallLeavesWhatWasThere(t *testing.T) {
	w, h, writer := shop(t)
	before := observed(t, w)
	st := plan.Step{Kind: plan.InstallRevision, From: "x", To: "default", Version: "1.27.0"}
	if err := writer.Revert(t.Context(), st, plan.Plan{}, before); err != nil || h.did("uninstall istiod") {
		t.Errorf("got %v, Helm did %v", err, h.calls)
	}
}

// TestEachWriteNeedsItsPermission: whichever request is refused, the error names it.
func TestEachWriteNeedsItsPermission(t *testing.T) {
	for verb, resource := range map[string]string{"create": "mutatingwebhookconfigurations", "list": "mutatingwebhookconfigurations"} {
		w, _, writer := shop(t)
		before := observed(t, w)
		w.kube.PrependReactor(verb, resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", errors.New("no"))
		})
		err := writer.Apply(t.Context(), pinStep(), plan.Plan{}, before)
		if err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the user needs verb "+verb+" on "+resource) {
			t.Errorf("got %v", err)
		}
	}
}

// A tag of the user's that had no Service has none again after an undo, though
// tags of its revision's version come with one (S-51).
func TestMoveTagBackLeavesNoServiceThatWasNotThere(t *testing.T) {
	in := injector("prod", "root")
	in.ObjectMeta = metav1.ObjectMeta{
		Name:   mesh.TagInjector("prod", "old", istioSystem).Name,
		Labels: map[string]string{"app": "sidecar-injector", mesh.RevLabel: "old", mesh.TagLabel: "prod"},
	}
	for i := range in.Webhooks {
		in.Webhooks[i].ClientConfig.Service.Name = "istiod-old"
	}
	w := newWorld(t,
		namespace(istioSystem), in,
		istiod("old", "1.28.0", 1), injector("old", "root"), istiodService("old"),
		istiod("new", "1.29.1", 1), injector("new", "root"), istiodService("new"),
	)
	writer, before := newWriter(w, newHelm(t, w)), observed(t, w)
	st := plan.Step{Kind: plan.MoveTag, Tag: "prod", From: "old", To: "new", Version: "1.29.1"}
	if err := writer.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	if s := observed(t, w); len(s.TagServices) != 1 || s.TagServices[0].Revision != "new" {
		t.Errorf("got %+v", s.TagServices)
	}
	if err := writer.Revert(t.Context(), st, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	if d := before.Differences(observed(t, w)); len(d) > 0 {
		t.Error(strings.Join(d, "\n"))
	}
}

// revising has the new revision made by an upgrade's install, or brought back from
// what was kept of it, and gives the step that is taken back.
func revising(t *testing.T, kind plan.Kind) (*helmFake, plan.Step, mesh.Snapshot) {
	t.Helper()
	if kind == plan.InstallRevision {
		w, h, writer := shop(t)
		p, before := planned(t, w)
		apply(t, writer, p, before, p.Steps[:3])
		return h, p.Steps[2], before
	}
	w, h, writer := beside(t)
	was := observed(t, w)
	plane, _ := was.ControlPlane("1-29-1")
	release, _ := was.Release(plane.Owner)
	carry(t, w, writer, plan.Request{Operation: &plan.Operation{Verb: plan.Uninstall, Revision: "1-29-1"}})
	p, before := carry(t, w, writer, plan.Request{Operation: &plan.Operation{
		Verb: plan.Install, Chart: "istiod", Revision: "1-29-1", FromRun: "r", Kept: &plan.Kept{Plane: plane, Release: &release},
	}})
	return h, p.Steps[0], before
}

// S-54, S-48: the way back does not take a revision from under what has come to it
// meanwhile, by whoever's hand: neither an upgrade's, nor an operation's.
func TestS54_aRevisionThatIsReliedOnIsNotTakenBack(t *testing.T) {
	labelled := func(name string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			t.Helper()
			put(t, w, "namespaces", namespace(name, mesh.RevLabel, "1-29-1"))
		}
	}
	for name, tt := range map[string]struct {
		meanwhile func(*testing.T, *world)
		before    func(*mesh.Snapshot)
		paces     *cluster.Paces
		want      string // of the refusal; none: it is taken away
	}{
		"nothing": {meanwhile: func(*testing.T, *world) {}},
		"a pod of an OnDelete StatefulSet that was deleted by hand": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			alter(t, w, corev1.SchemeGroupVersion.WithResource("pods"), types.NamespacedName{Namespace: "shop", Name: "db-0"}, func(p *corev1.Pod) { p.Annotations[mesh.RevLabel] = "1-29-1" })
		}, want: "pod shop/db-0: its proxy is connected to it"},
		"a namespace labelled meanwhile": {meanwhile: labelled("till"), want: "namespace till: its labels lead to it"},
		"a label that named it before": {meanwhile: labelled("early"), before: func(s *mesh.Snapshot) {
			s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: "early", Labels: map[string]string{mesh.RevLabel: "1-29-1"}})
		}},
		"a pod of a namespace whose label named it before": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			labelled("early")(t, w)
			p := pod("soon", "1-29-1", "1.29.1", nil)
			p.Namespace = "early"
			put(t, w, "pods", p)
		}, before: func(s *mesh.Snapshot) {
			s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: "early", Labels: map[string]string{mesh.RevLabel: "1-29-1"}})
		}, want: "pod early/soon"},
		"a tag set on it": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			put(t, w, "mutatingwebhookconfigurations", tagged("prod", "1-29-1"))
		}, want: "tag prod: its injector"},
		"a tag of its own release": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			put(t, w, "mutatingwebhookconfigurations", tagged("prod", "1-29-1"))
			alter(t, w, corev1.SchemeGroupVersion.WithResource("secrets"), types.NamespacedName{Namespace: istioSystem, Name: "sh.helm.release.v1.istiod-1-29-1.v1"}, func(s *corev1.Secret) {
				s.Data = helmSecret(t, mesh.Release{
					Namespace: istioSystem, Name: "istiod-1-29-1", Chart: "istiod", Version: "1.29.1", Status: "deployed",
					Values: map[string]any{"revision": "1-29-1", "revisionTags": []any{"prod"}},
				}, 1).Data
			})
		}},
		"a pod that leaves is waited for": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			now := metav1.Now()
			alter(t, w, corev1.SchemeGroupVersion.WithResource("pods"), types.NamespacedName{Namespace: "shop", Name: "db-0"}, func(p *corev1.Pod) {
				p.Annotations[mesh.RevLabel], p.DeletionTimestamp = "1-29-1", &now
			})
			goesOnceWatched(w, "db-0")
		}},
		"one of a gateway that was just uninstalled too": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			put(t, w, "pods", pod("gw-1-a", "1-29-1", "1.29.1", controller("ReplicaSet", "apps/v1", "gw-1")))
			goesOnceWatched(w, "gw-1-a")
		}},
		"but not for ever": {meanwhile: func(t *testing.T, w *world) {
			t.Helper()
			put(t, w, "pods", pod("gw-1-a", "1-29-1", "1.29.1", controller("ReplicaSet", "apps/v1", "gw-1")))
		}, paces: &cluster.Paces{Collect: 20 * time.Millisecond}, want: "pod shop/gw-1-a"},
	} {
		for _, kind := range []plan.Kind{plan.InstallRevision, plan.RestoreRevision} {
			t.Run(name+", "+string(kind), func(t *testing.T) {
				h, st, before := revising(t, kind)
				w, writer := h.w, newWriter(h.w, h)
				tt.meanwhile(t, w)
				if tt.paces != nil {
					writer.SetPaces(*tt.paces)
				}
				if tt.before != nil {
					tt.before(&before)
				}
				w.kube.ClearActions()
				h.calls = nil
				err := writer.Revert(t.Context(), st, plan.Plan{}, before)
				if tt.want == "" {
					if err != nil || !h.did("uninstall istiod-1-29-1") {
						t.Errorf("got %v, Helm did %v", err, h.calls)
					}
					return
				}
				if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "serin rollback goes on") {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if len(writes(w)) > 0 || len(h.calls) > 0 {
					t.Errorf("it wrote %v, Helm did %v", writes(w), h.calls)
				}
			})
		}
	}
}

// What is made before the revision by the run itself, and goes after it, does not keep
// it: a base release whose validator calls it.
func TestS54_aRevisionGoesBeforeTheBaseThatNamesIt(t *testing.T) {
	w, h, writer := shop(t)
	before := mesh.Snapshot{IstioNamespace: istioSystem}
	base := mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.27.0", Values: map[string]any{"defaultRevision": "1-29-1"}}
	p := plan.Plan{Steps: []plan.Step{
		{Number: 1, Kind: plan.InstallChart, Version: "1.27.0", Release: &base},
		{Number: 2, Kind: plan.InstallRevision, To: "1-29-1", Version: "1.29.1"},
	}}
	whole, at := planned(t, w)
	apply(t, writer, whole, at, whole.Steps[:3])
	h.put(base)
	if err := writer.Revert(t.Context(), p.Steps[1], p, before); err != nil || !h.did("uninstall istiod-1-29-1") {
		t.Errorf("got %v, Helm did %v", err, h.calls)
	}
}

// tagged is the injector of a tag, as istioctl makes it: with the marks of the revision's own.
func tagged(tag, rev string) *admissionv1.MutatingWebhookConfiguration {
	in := injector(rev, "root")
	in.Name, in.Labels[mesh.TagLabel] = mesh.TagInjector(tag, rev, istioSystem).Name, tag
	return in
}

// put makes an object behind everybody's back.
func put(t *testing.T, w *world, resource string, o runtime.Object) {
	t.Helper()
	acc, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	gvr := corev1.SchemeGroupVersion.WithResource(resource)
	if resource == "mutatingwebhookconfigurations" {
		gvr = admissionv1.SchemeGroupVersion.WithResource(resource)
	}
	if err := w.kube.Tracker().Create(gvr, o, acc.GetNamespace()); err != nil {
		t.Fatal(err)
	}
	if err := w.meta.Tracker().Create(gvr, metadataOf(t, o), acc.GetNamespace()); err != nil {
		t.Fatal(err)
	}
}

// goesOnceWatched lets a pod of the shop go as soon as somebody waits for that.
func goesOnceWatched(w *world, pod string) {
	w.kube.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, watch.Interface, error) {
		c, err := w.kube.Tracker().Watch(a.GetResource(), a.GetNamespace())
		if err == nil && a.GetNamespace() == "shop" {
			err = ignoreMissing(w.kube.Tracker().Delete(a.GetResource(), "shop", pod))
		}
		return true, c, err
	})
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
