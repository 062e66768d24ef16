package test_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// Aborted half way and taken back, then carried to the end: before, half way,
// taken back and after, istioctl and serin say the same, nothing is lost, and what
// was taken back is as it was. A user's own "helm upgrade" of each release then
// changes nothing. S-17, S-51.
func TestTruth_istioctlHelmAndSerinAgree(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	start := w.snapshot()
	w.agree("1.27.0")

	half := "restart-workloads " + reviews + "  done"
	code, said := w.watched(half, func() { w.asked("abort") }, "apply", w.plan("1.29.1"), "--approve")
	if code != 4 || !strings.Contains(said, "aborted") {
		t.Errorf("exit code %d, want 4 and that it was aborted:\n%s", code, said)
	}
	if got := w.pods("reviews", "v1"); len(got["1-29-1"]) != 1 {
		t.Errorf("half way: reviews-v1 is on %v", got)
	}
	if got := w.pods("productpage", "v1"); len(got["default"]) != 1 {
		t.Errorf("half way: productpage-v1 is on %v", got)
	}
	w.agree("1.27.0")
	w.agree("1.29.1")

	w.run(5, "rollback")
	if lost := w.tally(); lost > 0 {
		t.Errorf("aborted and taken back: %d requests lost", lost)
	}
	if d := gocmp.Diff(settle(start), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	w.agree("1.27.0")

	w.run(0, "apply", w.plan("1.29.1"), "--approve")
	w.agree("1.29.1")

	for _, r := range w.snapshot().Releases {
		live := w.live(r)
		w.helmUpgrade(r)
		w.until("release "+r.Name+" as it was", func() string { return gocmp.Diff(live, w.live(r)) })
	}
	w.agree("1.29.1")
	w.lost()
}

// asked runs a command that the process which drives the run carries out.
func (w *world) asked(word string) {
	w.t.Helper()
	out, err := w.command(word).CombinedOutput()
	if ended := (&exec.ExitError{}); err != nil && (!errors.As(err, &ended) || ended.ExitCode() != 4) {
		w.t.Errorf("serin %s: %v\n%s", word, err, out)
	}
}

// until looks again and again until nothing is wrong any more: istiod, drains and
// caches take their time.
func (w *world) until(what string, wrong func() string) {
	w.t.Helper()
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if last = wrong(); last == "" {
			return
		}
	}
	w.t.Errorf("%s: %s", what, last)
}

// said is what one tool says of the mesh.
type said struct {
	Revisions map[string]string // revision -> version
	Tags      map[string]string // tag -> revision
	Proxies   map[string]string // name.namespace -> version, istiod
}

// agree wants the istioctl of a release and serin to say the same.
func (w *world) agree(version string) {
	w.t.Helper()
	w.until("istioctl "+version+" and serin (-istioctl +serin)", func() string {
		serin := w.serinSays()
		return gocmp.Diff(w.istioctlSays(version, slices.Sorted(maps.Keys(serin.Revisions))), serin)
	})
}

func (w *world) serinSays() said {
	w.t.Helper()
	var status struct {
		Revisions []struct{ Revision, Version string }
		Tags      []struct{ Tag, Revision string }
		Proxies   []struct{ Name, Namespace, Version, Istiod string }
	}
	out, err := w.command("status", "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &status)
	}
	if err != nil {
		w.t.Fatalf("serin status: %v\n%s", err, out)
	}
	s := said{map[string]string{}, map[string]string{}, map[string]string{}}
	for _, r := range status.Revisions {
		s.Revisions[r.Revision] = r.Version
	}
	for _, t := range status.Tags {
		s.Tags[t.Tag] = t.Revision
	}
	for _, p := range status.Proxies {
		s.Proxies[p.Name+"."+p.Namespace] = p.Version + " " + p.Istiod
	}
	return s
}

// istioctlSays asks each revision: the istioctl of 1.29 asks only the one that the
// default tag leads to unless it is told another.
func (w *world) istioctlSays(version string, revisions []string) said {
	w.t.Helper()
	s := said{map[string]string{}, map[string]string{}, map[string]string{}}
	var tags []struct{ Tag, Revision string }
	w.decode(w.istioctl(version, "tag", "list", "-o", "json"), &tags)
	for _, t := range tags {
		if t.Tag != "" { // an injector that is nobody's tag is listed too
			s.Tags[t.Tag] = t.Revision
		}
	}
	for _, r := range revisions {
		var v struct {
			MeshVersion []struct {
				Revision string
				Info     struct{ Version string }
			}
		}
		w.decode(w.istioctl(version, "version", "-o", "json", "--revision", r), &v)
		for _, m := range v.MeshVersion {
			s.Revisions[m.Revision] = m.Info.Version
		}
		for line := range strings.Lines(w.istioctl(version, "proxy-status", "--revision", r)) {
			if f := strings.Fields(line); len(f) > 3 && f[1] == "Kubernetes" {
				s.Proxies[f[0]] = f[3] + " " + f[2]
			}
		}
	}
	return s
}

