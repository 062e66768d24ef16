package cluster_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// theirs are the labels that istioctl gives to a control plane's objects.
func theirs(rev string) map[string]string {
	return map[string]string{
		"operator.istio.io/managed": "Reconcile", "operator.istio.io/component": "Pilot", "istio.io/rev": rev, "app": "istiod",
		"install.operator.istio.io/owning-resource-namespace": istioSystem,
	}
}

func object(kind, api, name string, labels map[string]string) unstructured.Unstructured {
	o := unstructured.Unstructured{Object: map[string]any{"kind": kind, "apiVersion": api}}
	o.SetName(name)
	o.SetNamespace(istioSystem)
	o.SetLabels(labels)
	return o
}

// What comes from an IstioOperator is asked for with the old one's values, cleaned,
// or with the file as it is; nothing of it becomes a release. S-15, S-16.
func TestOperator_isWhatTheStepSays(t *testing.T) {
	kept := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "values"},
		Data:       map[string]string{"original-values": `{"meshConfig":{"accessLogFile":"/dev/stdout"},"global":{"hub":"docker.io/istio"}}`},
	}
	before := mesh.Snapshot{ControlPlanes: []mesh.ControlPlane{{Revision: "default", Ready: 3, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}}}
	st := plan.Step{Kind: plan.InstallRevision, From: "default", To: "1-29-1", Version: "1.29.1", Owner: mesh.OwnerIstioctl}
	for name, tc := range map[string]struct {
		request plan.Request
		path    []string
		want    any
	}{
		"values of the old one":          {path: []string{"spec", "values", "meshConfig", "accessLogFile"}, want: "/dev/stdout"},
		"its build's hub is not carried": {path: []string{"spec", "values", "global", "hub"}},
		"the file's revision is ours": {
			request: plan.Request{Operator: map[string]any{"spec": map[string]any{"revision": "other", "hub": "mirror"}}},
			path:    []string{"spec", "revision"}, want: "1-29-1",
		},
		"a file that asks for enough is left": {
			request: plan.Request{Operator: map[string]any{"spec": map[string]any{"values": map[string]any{"pilot": map[string]any{"autoscaleMin": 3.0}}}}},
			path:    []string{"spec", "values", "pilot", "autoscaleMin"}, want: 3.0,
		},
		"one that asks for fewer is not": {
			request: plan.Request{Operator: map[string]any{"spec": map[string]any{"values": map[string]any{"pilot": map[string]any{"autoscaleMin": 1.0}}}}},
			path:    []string{"spec", "values", "replicas"}, want: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, kept)
			h := newHelm(t, w)
			h.operator = func(string, string) []unstructured.Unstructured { return nil }
			if _, err := newWriter(w, h).Manifest(t.Context(), st, plan.Plan{Request: tc.request}, before, false); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedFieldNoCopy(h.documents[0], tc.path...)
			if got != tc.want || len(h.is) > 0 {
				t.Errorf("%v is %v, want %v; releases %v", tc.path, got, tc.want, h.is)
			}
		})
	}
}

// What would touch another revision is refused before anything is applied.
func TestOperator_refusesWhatIsNotTheRevisions(t *testing.T) {
	before := mesh.Snapshot{}
	st := plan.Step{Kind: plan.InstallRevision, To: "1-29-1", Version: "1.29.1", Owner: mesh.OwnerIstioctl}
	file := plan.Plan{Request: plan.Request{Operator: map[string]any{}}}
	tag := theirs("1-29-1")
	tag["istio.io/tag"] = "prod"
	elsewhere := object("Deployment", "apps/v1", "istiod-1-29-1", theirs("1-29-1"))
	elsewhere.SetNamespace("elsewhere")
	for name, o := range map[string]unstructured.Unstructured{
		"a tag": object("Service", "v1", "istiod-revision-tag-prod", tag), "another namespace": elsewhere,
	} {
		w := newWorld(t)
		h := newHelm(t, w)
		h.operator = func(string, string) []unstructured.Unstructured { return []unstructured.Unstructured{o} }
		if err := newWriter(w, h).Apply(t.Context(), st, file, before); err == nil {
			t.Errorf("%s is applied", name)
		}
	}
	w := newWorld(t)
	if err := newWriter(w, newHelm(t, w)).Apply(t.Context(), st, plan.Plan{}, before); err == nil {
		t.Error("without a file and without a revision to carry over from there is nothing to install")
	}
}

