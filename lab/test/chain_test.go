package test_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// bystander is the revision, its tag and the namespace that an upgrade of another
// revision has no business with.
const bystander = "stable"

// One mesh goes from 1.26.0 to 1.27.0 and on to 1.29.1, the second time from
// serin's own end state, while a third revision serves a namespace of its own:
// what belongs to that one is equal afterwards, byte for byte. S-7, S-12, S-53.
func TestChain_twoUpgradesPastABystander(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.26.0", "1.27.0", "1.29.1")
	w.installBystander("1.26.0")
	labels, aside := w.namespaceLabels("default"), w.aside()
	for _, to := range []string{"1.27.0", "1.29.1"} {
		from := w.revisionOf("default/productpage-v1")
		w.run(0, "apply", w.plan(to, "--from", from), "--approve")
		if lost := w.tally(); lost > 0 {
			t.Errorf("to %s: %d requests lost", to, lost)
		}
		if d := cmp.Diff(labels, w.namespaceLabels("default")); d != "" {
			t.Errorf("to %s: S-7: the labels are not as they began: %s", to, d)
		}
		if d := cmp.Diff(aside, w.aside()); d != "" {
			t.Errorf("to %s: the bystander was touched (-before +after):\n%s", to, d)
		}
		w.allOn(to)
	}
	// back to what the first upgrade left, of which serin is the author
	w.run(5, "rollback")
	w.lost()
	w.allOn("1.27.0")
	if d := cmp.Diff(aside, w.aside()); d != "" {
		t.Errorf("back: the bystander was touched (-before +after):\n%s", d)
	}
}

// installBystander puts a third revision beside the default one, with workloads.
func (w *world) installBystander(version string) {
	w.t.Helper()
	values := bookinfo.IstiodValues()
	values["revision"] = bystander
	helm := istio.NewHelm(w.cfg, istio.NewCharts(w.lab.ChartRepo()))
	rel := mesh.Release{Namespace: "istio-system", Name: "istiod-" + bystander, Chart: "istiod", Version: version, Values: values}
	if err := helm.Install(w.t.Context(), rel, ""); err != nil {
		w.t.Fatal(err)
	}
	if err := bookinfo.WaitReady(w.t.Context(), w.cfg, "istio-system"); err != nil {
		w.t.Fatal(err)
	}
	objects, err := bookinfo.Objects(bookinfo.Options{Namespace: bystander, Labels: "{istio.io/rev: " + bystander + "}", NoGateway: true, Drain: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := bookinfo.Apply(w.t.Context(), w.cfg, objects); err != nil {
		w.t.Fatal(err)
	}
	if err := bookinfo.WaitReady(w.t.Context(), w.cfg, bystander); err != nil {
		w.t.Fatal(err)
	}
}

// aside is everything of the bystander, as JSON by name: the objects of its
// release, its namespace and all that runs in it. What the cluster itself writes
// there (status, and with it the resourceVersion) is left out.
func (w *world) aside() map[string]string {
	w.t.Helper()
	dyn, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	keep := func(list *unstructured.UnstructuredList, err error) {
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range list.Items {
			unstructured.RemoveNestedField(o.Object, "status")
			unstructured.RemoveNestedField(o.Object, "metadata", "resourceVersion")
			unstructured.RemoveNestedField(o.Object, "metadata", "managedFields") // of status, with times
			text, err := json.MarshalIndent(o.Object, "", " ")
			if err != nil {
				w.t.Fatal(err)
			}
			out[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = string(text)
		}
	}
	released := metav1.ListOptions{LabelSelector: "istio.io/rev=" + bystander}
	for _, r := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "pods"},
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "namespaces"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	} {
		keep(dyn.Resource(r).List(w.t.Context(), released))
	}
	for _, r := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "pods"},
		{Version: "v1", Resource: "serviceaccounts"},
	} {
		keep(dyn.Resource(r).Namespace(bystander).List(w.t.Context(), metav1.ListOptions{}))
	}
	if len(out) < 20 {
		w.t.Errorf("only %d objects of the bystander were found: the test proves little", len(out))
	}
	return out
}

// revisionOf is the revision that a workload's pods are on.
func (w *world) revisionOf(workload string) string {
	w.t.Helper()
	for _, p := range w.snapshot().Pods {
		if !p.Leaving && p.Workload.String() == workload {
			return p.Revision
		}
	}
	w.t.Fatalf("%s has no pod", workload)
	return ""
}

// allOn wants one control plane beside the bystander's, and every other proxy on it.
func (w *world) allOn(version string) {
	w.t.Helper()
	s := w.snapshot()
	for _, c := range s.ControlPlanes {
		if c.Revision != bystander && c.Version != version {
			w.t.Errorf("a control plane of %s is left: %s", c.Version, c.Revision)
		}
	}
	if len(s.ControlPlanes) != 2 {
		w.t.Errorf("%d control planes, want 2", len(s.ControlPlanes))
	}
	for _, p := range s.Pods {
		if !p.Leaving && p.Namespace != bystander && p.Version != version {
			w.t.Errorf("pod %s/%s is on %s %s", p.Namespace, p.Name, p.Revision, p.Version)
		}
	}
}
