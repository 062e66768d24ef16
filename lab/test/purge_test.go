package test_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// meshName is what serin calls the lab's mesh: the kubeconfig's context.
func (w *world) meshName() string {
	w.t.Helper()
	c, err := clientcmd.LoadFromFile(w.lab.Kubeconfig())
	if err != nil {
		w.t.Fatal(err)
	}
	return c.CurrentContext
}

// ofIstio are all objects of Istio's making, CRDs apart, by kind and name.
func (w *world) ofIstio() []string {
	w.t.Helper()
	dyn := dynamic.NewForConfigOrDie(w.cfg)
	var out []string
	for _, gvr := range everyKind() {
		for _, selector := range []string{"operator.istio.io/component", "app.kubernetes.io/part-of=istio"} {
			list, err := dyn.Resource(gvr).List(w.t.Context(), metav1.ListOptions{LabelSelector: selector})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, o := range list.Items {
				out = append(out, o.GetKind()+" "+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// untagged is the snapshot without the label that istioctl's install has put on the
// default validator of Helm's chart: Helm does not know of it, and makes it without.
// Services that went come back as others: the cluster gives them their addresses.
func untagged(s mesh.Snapshot) string {
	s = s.Clone()
	for i := range s.Validators {
		s.Validators[i].Tag = ""
	}
	for i := range s.Edge.Services {
		e := &s.Edge.Services[i]
		e.UID, e.ClusterIP, e.Addresses = "", "", nil
		for j := range e.Ports {
			e.Ports[j].NodePort = 0
		}
	}
	return settle(s)
}

// injected says whether a pod in the namespace would get a sidecar now.
func (w *world) injected(namespace string) bool {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "asked"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}}
	made, err := w.kube.CoreV1().Pods(namespace).Create(w.t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		w.t.Fatalf("a pod cannot be made: %v", err)
	}
	return len(made.Spec.Containers)+len(made.Spec.InitContainers) > 1
}

// A mesh of Helm's with a revision and a gateway of istioctl's beside it goes as a
// whole, once its name has been typed, CRDs and configuration apart; and comes back
// as it was. S-1, S-51, S-53, S-54.
func TestPurge_allOfItAndBack(t *testing.T) {
	nightly(t)
	w := newWorldOf(t, bookinfo.Options{Drain: 2 * time.Second}, "1.27.0", "1.29.1")
	w.istioctl("1.29.1", "install", "-y", "--set", "profile=default", "--set", "revision=theirs", "--set", "components.base.enabled=false", "--set", "values.global.hub=docker.io/istio", "--set", "values.global.tag=1.29.1")
	w.run(0, "tag", "set", "default", "--revision", "default", "--overwrite", "--soak", "2s") // istioctl's install takes it (R§2.4)
	w.run(0, "tag", "remove", "default", "-y")
	w.run(0, "tag", "set", "prod", "--revision", "theirs")
	w.stop() // from here on requests are lost: that is what is asked for
	before, crds := untagged(w.snapshot()), len(w.snapshot().CRDs)
	if there := w.ofIstio(); !slices.Contains(there, "Deployment istio-system/istio-ingressgateway") {
		t.Fatalf("istioctl has rendered no gateway: %v", there)
	}

	said := w.run(0, "uninstall", "--purge", "--dry-run")
	for _, want := range []string{"SRN1204 namespace default", "SRN1204 pod default/"} {
		if !strings.Contains(said, want) {
			t.Errorf("S-54: %s is not listed:\n%s", want, said)
		}
	}
	w.run(3, "uninstall", "--purge", "-y")
	w.run(3, "uninstall", "--purge", "--confirm", "another")
	if d := cmp.Diff(before, untagged(w.snapshot())); d != "" {
		t.Errorf("refused, and yet something was done:\n%s", d)
	}

	w.run(0, "uninstall", "--purge", "--confirm", w.meshName())
	if left := w.ofIstio(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	s := w.snapshot()
	if len(s.ControlPlanes)+len(s.Injectors)+len(s.Validators)+len(s.TagServices)+len(s.Releases) > 0 || len(s.CRDs) != crds || crds == 0 {
		t.Errorf("S-53: left %+v %+v %+v %+v, CRDs %d of %d", s.ControlPlanes, s.Injectors, s.Validators, s.Releases, len(s.CRDs), crds)
	}
	if w.injected("default") {
		t.Error("somebody injects still")
	}

	w.run(5, "rollback")
	w.until("S-51: not as before (-before +after)", func() string { return cmp.Diff(before, untagged(w.snapshot())) })
	if !w.injected("default") {
		t.Error("nobody injects")
	}
	address, err := bookinfo.Address(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := bookinfo.WaitServing(t.Context(), address); err != nil {
		t.Error(err)
	}
}
