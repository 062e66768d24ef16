package test_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/load"
)

// edges are the managed Gateways of a world, each under a load of its own.
type edges struct {
	*world
	names []mesh.Object
	loads map[string]*load.Counter
	stop  context.CancelFunc

	within   context.Context //nolint:containedctx // the loads' life
	behind   map[string]*watched
	services map[string]string
}

func gatewaysOf() []mesh.Object {
	return []mesh.Object{{Namespace: "default", Name: "by-label"}, {Namespace: "edge", Name: "by-space"}, {Namespace: "default", Name: "by-default"}}
}

// newEdges is a world at 1.27.0 with the real definitions of the Gateway API, a tag
// prod, and three Gateways that istiod deploys: by its own label, by its
// namespace's, and by nothing.
func newEdges(t *testing.T) *edges {
	t.Helper()
	w := newWorld(t, "1.27.0", "1.29.1")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w.apply(ctx, gatewayDefinitions(t))
	w.run(0, "tag", "set", "prod", "--revision", "default", "-y")
	w.apply(ctx, "testdata/managed.yaml")
	e := &edges{world: w, names: gatewaysOf(), loads: map[string]*load.Counter{}, behind: map[string]*watched{}, services: map[string]string{}}
	within, stop := context.WithCancel(context.Background())
	e.stop, e.within = stop, within
	t.Cleanup(stop)
	for _, g := range e.names {
		at := w.managedAddress(ctx, g)
		if err := bookinfo.WaitServing(ctx, at); err != nil {
			t.Fatalf("%s: %v", g.Name, err)
		}
		e.send(within, g, at)
	}
	return e
}

// send begins a Gateway's load, over all that clients use, and the watch of what is
// behind its Service: the three's and the ingress gateway's are 230 requests a second.
func (e *edges) send(ctx context.Context, g mesh.Object, at string) {
	e.t.Helper()
	e.loads[g.Name] = load.Run(ctx, load.Mixed(load.Config{URL: "http://" + at + bookinfo.Path, Host: bookinfo.Host, Rate: 60})...)
	e.behind[g.Name] = e.watchBehind(g.Namespace, g.Name+"-istio") //nolint:contextcheck // it goes on after this
	e.services[g.Name] = e.identity(g)                             //nolint:contextcheck // it is the test's
}

// identity is what clients know a Gateway's Service by.
func (e *edges) identity(g mesh.Object) string {
	e.t.Helper()
	s, err := e.kube.CoreV1().Services(g.Namespace).Get(e.t.Context(), g.Name+"-istio", metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	b, err := json.Marshal([]any{s.UID, s.Spec.ClusterIPs, s.Spec.Ports, s.Status.LoadBalancer}) // not printed: of a pointer that would be the address
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// kept wants every Gateway's Service as it was, and never without a ready pod.
func (e *edges) kept() {
	e.t.Helper()
	for _, g := range e.names {
		if n, _ := e.behind[g.Name].least(""); n < 1 {
			e.t.Errorf("%s: ready behind its Service at every instant at least %d, want 1", g.Name, n)
		}
		if d := cmp.Diff(e.services[g.Name], e.identity(g)); d != "" {
			e.t.Errorf("%s: its Service is not as it was: %s", g.Name, d)
		}
	}
}

// gatewayDefinitions is the folder of the Gateway API's own definitions, in the
// module that the newer Istio is built with.
func gatewayDefinitions(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = "../build/istio/1.29.1"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("finding the Gateway API: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard")
}

// apply applies a file, or all of a folder's.
func (w *world) apply(ctx context.Context, path string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	if err != nil || len(files) == 0 {
		files = []string{path}
	}
	var objects []*unstructured.Unstructured
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096); ; {
			o := &unstructured.Unstructured{}
			if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				w.t.Fatalf("%s: %v", f, err)
			}
			if o.GetKind() != "" && o.GetKind() != "CustomResourceDefinitionList" {
				objects = append(objects, o)
			}
		}
	}
	err = wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err = bookinfo.Apply(ctx, w.cfg, objects)
		return err == nil, nil // definitions are served a moment after they are made
	})
	if err != nil {
		w.t.Fatalf("applying %s: %v", path, err)
	}
}

