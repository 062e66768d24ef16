package test_test

import (
	"context"
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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/internal/build"
	"github.com/serin-mesh/serin/lab/load"
)

// renderedFile is an IstioOperator with an ingress and an egress gateway, each
// with settings that only the file knows.
const renderedFile = `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  name: whole-mesh
spec:
  profile: default
  meshConfig:
    accessLogFile: /dev/stdout
  values:
    pilot: {autoscaleMin: 2, resources: {requests: {cpu: 50m, memory: 128Mi}}}
  components:
    ingressGateways:
    - name: istio-ingressgateway
      enabled: true
      k8s:
        hpaSpec: {minReplicas: 2, maxReplicas: 4}
        podAnnotations: {example.com/team: edge}
        resources: {requests: {cpu: 10m, memory: 40Mi}}
    egressGateways:
    - name: istio-egressgateway
      enabled: true
      k8s:
        resources: {requests: {cpu: 10m, memory: 40Mi}}
        service: {type: LoadBalancer}
`

// rendereds is a world that istioctl has installed, gateways and all.
type rendereds struct {
	*world
	file, charts string
	names        []string
	loads        map[string]*load.Counter
	end          context.CancelFunc
}

func newRendereds(t *testing.T) *rendereds {
	t.Helper()
	file := written(t, renderedFile)
	w := newWorldBy(t, byIstioctl(file, "1.27.0"), bookinfo.Options{Drain: 5 * time.Second}, "1.27.0", "1.29.1")
	r := &rendereds{world: w, file: file, charts: t.TempDir(), names: []string{"istio-ingressgateway", "istio-egressgateway"}, loads: map[string]*load.Counter{}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b, err := build.New("", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Archive(ctx, "1.29.1", r.charts); err != nil {
		t.Fatal(err)
	}
	w.apply(ctx, "testdata/rendered.yaml")
	if err := bookinfo.WaitReady(ctx, w.cfg, "istio-system"); err != nil {
		t.Fatal(err)
	}
	within, stop := context.WithCancel(context.Background())
	r.end = stop
	t.Cleanup(func() {
		if t.Failed() {
			r.ran("proxy-status")
		}
		stop()
	})
	for _, name := range r.names {
		at := r.addressOf(ctx, name)
		if err := bookinfo.WaitServing(ctx, at); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r.loads[name] = load.Run(within, load.Config{URL: "http://" + at + bookinfo.Path, Host: bookinfo.Host, Rate: 20, Fresh: true})
	}
	w.settled()
	w.until("two gateways, by the scaler of the file", func() string {
		d, err := w.kube.AppsV1().Deployments("istio-system").Get(t.Context(), "istio-ingressgateway", metav1.GetOptions{})
		if err != nil || d.Status.ReadyReplicas != 2 {
			return "not yet"
		}
		return ""
	})
	return r
}

func (r *rendereds) addressOf(ctx context.Context, name string) string {
	r.t.Helper()
	at := ""
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		svc, err := r.kube.CoreV1().Services("istio-system").Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			at = svc.Annotations[bookinfo.AddressAnnotation+".http2"]
		}
		return at != "", nil // it is asked again
	})
	if err != nil {
		r.t.Fatalf("the address of %s: %v", name, err)
	}
	return at
}

// quiet ends the loads and wants no request of any to have failed.
func (r *rendereds) quiet() {
	r.t.Helper()
	r.end()
	for name, l := range r.loads {
		l.Wait()
		s := l.Snapshot()
		r.t.Logf("%s: sent %d failed %d p50 %s p99 %s", name, s.Sent, s.Failed, s.P50, s.P99)
		if s.Sent < 100 || s.Failed > 0 {
			r.t.Errorf("%s: %d of %d requests lost", name, s.Failed, s.Sent)
		}
	}
	r.lost()
}

