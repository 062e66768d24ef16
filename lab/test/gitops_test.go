package test_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
)

const (
	argoManager = "argocd-controller"
	trackingID  = "argocd.argoproj.io/tracking-id"
)

// argo plays Argo CD with a Git repository: what is declared is applied on the
// server, with Argo CD's marks, and what is declared no more is pruned. Each commit
// can be reverted.
type argo struct {
	dyn      dynamic.Interface
	mapper   meta.ResettableRESTMapper
	declared map[string]*unstructured.Unstructured
	commits  map[int]map[string]*unstructured.Unstructured // by step: what a commit touched, as it was; nil is not declared
	wrote    int
}

func newArgo(cfg *rest.Config) *argo {
	return &argo{
		dyn: dynamic.NewForConfigOrDie(cfg), declared: map[string]*unstructured.Unstructured{}, commits: map[int]map[string]*unstructured.Unstructured{},
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(cfg))),
	}
}

func idOf(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// sync makes the cluster what is declared, webhooks last; then it prunes, those first.
func (a *argo) sync(ctx context.Context, was map[string]*unstructured.Unstructured) error {
	rank := func(o *unstructured.Unstructured) int {
		order := []string{"Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "Service", "Deployment"}
		if i := slices.Index(order, o.GetKind()); i >= 0 {
			return i
		}
		if strings.HasSuffix(o.GetKind(), "WebhookConfiguration") { // the tag before the injector that goes off
			if strings.Contains(o.GetName(), "revision-tag") {
				return len(order) + 1
			}
			return len(order) + 2
		}
		return len(order)
	}
	byRank := func(m map[string]*unstructured.Unstructured) []*unstructured.Unstructured {
		return slices.SortedFunc(maps.Values(m), func(x, y *unstructured.Unstructured) int {
			return (rank(x)-rank(y))*10 + strings.Compare(idOf(x), idOf(y))
		})
	}
	for _, o := range byRank(a.declared) {
		if before := was[idOf(o)]; before != nil && cmp.Equal(before.Object, o.Object) {
			continue
		}
		r, err := a.resource(o)
		if err != nil {
			return err
		}
		o = o.DeepCopy()
		o.SetAnnotations(merged(o.GetAnnotations(), map[string]string{trackingID: "istio:" + o.GetKind() + ":" + o.GetNamespace() + "/" + o.GetName()}))
		if _, err := r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: argoManager, Force: true}); err != nil {
			return fmt.Errorf("applying %s: %w", idOf(o), err)
		}
		a.wrote++
	}
	for _, o := range slices.Backward(byRank(was)) {
		if a.declared[idOf(o)] != nil {
			continue
		}
		r, err := a.resource(o)
		if err != nil {
			return err
		}
		if err := r.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("pruning %s: %w", idOf(o), err)
		}
	}
	return nil
}

func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func (a *argo) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	m, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		a.mapper.Reset()
		m, err = a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the resource of %s: %w", idOf(o), err)
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return a.dyn.Resource(m.Resource).Namespace(o.GetNamespace()), nil
	}
	return a.dyn.Resource(m.Resource), nil
}

// commit takes what a folder holds into what is declared, and syncs.
func (a *argo) commit(ctx context.Context, step int, folder string) error {
	was, touched := maps.Clone(a.declared), map[string]*unstructured.Unstructured{}
	a.commits[step] = touched
	for _, name := range []string{"apply.yaml", "patch.yaml", "remove.yaml"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		objects, err := documents(b)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", folder, name, err)
		}
		for _, o := range objects {
			id := idOf(o)
			if _, known := touched[id]; !known {
				touched[id] = a.declared[id]
			}
			switch {
			case name == "apply.yaml":
				a.declared[id] = o
			case a.declared[id] == nil:
				return fmt.Errorf("%s/%s: %s is not declared", folder, name, id)
			case name == "remove.yaml":
				delete(a.declared, id)
			default:
				a.declared[id] = &unstructured.Unstructured{Object: mergePatch(a.declared[id].DeepCopy().Object, o.Object)}
			}
		}
	}
	return a.sync(ctx, was)
}

// revert is git revert of a step's commit.
func (a *argo) revert(ctx context.Context, step int) error {
	was := maps.Clone(a.declared)
	for id, o := range a.commits[step] {
		if o == nil {
			delete(a.declared, id)
		} else {
			a.declared[id] = o
		}
	}
	return a.sync(ctx, was)
}

func mergePatch(into, patch map[string]any) map[string]any {
	for k, v := range patch {
		inner, isMap := v.(map[string]any)
		have, too := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && too:
			into[k] = mergePatch(have, inner)
		default:
			into[k] = v
		}
	}
	return into
}

func documents(b []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// install is the first sync: the charts, rendered, as Argo CD takes them.
func (a *argo) install(ctx context.Context, l *lab.Lab, cfg *rest.Config, version string) error {
	helm := istio.NewHelm(cfg, istio.NewCharts(l.ChartRepo()))
	for _, r := range []mesh.Release{
		{Namespace: "istio-system", Name: "istio-base", Chart: "base", Version: version, Values: map[string]any{"defaultRevision": "default"}},
		{Namespace: "istio-system", Name: "istiod", Chart: "istiod", Version: version, Values: bookinfo.IstiodValues()},
	} {
		text, err := helm.Manifest(ctx, r, false)
		if err != nil {
			return err
		}
		objects, err := documents(text)
		if err != nil {
			return err
		}
		for _, o := range objects {
			a.declared[idOf(o)] = o
		}
	}
	if err := a.sync(ctx, nil); err != nil {
		return err
	}
	return bookinfo.WaitReady(ctx, cfg, "istio-system")
}

// adopt declares a namespace with its labels, as a team does that has them in Git.
func (a *argo) adopt(ctx context.Context, name string, labels map[string]any) error {
	was := maps.Clone(a.declared)
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels}}}
	r, err := a.resource(o)
	if err != nil {
		return err
	}
	a.declared[idOf(o)] = o
	if err := a.sync(ctx, was); err != nil {
		return err
	}
	// Whoever labelled it before would otherwise keep the labels that Git takes away.
	live, err := r.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	own := slices.DeleteFunc(live.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool { return m.Manager != argoManager })
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/managedFields", "value": own}})
	if err != nil {
		return err
	}
	_, err = r.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// unwritten wants that serin is no field manager of anything that is declared.