// managedAddress is where a Gateway's Service is reached, once it is.
func (w *world) managedAddress(ctx context.Context, g mesh.Object) string {
	w.t.Helper()
	at := ""
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		svc, err := w.kube.CoreV1().Services(g.Namespace).Get(ctx, g.Name+"-istio", metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // istiod has not made it yet
		}
		at = svc.Annotations[bookinfo.AddressAnnotation+".http"]
		return at != "", nil
	})
	if err != nil {
		w.t.Fatalf("the address of %s: %v", g.Name, err)
	}
	return at
}

// lost ends all loads and wants no request of any to have failed.
func (e *edges) lost() {
	e.t.Helper()
	e.kept()
	e.stop()
	for name, l := range e.loads {
		l.Wait()
		s := l.Snapshot()
		e.t.Logf("%s: sent %d (%v) failed %d p50 %s p99 %s", name, s.Sent, s.Kinds, s.Failed, s.P50, s.P99)
		if s.Sent < 100 || s.Failed > 0 {
			e.t.Errorf("%s: %d of %d requests lost", name, s.Failed, s.Sent)
		}
		for i, f := range s.Failures {
			if i < 5 {
				e.t.Logf("%s: lost at %s: %s", name, f.At.Format(time.TimeOnly), f.Cause)
			}
		}
	}
	e.world.lost()
}