// objects are all that istioctl rendered of the gateways, as users would compare them.
func (r *rendereds) objects() map[string]map[string]any {
	r.t.Helper()
	dyn, err := dynamic.NewForConfig(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, at := range []string{
		"apps/v1/deployments", "/v1/services", "/v1/serviceaccounts", "autoscaling/v2/horizontalpodautoscalers", "policy/v1/poddisruptionbudgets",
		"rbac.authorization.k8s.io/v1/roles", "rbac.authorization.k8s.io/v1/rolebindings",
	} {
		part := strings.Split(at, "/")
		list, err := dyn.Resource(schema.GroupVersionResource{Group: part[0], Version: part[1], Resource: part[2]}).List(r.t.Context(), metav1.ListOptions{
			LabelSelector: "operator.istio.io/component in (IngressGateways,EgressGateways)",
		})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, o := range list.Items {
			unstructured.RemoveNestedField(o.Object, "status")
			unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
			unstamped(o.Object)
			labels := o.GetLabels()
			delete(labels, "operator.istio.io/version") // of the istioctl
			o.SetLabels(labels)
			for _, f := range []string{"resourceVersion", "managedFields", "generation", "creationTimestamp"} {
				unstructured.RemoveNestedField(o.Object, "metadata", f)
			}
			out[o.GetKind()+" "+o.GetName()] = o.Object
		}
	}
	return out
}

// images wants the gateways' running pods to be of a release.
func (r *rendereds) images(tag string) {
	r.t.Helper()
	r.until("pods of "+tag, func() string {
		for _, name := range r.names {
			list, err := r.kube.CoreV1().Pods("istio-system").List(r.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
			if err != nil || len(list.Items) == 0 {
				return "no pods of " + name
			}
			for _, p := range list.Items {
				if p.DeletionTimestamp == nil && !strings.HasSuffix(p.Spec.Containers[0].Image, ":"+tag) {
					return p.Name + " runs " + p.Spec.Containers[0].Image
				}
			}
		}
		return ""
	})
}

// atLeast wants as many ready behind a gateway's Service, at every instant, as it has.
func (r *rendereds) atLeast(name string, b *watched) {
	r.t.Helper()
	want := 1
	if strings.HasPrefix(name, "in") {
		want = 2
	}
	if n, _ := b.least(""); n < want {
		r.t.Errorf("%s: once only %d were ready behind its Service, of %d", name, n, want)
	}
}

// An ingress and an egress gateway that istioctl rendered go to the next release
// and back as steps of the plan, under load: none loses a request, never are fewer
// ready behind a Service than before, and each object is what it was. S-33, S-51.
func TestRenderedGateway(t *testing.T) {
	nightly(t)
	r := newRendereds(t)
	before := r.objects()
	in, out := r.watchBehind("istio-system", "istio-ingressgateway"), r.watchBehind("istio-system", "istio-egressgateway")
	file := r.plan("1.29.1", "--operator", r.file, "--charts", r.charts)
	r.run(0, "apply", file, "--approve")
	r.images("1.29.1")
	s := r.snapshot()
	if revs := s.Revisions(); !slices.Equal(revs, []string{"1-29-1"}) {
		t.Errorf("revisions after it: %v", revs)
	}
	for name, b := range map[string]*watched{"in": in, "out": out} {
		r.atLeast(name, b)
	}
	r.run(5, "rollback")
	r.images("1.27.0")
	for name, b := range map[string]*watched{"in": in, "out": out} {
		r.atLeast(name+", back", b)
	}
	if d := cmp.Diff(before, r.objects()); d != "" {
		t.Errorf("S-51: the gateways' objects are not what they were (-before +after):\n%s", d)
	}
	r.quiet()
}

// The source must be the one that made it; what was kept, or the Deployment's own
// history, puts it back without a run; istioctl finds nothing to change. S-33, S-17.
func TestRenderedGateway_itsSource(t *testing.T) {
	nightly(t)
	r := newRendereds(t)
	before := r.objects()
	if _, said := r.ran("plan", "--to", "1.29.1", "--operator", r.file, "--charts", r.lab.ChartRepo(), "--ignore-check", "SRN1060"); !strings.Contains(said, "Istio's archive alone") {
		t.Error("a repository without the gateways' charts is not named")
	}
	code, said := r.ran("plan", "--to", "1.29.1", "--charts", r.charts, "--ignore-check", "SRN1060")
	if code != 3 || !strings.Contains(said, "SRN1411") || !strings.Contains(said, "resources.requests") {
		t.Errorf("S-33: without the file, exit code %d: what it would lose is not named", code)
	}
	r.end()
	r.stop() // what is lost is the other test's question
	file := filepath.Join(t.TempDir(), "plan.yaml")
	r.run(0, "plan", "--to", "1.29.1", "--operator", r.file, "--charts", r.charts, "--keep", "--ignore-check", "SRN1060", "--no-prove", "--soak", "1s", "-o", file)
	r.run(0, "apply", file, "--approve")
	ours := r.objects()
	for _, o := range ours {
		if o["kind"] == "Service" {
			was := before["Service "+(&unstructured.Unstructured{Object: o}).GetName()]
			if d := cmp.Diff(was["spec"], o["spec"]); d != "" {
				t.Errorf("the Service is another (-before +after):\n%s", d)
			}
		}
	}
	put := func(rev, tag string) {
		t.Helper()
		for _, name := range r.names {
			r.run(0, "gateway", "restore", name, "-n", "istio-system", "--revision", rev, "-y")
		}
		r.images(tag)
	}
	put("default", "1.27.0")
	if d := cmp.Diff(before, r.objects()); d != "" {
		t.Errorf("from what was kept (-before +after):\n%s", d)
	}
	put("1-29-1", "1.29.1")
	if d := cmp.Diff(ours, r.objects()); d != "" {
		t.Errorf("and again (-before +after):\n%s", d)
	}
	secrets, err := r.kube.CoreV1().Secrets("istio-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=serin"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		if strings.HasPrefix(s.Name, "serin-kept-gateway-") {
			if err := r.kube.CoreV1().Secrets("istio-system").Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("default", "1.27.0")
	if d := cmp.Diff(before, r.objects()); d != "" {
		t.Errorf("from its own history (-before +after):\n%s", d)
	}
	put("1-29-1", "1.29.1")
	r.istioctl("1.29.1", "install", "-y", "-f", r.file, "--revision", "1-29-1")
	r.until("what istioctl installs is what serin has made", func() string { return cmp.Diff(ours, r.objects()) })
	if rev := r.objects()["Service istio-ingressgateway"]["metadata"].(map[string]any)["labels"].(map[string]any)[mesh.RevLabel]; rev != "1-29-1" {
		t.Errorf("its Service is of %v: istioctl uninstall of the old revision would take it", rev)
	}
}