// A removed control plane of istioctl's leaves its objects in a Secret, and the
// way back reads them from there. S-16, S-50.
func TestOperator_whatIsRemovedIsKept(t *testing.T) {
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "istiod-old", Labels: theirs("old"), UID: "x", ResourceVersion: "7"},
	}
	w := newWorld(t, d)
	before := mesh.Snapshot{
		IstioNamespace: istioSystem,
		ControlPlanes:  []mesh.ControlPlane{{Revision: "old", Name: "istiod-old", Namespace: istioSystem, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}},
	}
	u := object("Deployment", "apps/v1", "istiod-old", theirs("old"))
	if _, err := w.Dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(istioSystem).Create(t.Context(), &u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wr := newWriter(w, newHelm(t, w))
	if err := wr.Apply(t.Context(), plan.Step{Kind: plan.RemoveRevision, From: "old"}, plan.Plan{}, before); err != nil {
		t.Fatal(err)
	}
	s, err := w.kube.CoreV1().Secrets(istioSystem).Get(t.Context(), "serin-kept-plane-old", metav1.GetOptions{})
	if err != nil || len(s.Data["objects"]) == 0 {
		t.Fatalf("kept: %v, %v", s, err)
	}
	if wr.Apply(t.Context(), plan.Step{Kind: plan.RemoveRevision, From: "old"}, plan.Plan{}, before) != nil {
		t.Error("a removal may be repeated")
	}
	if !slices.ContainsFunc(w.meta.Actions(), func(a clienttesting.Action) bool { return a.GetVerb() == "delete" }) {
		t.Error("nothing was deleted")
	}
}

// S-48: what istioctl made is made again only where it was removed, in part or whole;
// the objects that were kept may be of an earlier revision of the name.
func TestOperator_whatLivesIsNotMadeAgain(t *testing.T) {
	old := mesh.ControlPlane{Revision: "old", Name: "istiod-old", Namespace: istioSystem, Owner: mesh.Owner{Kind: mesh.OwnerIstioctl}}
	before := mesh.Snapshot{IstioNamespace: istioSystem, ControlPlanes: []mesh.ControlPlane{old}}
	st := plan.Step{Kind: plan.RemoveRevision, From: "old"}
	for name, tc := range map[string]struct {
		live  types.UID // none: it is gone
		marks map[string]string
		made  bool
	}{
		"it is gone":                           {marks: map[string]string{"serin.dev/kept-of": "first"}, made: true},
		"a removal was cut off":                {live: "first", marks: map[string]string{"serin.dev/kept-of": "first"}, made: true},
		"another has its name":                 {live: "second", marks: map[string]string{"serin.dev/kept-of": "first"}},
		"it was being made again":              {live: "second", marks: map[string]string{"serin.dev/kept-of": "first", "serin.dev/restoring": "true"}, made: true},
		"an earlier serin did not say of whom": {live: "second", made: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.live != "" {
				d := istiod("old", "1.28.0", 1)
				d.UID = tc.live
				for _, o := range []runtime.Object{d, injector("old", "root")} {
					if err := w.kube.Tracker().Add(o); err != nil {
						t.Fatal(err)
					}
				}
			}
			var data bytes.Buffer
			z := gzip.NewWriter(&data)
			if _, err := z.Write([]byte(`[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"istio-old","namespace":"istio-system"}}]`)); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			kept := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "serin-kept-plane-old", Annotations: tc.marks}, Data: map[string][]byte{"objects": data.Bytes()},
			}
			if err := w.kube.Tracker().Add(kept); err != nil {
				t.Fatal(err)
			}
			made, said := 0, false
			fake, ok := w.Dynamic.(*dynamicfake.FakeDynamicClient)
			if !ok {
				t.Fatal("no fake")
			}
			fake.PrependReactor("patch", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				s, err := w.kube.Tracker().Get(corev1.SchemeGroupVersion.WithResource("secrets"), istioSystem, "serin-kept-plane-old")
				if err != nil {
					return true, nil, err
				}
				o, ok := s.(*corev1.Secret)
				made, said = made+1, ok && o.Annotations["serin.dev/restoring"] != ""
				return true, nil, errors.New("the API server went away")
			})
			err := newWriter(w, newHelm(t, w)).Revert(t.Context(), st, plan.Plan{}, before)
			if (made > 0) != tc.made || said != tc.made || tc.made && !strings.Contains(err.Error(), "went away") {
				t.Errorf("made %d, said before %v, %v", made, said, err)
			}
		})
	}
}
