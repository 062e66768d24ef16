package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-mesh/serin/internal/mesh"
)

// helmFake does what Helm would do with Istio's charts: it keeps records and makes,
// changes and removes what they hold.
type helmFake struct {
	ungated bool // InstallHeld makes a Deployment without the gate
	t       *testing.T
	w       *world
	mu      sync.Mutex
	is      map[string]mesh.Release
	holds   map[string][]mesh.Object
	fail    map[string]error // by call: "upgrade istio-base"
	calls   []string
	kept    map[string]mesh.Release

	documents []map[string]any // that were asked for as IstioOperators
	operator  func(version, component string) []unstructured.Unstructured
}

func newHelm(t *testing.T, w *world, rels ...mesh.Release) *helmFake {
	t.Helper()
	h := &helmFake{t: t, w: w, is: map[string]mesh.Release{}, holds: map[string][]mesh.Object{}, fail: map[string]error{}, kept: map[string]mesh.Release{}}
	for _, r := range rels {
		h.put(r)
	}
	return h
}

func (h *helmFake) call(what, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, what+" "+name)
	return h.fail[what+" "+name]
}

// put stores a record where Helm does, so that a Reader sees it.
func (h *helmFake) put(r mesh.Release) {
	h.t.Helper()
	h.drop(r.Namespace, r.Name)
	r.Status = "deployed"
	h.is[r.Name] = r
	s := helmSecret(h.t, r, 1)
	secrets := metav1.SchemeGroupVersion.WithResource("secrets")
	secrets.Group, secrets.Version = "", "v1"
	if err := h.w.kube.Tracker().Create(secrets, s, s.Namespace); err != nil {
		h.t.Fatal(err)
	}
	if err := h.w.meta.Tracker().Create(secrets, metadataOf(h.t, s), s.Namespace); err != nil {
		h.t.Fatal(err)
	}
}

func (h *helmFake) drop(ns, name string) {
	delete(h.is, name)
	secrets := corev1.SchemeGroupVersion.WithResource("secrets")
	_ = h.w.kube.Tracker().Delete(secrets, ns, "sh.helm.release.v1."+name+".v1")
	_ = h.w.meta.Tracker().Delete(secrets, ns, "sh.helm.release.v1."+name+".v1")
}

func (h *helmFake) Get(_ context.Context, _, name string) (mesh.Release, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.is[name]
	r.Values = maps.Clone(r.Values)
	return r, ok, nil
}

func (h *helmFake) Install(ctx context.Context, want mesh.Release, like string) error {
	if err := h.call("install", want.Name+" like "+like); err != nil {
		return err
	}
	if _, ok := h.is[want.Name]; ok {
		return nil
	}
	h.put(want)
	if want.Chart != "istiod" { // of the others only the record matters here
		return nil
	}
	rev := fmt.Sprint(want.Values["revision"])
	k := h.w.Kube
	for _, err := range []error{
		second(k.AppsV1().Deployments(istioSystem).Create(ctx, istiod(rev, want.Version, 2), metav1.CreateOptions{})),
		second(k.CoreV1().Services(istioSystem).Create(ctx, istiodService(rev), metav1.CreateOptions{})),
		second(k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, injector(rev, "root"), metav1.CreateOptions{})),
		second(k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, ownValidator(rev), metav1.CreateOptions{})),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// InstallHeld makes the gateway's Deployment as the chart would, with its gate.
func (h *helmFake) InstallHeld(ctx context.Context, want mesh.Release, like string) error {
	if err := h.call("install held", want.Name+" like "+like); err != nil {
		return err
	}
	if h.ungated { // the test has made it
		return nil
	}
	d := deployment(want.Namespace, want.Name, 1, "istio-proxy", "auto")
	d.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: mesh.ProvenGate}}
	_, err := h.w.kube.AppsV1().Deployments(want.Namespace).Create(ctx, d, metav1.CreateOptions{})
	return err
}