// traces are what would be left of serin on the Gateways, and who wrote them.
func (e *edges) traces() string {
	e.t.Helper()
	var out strings.Builder
	list, err := e.api().List(e.t.Context(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, g := range list.Items {
		a := g.GetAnnotations()
		delete(a, "kubectl.kubernetes.io/last-applied-configuration")
		fmt.Fprintln(&out, g.GetNamespace(), g.GetName(), g.GetLabels(), a)
		for _, m := range g.GetManagedFields() {
			if m.Manager == "serin" {
				fmt.Fprintln(&out, "  fields of serin's")
			}
		}
	}
	hooks, err := e.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(e.t.Context(), metav1.ListOptions{LabelSelector: mesh.TagLabel})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, h := range hooks.Items {
		if len(h.Webhooks) == 0 {
			fmt.Fprintln(&out, "claim", h.Name)
		}
	}
	return out.String()
}

// rollouts counts the ReplicaSets of the Gateways' Deployments: each is a rollout.
func (e *edges) rollouts() map[string]int {
	e.t.Helper()
	out := map[string]int{}
	for _, g := range e.names {
		list, err := e.kube.AppsV1().ReplicaSets(g.Namespace).List(e.t.Context(), metav1.ListOptions{LabelSelector: mesh.GatewayNameLabel + "=" + g.Name})
		if err != nil {
			e.t.Fatal(err)
		}
		out[g.Name] = len(list.Items)
	}
	return out
}

// images wants the Gateways' pods to be of a release.
func (e *edges) images(tag string) {
	e.t.Helper()
	for _, g := range e.names {
		list, err := e.kube.CoreV1().Pods(g.Namespace).List(e.t.Context(), metav1.ListOptions{LabelSelector: mesh.GatewayNameLabel + "=" + g.Name})
		if err != nil || len(list.Items) == 0 {
			e.t.Fatalf("%s: its pods: %v", g.Name, err)
		}
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning && !strings.HasSuffix(p.Spec.Containers[0].Image, ":"+tag) {
				e.t.Errorf("%s: pod %s runs %s, want %s", g.Name, p.Name, p.Spec.Containers[0].Image, tag)
			}
		}
	}
}

// Three Gateways that istiod deploys, two behind one tag, one by its own label and
// one by its namespace's, and one behind the default: each moves by itself, there
// and back, under load; none loses a request, none rolls more than once each way,
// and nothing of serin is left on them. S-20 to S-25.
func TestManagedGateway(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	before, start, sets := e.traces(), settle(e.snapshot()), e.rollouts()
	statuses := e.statuses()
	e.run(0, "apply", e.plan("1.29.1"), "--approve")
	e.images("1.29.1")
	for _, g := range e.names {
		e.wasCompared(g)
	}
	for name, n := range statuses() {
		t.Logf("S-23: the status of %s was written %d times", name, n)
	}
	if d := cmp.Diff(before, e.traces()); d != "" {
		t.Errorf("S-20: left on the Gateways (-before +after):\n%s", d)
	}
	for name, n := range e.rollouts() {
		if n != sets[name]+1 {
			t.Errorf("S-22: %s was rolled %d times, want once", name, n-sets[name])
		}
	}
	e.run(5, "rollback")
	e.images("1.27.0")
	if d := cmp.Diff(before, e.traces()); d != "" {
		t.Errorf("S-25: left on the Gateways (-before +after):\n%s", d)
	}
	if d := cmp.Diff(start, settle(e.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	e.lost()
}

// compared is what a Gateway's event says of the comparison before its roll.
var compared = regexp.MustCompile(`^(\d+) resources that its proxies are given compared, as (\d+) istiods? of 1-29-1 and default have them`)

// wasCompared wants the Gateway's configuration to have been compared: its clusters,
// listeners and route tables, as each of the two new istiods gives them.
func (e *edges) wasCompared(g mesh.Object) {
	e.t.Helper()
	for _, said := range e.said(g, "Compared") {
		m := compared.FindStringSubmatch(said)
		if m == nil {
			e.t.Errorf("S-22: %s: %s", g.Name, said)
			continue
		}
		e.t.Logf("S-22: %s: %s", g.Name, said)
		resources, err := strconv.Atoi(m[1])
		if err != nil || resources < 10 || m[2] != "2" {
			e.t.Errorf("S-22: %s: a comparison of %s resources with %s istiods proves nothing", g.Name, m[1], m[2])
		}
		return
	}
	e.t.Errorf("S-22: %s: nothing was compared", g.Name)
}

// said are the messages of a Gateway's events of a reason.
func (e *edges) said(g mesh.Object, reason string) []string {
	e.t.Helper()
	list, err := e.kube.CoreV1().Events(g.Namespace).List(e.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Gateway,involvedObject.name=" + g.Name + ",reason=" + reason})
	if err != nil {
		e.t.Fatal(err)
	}
	var out []string
	for _, ev := range list.Items {
		out = append(out, ev.Message)
	}
	return out
}

// statuses counts the writes of the Gateways' statuses from now on.
func (e *edges) statuses() func() map[string]int {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	w, err := e.api().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	written, last := map[string]int{}, map[string]any{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ev := range w.ResultChan() {
			g, ok := ev.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			was, known := last[g.GetName()]
			if known && !cmp.Equal(was, g.Object["status"]) {
				written[g.GetName()]++
			}
			if _, counts := written[g.GetName()]; !counts {
				written[g.GetName()] = 0
			}
			last[g.GetName()] = g.Object["status"]
		}
	}()
	return func() map[string]int {
		cancel()
		w.Stop()
		<-ended
		return written
	}
}

// What only the istiods of one revision read, of by-label alone: the new one takes the
// host out of its route table; or does not know its second Route, so that the two
// count its Routes differently, each over the other's count.
const (
	hostRemoved = `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: planted, namespace: default, labels: {istio.io/rev: 1-29-1}}, spec: {
  workloadSelector: {labels: {gateway.networking.k8s.io/gateway-name: by-label}},
  configPatches: [{applyTo: VIRTUAL_HOST, match: {context: GATEWAY, routeConfiguration: {vhost: {name: 'bookinfo.example.com:80'}}}, patch: {operation: REMOVE}}]}}`
	timeoutChanged = `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: planted, namespace: default, labels: {istio.io/rev: 1-29-1}}, spec: {
  workloadSelector: {labels: {gateway.networking.k8s.io/gateway-name: by-label}},
  configPatches: [{applyTo: CLUSTER, match: {context: GATEWAY, cluster: {service: details.default.svc.cluster.local}}, patch: {operation: MERGE, value: {connect_timeout: 7s}}}]}}`
	routeUnread = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: planted, namespace: default, labels: {istio.io/rev: default}},
  spec: {parentRefs: [{name: by-label}], hostnames: [only.example.com], rules: [{backendRefs: [{name: details, port: 9080}]}]}}`
)

// A difference that is planted for one Gateway stops its move before any pod of it is
// replaced, with its own label back, and costs nothing; so does a fight over its
// status. Taken back all is as before; accepted, or mended and resumed, it moves. S-22, S-23.
func TestManagedGateway_stopsAtWhatDiffers(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	e.endsTLS(t)
	before, start, sets := e.traces(), settle(e.snapshot()), e.rollouts()
	for _, tt := range []struct {
		name, object string
		says         []string
	}{
		{"a host would be gone", hostRemoved, []string{"dangerous: RDS virtualHosts[] removed", "a host is gone", "none of them was replaced", "--accept 'RDS virtualHosts[] removed'"}},
		{"its status is fought over", routeUnread, []string{"while default and 1-29-1 both claim it, both revisions write its status, and fight over it"}},
	} {
		outer := e.t
		t.Run(tt.name, func(t *testing.T) {
			e.t = t
			defer func() { e.t = outer }()
			mend := objects(tt.object)(e.world)
			statuses := e.statuses()
			code, out := e.ran("apply", e.plan("1.29.1"), "--approve")
			t.Logf("statuses written: %v", statuses())
			for _, s := range append(tt.says, "moving gateway default/by-label to 1-29-1") {
				if code != 4 || !strings.Contains(strings.Join(strings.Fields(out), " "), s) {
					t.Errorf("exit code %d, and %q is not in what it said", code, s)
				}
			}
			if label := e.byLabel().GetLabels()[mesh.RevLabel]; label != "prod" || e.template(t.Context()) != "default" {
				t.Errorf("by-label has label %s, its pods are of %s", label, e.template(t.Context()))
			}
			if n := e.rollouts()["by-label"]; n != sets["by-label"] {
				t.Errorf("by-label was rolled %d times", n-sets["by-label"])
			}
			e.run(5, "rollback")
			mend()
			if d := cmp.Diff(before, e.traces()); d != "" {
				t.Errorf("left on the Gateways (-before +after):\n%s", d)
			}
			if d := cmp.Diff(start, settle(e.snapshot())); d != "" {
				t.Errorf("not as before (-before +after):\n%s", d)
			}
			if n := e.rollouts()["by-label"]; n != sets["by-label"] {
				t.Errorf("by-label was rolled %d times on its way back", n-sets["by-label"])
			}
		})
	}
	mend := objects(timeoutChanged)(e.world)
	if code, out := e.ran("apply", e.plan("1.29.1"), "--approve"); code != 4 || !strings.Contains(out, "unexplained: CDS connectTimeout changed") {
		t.Errorf("unexplained: exit code %d", code)
	}
	e.run(5, "rollback")
	e.run(0, "apply", e.plan("1.29.1", "--accept", "CDS connectTimeout changed"), "--approve")
	e.images("1.29.1")
	for _, name := range []string{"by-label", "by-tls"} {
		e.wasCompared(mesh.Object{Namespace: "default", Name: name})
	}
	mend()
	e.lost()
}

// endsTLS makes one Gateway more, of an HTTPS listener.
func (e *edges) endsTLS(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	chain, key := selfSigned(t, "shop.example.com")
	_, err := e.kube.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "by-tls"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": chain, "tls.key": key},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.apply(ctx, "testdata/managed-tls.yaml")
	eventually(t, "by-tls to have its listener and its pod", func() bool {
		d, err := e.kube.AppsV1().Deployments("default").Get(ctx, "by-tls-istio", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas > 0 && d.Status.ReadyReplicas == d.Status.Replicas
	})
	if err := bookinfo.WaitReady(ctx, e.cfg, "default"); err != nil {
		t.Fatal(err)
	}
}

// part is a moment of a Gateway's move, as the cluster shows it.
type part struct {
	name string
	is   func(g *unstructured.Unstructured, e *edges) bool
}

// Killed as soon as each part of a Gateway's move shows in the cluster, there and
// back, and started again each time: it ends as without. S-49, S-21.
func TestManagedGateway_killedAtEachPart(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	before, start, sets := e.traces(), settle(e.snapshot()), e.rollouts()
	const old, next = "default", "1-29-1"
	tag := mesh.PrivateTag("default", "by-label")
	label := func(g *unstructured.Unstructured) string { return g.GetLabels()[mesh.RevLabel] }
	frozen := func(g *unstructured.Unstructured, _ *edges) bool {
		return g.GetAnnotations()[mesh.VersionAnnotation] == tag
	}
	file := e.plan("1.29.1")
	e.dies([]part{
		{"frozen", frozen},
		{"claimed", func(_ *unstructured.Unstructured, e *edges) bool { return e.claims(tag, next) }},
		{"copied", func(_ *unstructured.Unstructured, e *edges) bool {
			return e.exists(mesh.PrivateTag("default", "by-label of "+next))
		}},
		{"labelled", func(g *unstructured.Unstructured, _ *edges) bool { return label(g) == tag }},
		{"compared", func(_ *unstructured.Unstructured, e *edges) bool {
			return len(e.said(mesh.Object{Namespace: "default", Name: "by-label"}, "Compared")) > 0
		}},
		{"rolling", func(_ *unstructured.Unstructured, e *edges) bool { return e.template(e.t.Context()) == next }},
		{"let go", func(g *unstructured.Unstructured, e *edges) bool { return label(g) == tag && !e.claims(tag, old) }},
		{"returned", func(g *unstructured.Unstructured, e *edges) bool { return label(g) == "prod" && frozen(g, e) }},
	}, 0, "apply", file, "--approve")
	e.images("1.29.1")
	if d := cmp.Diff(before, e.traces()); d != "" {
		t.Errorf("S-20: left on the Gateways (-before +after):\n%s", d)
	}
	for name, n := range e.rollouts() {
		if n != sets[name]+1 {
			t.Errorf("S-22: %s was rolled %d times, want once", name, n-sets[name])
		}
	}
	e.dies([]part{
		{"taken again", func(g *unstructured.Unstructured, _ *edges) bool { return label(g) == tag }},
		{"rolling back", func(_ *unstructured.Unstructured, e *edges) bool { return e.template(e.t.Context()) == old }},
		{"label back", func(g *unstructured.Unstructured, e *edges) bool {
			return label(g) == "prod" && e.template(e.t.Context()) == old && frozen(g, e)
		}},
	}, 5, "rollback")
	e.images("1.27.0")
	if d := cmp.Diff(before, e.traces()); d != "" {
		t.Errorf("S-25: left on the Gateways (-before +after):\n%s", d)
	}
	if d := cmp.Diff(start, settle(e.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
	e.lost()
}

// dies is killed, and then the command is let end.
func (e *edges) dies(parts []part, code int, args ...string) {
	e.t.Helper()
	e.killed(parts, args...)
	e.run(code, args...)
}

// killed runs a command once for each part, and kills it when the part shows.
func (e *edges) killed(parts []part, args ...string) {
	e.t.Helper()
	for _, p := range parts {
		var said bytes.Buffer
		cmd := e.command(args...)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			e.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		ctx, cancel := context.WithTimeout(e.t.Context(), 5*time.Minute)
		err := wait.PollUntilContextCancel(ctx, 30*time.Millisecond, true, func(context.Context) (bool, error) {
			select {
			case <-ended:
				return false, errors.New("serin ended first")
			default:
			}
			return p.is(e.byLabel(), e), nil //nolint:contextcheck // the test's own
		})
		_ = cmd.Process.Kill()
		<-ended
		cancel()
		if err != nil {
			e.t.Fatalf("killing it once %s: %v\n%s", p.name, err, said.String())
		}
		e.t.Logf("killed once %s\n%s", p.name, said.String())
	}
}

func (e *edges) byLabel() *unstructured.Unstructured { return e.gateway("by-label") }

func (e *edges) gateway(name string) *unstructured.Unstructured {
	e.t.Helper()
	g, err := e.api().Namespace("default").Get(e.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return g
}

func (e *edges) exists(name string) bool {
	_, err := e.api().Namespace("default").Get(e.t.Context(), name, metav1.GetOptions{})
	return err == nil
}

func (e *edges) claims(tag, rev string) bool {
	_, err := e.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(e.t.Context(), mesh.ClaimOf(tag, rev).Name, metav1.GetOptions{})
	return err == nil
}

// template is the revision that by-label's Deployment is of.
func (e *edges) template(ctx context.Context) string { return e.templateOf(ctx, "by-label") }

func (e *edges) templateOf(ctx context.Context, name string) string {
	e.t.Helper()
	d, err := e.kube.AppsV1().Deployments("default").Get(ctx, name+"-istio", metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return d.Spec.Template.Annotations[mesh.RevLabel]
}

func (e *edges) api() dynamic.NamespaceableResourceInterface {
	return dynamic.NewForConfigOrDie(e.cfg).Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"})
}

// newcomer is a Gateway that comes while others move, by its own label behind their tag.
func newcomer() mesh.Object { return mesh.Object{Namespace: "default", Name: "newcomer"} }

// arrives makes it, and sends it requests as soon as it serves.
func (e *edges) arrives() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	e.apply(ctx, "testdata/newcomer.yaml")
	at := e.managedAddress(ctx, newcomer())
	if err := bookinfo.WaitServing(ctx, at); err != nil {
		e.t.Fatalf("newcomer: %v", err)
	}
	e.names = append(e.names, newcomer())
	e.send(e.within, newcomer(), at)
}

// One more comes behind the tag while the others move, and serin is killed in that
// moment: started again it holds before anything moves that the newcomer follows,
// and says so. Taken back and planned again with it, killed at each part of the
// newcomer's move, all get there; nobody loses a request, the newcomer neither. S-21.
func TestManagedGateway_oneMoreInTheMiddle(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	const old, next = "default", "1-29-1"
	file := e.plan("1.29.1")
	e.killed([]part{{"rolling", func(_ *unstructured.Unstructured, e *edges) bool { return e.template(e.t.Context()) == next }}}, "apply", file, "--approve")
	e.arrives()
	code, out := e.ran("apply", file, "--approve")
	if code != 4 || !strings.Contains(out, "gateway default/newcomer: new, deployed by revision default, which would lose requests") || !strings.Contains(out, "plan again with it") {
		t.Errorf("started again: exit code %d\n%s", code, out)
	}
	e.dies([]part{{"rolling back", func(_ *unstructured.Unstructured, e *edges) bool { return e.template(e.t.Context()) == old }}}, 5, "rollback")
	e.images("1.27.0")
	before, sets := e.traces(), e.rollouts()

	tag := mesh.PrivateTag("default", "newcomer")
	label := func(e *edges) string { return e.gateway("newcomer").GetLabels()[mesh.RevLabel] }
	frozen := func(e *edges) bool { return e.gateway("newcomer").GetAnnotations()[mesh.VersionAnnotation] == tag }
	e.dies([]part{
		{"frozen", func(_ *unstructured.Unstructured, e *edges) bool { return frozen(e) }},
		{"claimed", func(_ *unstructured.Unstructured, e *edges) bool { return e.claims(tag, next) }},
		{"labelled", func(_ *unstructured.Unstructured, e *edges) bool { return label(e) == tag }},
		{"rolling", func(_ *unstructured.Unstructured, e *edges) bool {
			return e.templateOf(e.t.Context(), "newcomer") == next
		}},
		{"let go", func(_ *unstructured.Unstructured, e *edges) bool { return label(e) == tag && !e.claims(tag, old) }},
		{"returned", func(_ *unstructured.Unstructured, e *edges) bool { return label(e) == "prod" && frozen(e) }},
	}, 0, "apply", e.plan("1.29.1"), "--approve")
	e.images("1.29.1")
	if d := cmp.Diff(before, e.traces()); d != "" {
		t.Errorf("S-20: left on the Gateways (-before +after):\n%s", d)
	}
	for name, n := range e.rollouts() {
		if n > sets[name]+1 {
			t.Errorf("S-22: %s was rolled %d times, want once", name, n-sets[name])
		}
	}
	e.lost()
}

// What the steps are for: a tag that is moved by hand takes the configuration of
// the Gateways that follow it while they serve (S-56, Istio's issue 59959).
func TestManagedGateway_losesWhereItsTagMovesByHand(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	e.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--charts", e.lab.ChartRepo(), "--from-revision", "default", "-y")
	e.arrives()
	e.istioctl("1.29.1", "tag", "set", "prod", "--revision", "1-29-1", "--overwrite", "-y")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, ns := range []string{"default", "edge"} {
		if err := bookinfo.WaitReady(ctx, e.cfg, ns); err != nil {
			t.Fatal(err)
		}
	}
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		return e.template(ctx) == "1-29-1" && e.templateOf(ctx, "newcomer") == "1-29-1" && e.loads["newcomer"].Snapshot().Failed > 0 && e.loads["by-label"].Snapshot().Failed > 0, nil
	})
	e.stop()
	for _, g := range e.names {
		e.loads[g.Name].Wait()
		s := e.loads[g.Name].Snapshot()
		t.Logf("%s: sent %d failed %d", g.Name, s.Sent, s.Failed)
		if g.Name == "by-default" && s.Failed > 0 {
			t.Errorf("its neighbour, which the tag does not lead, lost %d", s.Failed)
		}
	}
	if err != nil {
		t.Errorf("the lab does not lose what real Envoy loses: %v", err)
	}
}