func (w *world) decode(text string, into any) {
	w.t.Helper()
	if i := strings.IndexAny(text, "{["); i > 0 {
		text = text[i:] // warnings come first
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.t.Fatalf("%v in\n%s", err, text)
	}
}

// live is every object of a release as it is in the cluster, as JSON by name. What
// changes without anybody's doing is left out, and the times of managed fields.
func (w *world) live(r mesh.Release) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, u := range w.objectsOf(r) {
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "resourceVersion")
		unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
		if strings.HasSuffix(u.GetKind(), "WebhookConfiguration") {
			// istiod writes its authority and the policy of failures anew when Helm has left them out
			unstructured.RemoveNestedField(u.Object, "metadata", "generation")
		}
		text, err := json.MarshalIndent(u.Object, "", " ")
		if err != nil {
			w.t.Fatal(err)
		}
		out[u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName()] = string(text)
	}
	if len(out) == 0 {
		w.t.Errorf("release %s holds nothing", r.Name)
	}
	return out
}

// objectsOf fetches what the manifest of a release lists.
func (w *world) objectsOf(r mesh.Release) []*unstructured.Unstructured {
	w.t.Helper()
	stored, err := action.NewGet(w.helm(r.Namespace)).Run(r.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	rel, ok := stored.(*release.Release)
	if !ok {
		w.t.Fatalf("release %s is a %T", r.Name, stored)
	}
	dyn, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.kube.Discovery()))
	var out []*unstructured.Unstructured
	for docs := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rel.Manifest), 4096); ; {
		u := &unstructured.Unstructured{}
		if err := docs.Decode(&u.Object); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			w.t.Fatal(err)
		}
		if len(u.Object) == 0 {
			continue
		}
		m, err := mapper.RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version)
		if err != nil {
			w.t.Fatal(err)
		}
		api := dynamic.ResourceInterface(dyn.Resource(m.Resource))
		if m.Scope.Name() == meta.RESTScopeNameNamespace {
			api = dyn.Resource(m.Resource).Namespace(cmp.Or(u.GetNamespace(), r.Namespace))
		}
		is, err := api.Get(w.t.Context(), u.GetName(), metav1.GetOptions{})
		if err != nil {
			w.t.Fatalf("release %s: %v", r.Name, err)
		}
		out = append(out, is)
	}
}

// helm is Helm as the command sets it up.
func (w *world) helm(namespace string) *action.Configuration {
	w.t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	path := w.lab.Kubeconfig()
	flags.KubeConfig, flags.Namespace = &path, &namespace
	kube.ManagedFieldsManager = "helm" // as the command calls itself
	c := action.NewConfiguration()
	if err := c.Init(flags, namespace, "secret"); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// helmUpgrade is what a user types: helm upgrade of a release with its chart and
// its values.
func (w *world) helmUpgrade(r mesh.Release) {
	w.t.Helper()
	chart, err := istio.NewCharts(w.lab.ChartRepo()).Load(w.t.Context(), r.Chart, r.Version)
	if err != nil {
		w.t.Fatal(err)
	}
	up := action.NewUpgrade(w.helm(r.Namespace))
	up.Namespace, up.WaitStrategy, up.ServerSideApply = r.Namespace, kube.HookOnlyStrategy, "auto"
	up.SkipSchemaValidation = r.Chart == "gateway"
	up.PostRenderer = laterChart{}
	if _, err := up.RunWithContext(w.t.Context(), r.Name, chart, r.Values); err != nil {
		w.t.Errorf("the user's own helm upgrade of %s: %v", r.Name, err)
	}
}

// laterChart leaves a validator's policy to istiod, as the charts do from 1.28.10 and
// 1.29.6 on. What those before render conflicts with istiod, whoever upgraded (R§5).
type laterChart struct{}

func (laterChart) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	return bytes.NewBuffer(bytes.ReplaceAll(in.Bytes(), []byte("failurePolicy: Ignore"), nil)), nil
}