func (h *helmFake) Upgrade(ctx context.Context, want mesh.Release, _ ...mesh.Release) error {
	if err := h.call("upgrade", want.Name+" "+want.Version); err != nil {
		return err
	}
	if was, ok := h.is[want.Name]; ok && was.Version == want.Version && reflect.DeepEqual(was.Values, want.Values) {
		return nil // deployed as asked: the objects are not looked at
	}
	h.put(want)
	if want.Chart != "base" {
		return nil
	}
	rev, _ := want.Values["defaultRevision"].(string)
	if rev == "" {
		rev = mesh.DefaultRevision
	}
	api := h.w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	v, err := api.Get(ctx, mesh.DefaultValidator, metav1.GetOptions{})
	if err != nil {
		return err
	}
	v.Labels[mesh.RevLabel], v.Webhooks[0].ClientConfig.Service.Name = rev, mesh.IstiodName(rev)
	return second(api.Update(ctx, v, metav1.UpdateOptions{}))
}

func (h *helmFake) UpgradeResting(ctx context.Context, want mesh.Release, earlier ...mesh.Release) error {
	return h.Upgrade(ctx, want, earlier...)
}

func (h *helmFake) Forget(_ context.Context, want mesh.Release) error {
	return h.call("forget", want.Name+" "+want.Version)
}

func (h *helmFake) Uninstall(ctx context.Context, ns, name string) error {
	if err := h.call("uninstall", name); err != nil {
		return err
	}
	if _, ok := h.is[name]; !ok {
		return nil
	}
	chart := h.is[name].Chart
	h.drop(ns, name)
	if chart != "istiod" {
		return nil
	}
	if err := h.w.Kube.AppsV1().Deployments(ns).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return h.w.Kube.CoreV1().Services(ns).Delete(ctx, name, metav1.DeleteOptions{})
}

func (h *helmFake) Keep(_ context.Context, _, name string) error {
	if r, ok := h.is[name]; ok {
		h.kept[name] = r
	}
	return h.call("keep", name)
}

// Restore brings back what the chart renders, the injector named off switched off.
func (h *helmFake) Restore(ctx context.Context, _, name, off string) error {
	r, ok := h.kept[name]
	if err := h.call("restore", name); err != nil || !ok {
		return err
	}
	delete(h.kept, name)
	h.put(r)
	if r.Chart != "istiod" {
		return nil
	}
	rev, _ := r.Values["revision"].(string)
	if rev == "" {
		rev = mesh.DefaultRevision
	}
	in := injector(rev, "root")
	if in.Name == off {
		for i := range in.Webhooks {
			never := &metav1.LabelSelector{MatchLabels: map[string]string{mesh.Deactivated: "never-match"}}
			in.Webhooks[i].NamespaceSelector, in.Webhooks[i].ObjectSelector = never, never
		}
	}
	k := h.w.Kube
	return errors.Join(
		second(k.AppsV1().Deployments(istioSystem).Create(ctx, istiod(rev, r.Version, 1), metav1.CreateOptions{})),
		second(k.CoreV1().Services(istioSystem).Create(ctx, istiodService(rev), metav1.CreateOptions{})),
		second(k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, in, metav1.CreateOptions{})),
		second(k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, ownValidator(rev), metav1.CreateOptions{})),
	)
}

func (h *helmFake) Objects(_ context.Context, _, name string) ([]mesh.Object, error) {
	return h.holds[name], nil
}

func (h *helmFake) CRDs(context.Context, mesh.Release) ([]string, error) {
	return []string{"virtualservices.networking.istio.io"}, nil
}

func (h *helmFake) Manifest(_ context.Context, want mesh.Release, server bool) ([]byte, error) {
	return fmt.Appendf(nil, "# %s %s server=%v\n", want.Name, want.Version, server), h.call("manifest", want.Name)
}

func (h *helmFake) Operator(_ context.Context, document map[string]any, version, component string) ([]unstructured.Unstructured, error) {
	h.documents = append(h.documents, document)
	if h.operator == nil {
		return nil, errors.New("nothing to render")
	}
	return h.operator(version, component), nil
}

func (h *helmFake) RevisionValues(old, over map[string]any, revision string, replicas int) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, over)
	out["revision"], out["replicas"] = revision, replicas
	return out
}

func (h *helmFake) did(what string) bool { return slices.Contains(h.calls, what) }

func (h *helmFake) Kept(_ context.Context, _, name, _ string) (mesh.Release, []unstructured.Unstructured, error) {
	r := h.kept[name]
	r.Values = nil
	return r, nil, nil
}
