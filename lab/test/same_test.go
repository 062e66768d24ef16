package test_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/test/walk"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// mesh is the whole mesh, a line for each field of each object, sorted: all objects of
// the kinds that Istio is made of, namespaces, what runs on which revision, releases
// and definitions. What differs between any two clusters is left out.
func (w walker) mesh() []string {
	w.t.Helper()
	if err := walk.Drained(w.t.Context(), w.kube); err != nil {
		w.t.Fatal(err)
	}
	dyn := dynamic.NewForConfigOrDie(w.cfg)
	var out []string
	for _, gvr := range append(everyKind(), schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}) {
		list, err := dyn.Resource(gvr).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range list.Items {
			if ours(o) {
				out = append(out, fieldsOf(o)...)
			}
		}
	}
	text, err := w.command("snapshot").Output()
	if err != nil {
		w.t.Fatalf("looking at the mesh: %v", err)
	}
	var s mesh.Snapshot
	if err := yaml.Unmarshal(text, &s); err != nil {
		w.t.Fatalf("looking at the mesh: %v", err)
	}
	for _, p := range s.Pods {
		if !p.Leaving {
			out = append(out, fmt.Sprintf("pod of %s: revision %s, version %s", p.Workload, p.Revision, p.Version))
		}
	}
	for _, r := range s.Releases {
		values, err := json.Marshal(r.Values)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("release %s/%s: chart %s-%s %s %s", r.Namespace, r.Name, r.Chart, r.Version, r.Status, values))
	}
	for _, c := range s.CRDs {
		out = append(out, fmt.Sprintf("definition %s: owner %s %s", c.Name, c.Owner.Kind, c.Owner.Name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ours leaves out what Kubernetes makes for itself.
func ours(o unstructured.Unstructured) bool {
	if o.GetDeletionTimestamp() != nil || o.GetKind() == "Service" && o.GetNamespace() == "default" && o.GetName() == "kubernetes" {
		return false // istioctl does not wait until what it deletes is gone
	}
	if ns := o.GetNamespace(); strings.HasPrefix(ns, "kube-") || strings.HasPrefix(o.GetName(), "kube-") {
		return false
	}
	n := o.GetName()
	return !strings.HasPrefix(n, "system:") && !strings.HasPrefix(n, "walk-") && n != "kube-root-ca.crt" && o.GetLabels()["kubernetes.io/bootstrapping"] == ""
}

// fieldsOf are the lines of an object.
func fieldsOf(o unstructured.Unstructured) []string {
	name := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
	for _, path := range [][]string{
		{"status"},
		{"metadata", "uid"},
		{"metadata", "resourceVersion"},
		{"metadata", "generation"},
		{"metadata", "creationTimestamp"},
		{"metadata", "managedFields"},
		{"metadata", "annotations", "deployment.kubernetes.io/revision"},
		{"metadata", "annotations", "control-plane.alpha.kubernetes.io/leader"},
		{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
		{"spec", "clusterIP"},
		{"spec", "clusterIPs"},
		{"spec", "healthCheckNodePort"},
		{"spec", "finalizers"},
	} {
		unstructured.RemoveNestedField(o.Object, path...)
	}
	if o.GetKind() == "Lease" { // who holds it is chance
		unstructured.RemoveNestedField(o.Object, "spec")
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
	}
	if o.GetKind() == "ConfigMap" && (o.GetName() == "istio-ca-root-cert" || strings.HasPrefix(o.GetName(), "serin-run-")) {
		unstructured.RemoveNestedField(o.Object, "data")
		if strings.HasPrefix(o.GetName(), "serin-run-") {
			return []string{"ConfigMap " + o.GetNamespace() + "/serin-run-*"}
		}
	}
	unstamped(o.Object)
	var out []string
	flatten("", o.Object, func(path, value string) {
		if strings.HasSuffix(path, "kubectl.kubernetes.io/restartedAt") { // S-44
			value = "a time"
		}
		if !volatile.MatchString(path) {
			out = append(out, o.GetKind()+" "+name+": "+path+" = "+value)
		}
	})
	return out
}

// volatile are the fields that istiod, the API server or the lab writes in its own time.
var volatile = regexp.MustCompile(`^(metadata\.(name|namespace)|apiVersion|kind)$|\.(caBundle|failurePolicy|nodePort)$|lab\.serin\.dev|kubernetes\.io/metadata\.name`)

// flatten calls f for each leaf.
func flatten(path string, v any, f func(path, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			flatten(strings.TrimPrefix(path+"."+k, "."), v[k], f)
		}
	case []any:
		for i, e := range v {
			flatten(fmt.Sprintf("%s[%d]", path, i), e, f)
		}
		if len(v) == 0 {
			f(path, "[]")
		}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			b = []byte(err.Error())
		}
		f(path, string(b))
	}
}