func (a *argo) unwritten(t *testing.T) {
	t.Helper()
	n := 0
	for id, o := range a.declared {
		r, err := a.resource(o)
		if err != nil {
			t.Fatal(err)
		}
		live, err := r.Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Errorf("%s is declared: %v", id, err)
			continue
		}
		n++
		for _, m := range live.GetManagedFields() {
			if m.Manager == "serin" || m.Manager == "helm" {
				t.Errorf("S-45: %s wrote %s of %s", m.Manager, m.FieldsV1.GetRawString(), id)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d declared objects were looked at", n)
	}
}

// The whole upgrade of a mesh that Argo CD owns, and back from its end: somebody
// commits the folder of each step that serin waits for, and reverts it on the way
// back; nothing that Git declares was written by serin, and no request is lost. S-45.
func TestGitOps_thereAndBack(t *testing.T) {
	nightly(t)
	var git *argo
	w := newWorldBy(t, func(ctx context.Context, l *lab.Lab) error {
		cfg, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
		if err != nil {
			return err
		}
		git = newArgo(cfg)
		return git.install(ctx, l, cfg, "1.27.0")
	}, bookinfo.Options{Drain: 5 * time.Second}, "1.27.0", "1.29.1")
	if err := git.adopt(t.Context(), "default", map[string]any{"istio-injection": "enabled"}); err != nil {
		t.Fatal(err)
	}
	before := w.snapshot()
	if o := before.ControlPlanes[0].Owner; o.Kind != mesh.OwnerArgoCD {
		t.Fatalf("the control plane belongs to %s", o)
	}

	dir := filepath.Join(t.TempDir(), "upgrade")
	request := []string{
		"plan", "--to", "1.29.1", "--charts", w.lab.ChartRepo(), "--soak", "2s", "--min-served", "5",
		"--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host, "-o", "patches", dir,
	}
	w.run(0, request...)
	first := read(t, dir)
	w.run(0, request...)
	if d := cmp.Diff(first, read(t, dir)); d != "" {
		t.Errorf("the same mesh gives other files (-first +second):\n%s", d)
	}
	file := filepath.Join(dir, "plan.yaml")

	if code, said := w.ran("verify", "4", "-f", file, "--timeout", "0s"); code != 3 || !strings.Contains(said, "has no label istio.io/rev=1-29-1") {
		t.Errorf("verify before the commit: %d\n%s", code, said)
	}
	commits := w.drive(0, git, dir, "apply", file, "--approve")
	if len(commits) != 7 {
		t.Errorf("committed for the steps %v", commits)
	}
	git.unwritten(t)
	for _, p := range w.snapshot().Pods {
		if !p.Leaving && (p.Revision != "1-29-1" || p.Version != "1.29.1") {
			t.Errorf("pod %s/%s is on %s %s", p.Namespace, p.Name, p.Revision, p.Version)
		}
	}
	if got := w.namespaceLabels("default"); got["istio-injection"] != "enabled" || got["istio.io/rev"] != "" {
		t.Errorf("S-7: labels %v", got)
	}
	if revs := w.snapshot().Revisions(); !slices.Equal(revs, []string{"1-29-1"}) {
		t.Errorf("revisions %v", revs)
	}
	w.run(0, "verify", "10")
	w.run(3, "verify", "4", "--timeout", "0s") // its labels were restored since

	reverted := w.drive(5, git, "", "rollback")
	if len(reverted) < 6 {
		t.Errorf("reverted for the steps %v", reverted)
	}
	git.unwritten(t)
	if d := cmp.Diff(settle(before), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	t.Logf("Argo CD wrote %d objects", git.wrote)
	w.lost()
}

// read is what a folder holds.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// drive runs serin, and commits, or without a folder reverts, whenever serin says
// that it waits for Git. It returns the steps that were waited for.
func (w *world) drive(code int, git *argo, dir string, args ...string) []int {
	w.t.Helper()
	cmd := w.command(args...)
	cmd.Stderr = w.t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	waits := regexp.MustCompile(`  (\d+)/\d+ (\S+) .*  waiting for Git`)
	var steps []int
	for lines := bufio.NewScanner(out); lines.Scan(); {
		w.t.Log(lines.Text())
		m := waits.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		if slices.Contains(steps, n) {
			continue // the answer has changed, as parts of it come
		}
		steps = append(steps, n)
		if dir == "" {
			err = git.revert(w.t.Context(), n)
		} else {
			err = git.commit(w.t.Context(), n, filepath.Join(dir, fmt.Sprintf("%02d-%s", n, m[2])))
		}
		if err != nil {
			w.t.Errorf("step %d: %v", n, err)
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("serin %s: exit code %d, want %d", strings.Join(args, " "), got, code)
	}
	return steps
}
