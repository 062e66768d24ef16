package test_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
)

// operatorFile is the IstioOperator of the meshes here: values, mesh
// configuration, and what only istioctl knows, settings and overlays.
const operatorFile = `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  name: control-plane
spec:
  profile: minimal
  meshConfig:
    accessLogFile: /dev/stdout
  values:
    pilot: {autoscaleMin: 2, resources: {requests: {cpu: 50m, memory: 128Mi}}}
  components:
    pilot:
      k8s:
        podAnnotations: {example.com/team: mesh}
        env: [{name: PILOT_ENABLE_STATUS, value: "false"}]
`

func overlaid(revision string) string {
	name := mesh.IstiodName(revision)
	return operatorFile + `        overlays:
        - kind: Deployment
          name: ` + name + `
          patches:
          - {path: "spec.template.spec.containers.[name:discovery].args.[30m]", value: 29m}
`
}

// written is a file with the text.
func written(tb testing.TB, text string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "operator.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// byIstioctl installs the control plane from an IstioOperator file.
func byIstioctl(file, version string) func(context.Context, *lab.Lab) error {
	return func(ctx context.Context, l *lab.Lab) error {
		out, err := exec.CommandContext(ctx, l.Istioctl(version), "install", "-y", "-f", file, "--kubeconfig", l.Kubeconfig()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("istioctl install: %w: %s", err, out)
		}
		return nil
	}
}

// installedBy are the objects with istioctl's mark of a revision, without what
// the API server and controllers write.
func (w *world) installedBy(revision string) map[string]map[string]any {
	w.t.Helper()
	dyn, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, r := range []string{
		"apps/v1/deployments", "/v1/services", "/v1/configmaps", "/v1/serviceaccounts", "autoscaling/v2/horizontalpodautoscalers", "policy/v1/poddisruptionbudgets",
		"rbac.authorization.k8s.io/v1/roles", "rbac.authorization.k8s.io/v1/rolebindings", "rbac.authorization.k8s.io/v1/clusterroles", "rbac.authorization.k8s.io/v1/clusterrolebindings",
		"admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", "admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
	} {
		part := strings.Split(r, "/")
		list, err := dyn.Resource(schema.GroupVersionResource{Group: part[0], Version: part[1], Resource: part[2]}).List(w.t.Context(), metav1.ListOptions{
			LabelSelector: "operator.istio.io/managed=Reconcile,operator.istio.io/component=Pilot,!istio.io/tag,istio.io/rev=" + revision,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range list.Items {
			unstructured.RemoveNestedField(o.Object, "status")
			unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
			unstamped(o.Object)
			for _, f := range []string{"resourceVersion", "managedFields", "uid", "creationTimestamp", "generation"} {
				unstructured.RemoveNestedField(o.Object, "metadata", f)
			}
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIP")
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIPs")
			hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
			for _, h := range hooks {
				if entry, ok := h.(map[string]any); ok {
					unstructured.RemoveNestedField(entry, "failurePolicy")
					unstructured.RemoveNestedField(entry, "clientConfig", "caBundle")
				}
			}
			if hooks != nil {
				o.Object["webhooks"] = hooks
			}
			out[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o.Object
		}
	}
	return out
}

// unstamped takes out the labels in which the source's charts, which the lab's
// istioctl holds, say 1.0.0 and the release's charts its version.
func unstamped(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "app.kubernetes.io/version")
		delete(v, "helm.sh/chart")
		for _, e := range v {
			unstamped(e)
		}
	case []any:
		for _, e := range v {
			unstamped(e)
		}
	}
}

// settled is the snapshot once the HPA has made the second istiod of the file.
func (w *world) settled() mesh.Snapshot {
	w.t.Helper()
	var s mesh.Snapshot
	w.until("two istiods", func() string {
		s = w.snapshot()
		c, _ := s.ControlPlane("default")
		return strings.Repeat("one more ", 2-min(c.Ready, c.Replicas, 2))
	})
	return s
}

// A mesh that istioctl installed from a file goes to the next release and back:
// no request is lost, the new revision is what istioctl would have installed, and
// istioctl removes it. S-15, S-16, S-51, S-53.
func TestIstioctl_isAStart(t *testing.T) {
	w := newWorldBy(t, byIstioctl(written(t, overlaid("default")), "1.27.0"), bookinfo.Options{Drain: 5 * time.Second}, "1.27.0", "1.29.1")
	before := w.settled()
	if c, _ := before.ControlPlane("default"); c.Owner.Kind != mesh.OwnerIstioctl {
		t.Fatalf("the control plane is %+v", c)
	}
	theirs := w.installedBy("default")
	file := w.plan("1.29.1", "--operator", written(t, overlaid("1-29-1")), "--restarts", "rollout") // it drains, and is not about restarts
	w.run(0, "apply", file, "--approve")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	s := w.snapshot()
	if revs := s.Revisions(); !slices.Equal(revs, []string{"1-29-1"}) {
		t.Errorf("revisions after it: %v", revs)
	}
	if c, _ := s.ControlPlane("1-29-1"); c.Owner != (mesh.Owner{Kind: mesh.OwnerIstioctl, Name: "control-plane"}) {
		t.Errorf("the new one belongs to %+v", c.Owner)
	}
	if left := w.installedBy("default"); len(left) > 0 {
		t.Errorf("%d objects of the old one are left", len(left))
	}
	// The user's next istioctl, of the same file, changes nothing.
	ours := w.installedBy("1-29-1")
	w.istioctl("1.29.1", "install", "-y", "-f", written(t, overlaid("1-29-1")), "--revision", "1-29-1")
	w.until("what istioctl installs is what serin has installed", func() string { return cmp.Diff(ours, w.installedBy("1-29-1")) })

	w.run(5, "rollback")
	w.lost()
	if d := cmp.Diff(settle(before), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	if d := cmp.Diff(theirs, w.installedBy("default")); d != "" {
		t.Errorf("S-51: the old objects are not what they were (-before +after):\n%s", d)
	}
}

// By itself: installed from a file, taken away by either tool; and the old one's
// values without its file.
func TestIstioctl_oneByOne(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, byIstioctl(written(t, operatorFile), "1.27.0"), bookinfo.Options{}, "1.27.0", "1.29.1")
	before := w.settled()
	charts := []string{"--charts", w.lab.ChartRepo(), "--version", "1.29.1"}
	w.run(3, append([]string{"install", "istiod", "--revision", "bad", "-f", written(t, overlaid("elsewhere"))}, charts...)...)
	w.run(0, append([]string{"install", "istiod", "--revision", "ours", "-f", written(t, overlaid("ours"))}, charts...)...)
	ours := w.installedBy("ours")
	w.istioctl("1.29.1", "uninstall", "--revision", "ours", "-y")
	w.istioctl("1.29.1", "install", "-y", "-f", written(t, overlaid("ours")), "--revision", "ours")
	w.until("istioctl installs the same", func() string { return cmp.Diff(w.installedBy("ours"), ours) })
	w.run(0, "uninstall", "--revision", "ours", "-y")
	w.run(0, append([]string{"install", "istiod", "--revision", "kept", "--from-revision", "default"}, charts...)...)
	w.istioctl("1.29.1", "uninstall", "--revision", "kept", "-y")
	w.until("all as before", func() string { return cmp.Diff(settle(before), settle(w.snapshot())) })
}
