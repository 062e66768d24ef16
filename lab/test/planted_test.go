package test_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/room"
	"github.com/serin-mesh/serin/internal/shadow"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// next is the revision that the planted regressions are in.
const next = "1-29-1"

// ignored are findings of plan that some of what is planted gives as well: what
// the gate finds is the question.
const ignored = "SRN1057,SRN1305,SRN1308"

// regression is something that only the new control plane, or the cluster as it
// would be for it, gets wrong.
type regression struct {
	name  string
	plant func(w *world) func() // returns what mends it
	state gate.State            // of the gate prove: what is dangerous shuts it, what is unexplained asks a person
	says  string
}

func regressions() []regression {
	return []regression{
		{"a route is lost", objects(lostRoute), gate.Shut, "a route is gone"},
		{"the mTLS mode changes", objects(permissiveAfter), gate.Shut, "the mTLS mode changes"},
		{"an authorization rule is not read", objects(ruleBefore), gate.Shut, "a filter is gone"},
		{"an EnvoyFilter no longer applies", objects(filterBefore), gate.Shut, "a filter is gone"},
		{"Envoy rejects a listener", objects(brokenListener), gate.Shut, "Envoy would reject it"},
		{"the istiod answers slowly", slowIstiods, gate.Unknown, "istiod: the istiod of 1-29-1 takes"},
		{"the webhook injects the wrong image", wrongImage, gate.Shut, "the proxy would not be of version 1.29.1"},
		{"the root CA differs", otherRoot, gate.Shut, "certificates: "},
		{"a policy engine refuses the new pod", objects(proxyPolicy, proxyBinding), gate.Shut, "this proxy is not on the list"},
		{"there is no room for a pod more", noRoom, gate.Unknown, "room: none of the"},
	}
}

// Objects that only one of the two revisions reads, and so what the other has not.
const (
	lostRoute = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: planted, namespace: default, labels: {istio.io/rev: default}},
  spec: {hosts: [details], http: [{match: [{uri: {prefix: /old}}], route: [{destination: {host: ratings}}]}, {route: [{destination: {host: details}}]}]}}`
	permissiveAfter = `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: planted, namespace: default, labels: {istio.io/rev: 1-29-1}},
  spec: {selector: {matchLabels: {app: ratings}}, mtls: {mode: PERMISSIVE}}}`
	ruleBefore = `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: planted, namespace: default, labels: {istio.io/rev: default}},
  spec: {selector: {matchLabels: {app: productpage}}, action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}}`
	filterBefore = `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: planted, namespace: default}, spec: {workloadSelector: {labels: {app: reviews}},
  configPatches: [{applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND, proxy: {proxyVersion: '^1\.27.*'},
    listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}},
   patch: {operation: INSERT_BEFORE, value: {name: shop.guard, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inlineCode: "function envoy_on_request(h) end"}}}}]}}`
	brokenListener = `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: planted, namespace: default, labels: {istio.io/rev: 1-29-1}}, spec: {
  configPatches: [{applyTo: NETWORK_FILTER, match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}},
   patch: {operation: MERGE, value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, max_request_headers_kb: 100000}}}}]}}`
	proxyPolicy = `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: planted}, spec: {failurePolicy: Fail,
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]},
  validations: [{expression: "!has(object.spec.initContainers) || object.spec.initContainers.all(c, !c.image.endsWith('proxyv2:1.29.1'))", message: this proxy is not on the list}]}}`
	proxyBinding = `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: planted},
  spec: {policyName: planted, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}}}`
)

// Before the first move each planted regression is caught by the gate prove, with
// nothing moved and no request lost; no expected rule explains it. Harmless changes
// stop nothing. S-47.
func TestPlanted_regressionsAreCaughtBeforeTheFirstMove(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", next, "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.plant("prove-mesh.yaml")
	state, said, p := w.foreseen(gate.Open, "")
	if state != gate.Open {
		t.Fatalf("before anything is planted the gate is %s: %s", state, said)
	}
	w.planted()
	expected := explained(p)
	before, pods := settle(w.snapshot()), w.podNames()
	for _, r := range regressions() {
		t.Run(r.name, func(t *testing.T) {
			outer := w.t
			w.t = t
			defer func() { w.t = outer }()
			mend := once(r.plant(w))
			defer mend()
			state, said, p := w.foreseen(r.state, r.says)
			t.Logf("gate prove: %s: %s", state, said)
			if state != r.state || !strings.Contains(said, r.says) {
				t.Errorf("gate prove is %s, want %s and %q: %s", state, r.state, r.says, said)
			}
			if more := slices.DeleteFunc(explained(p), func(e string) bool { return slices.Contains(expected, e) }); len(more) > 0 {
				t.Errorf("a rule explains what was planted: %v", more)
			}
			if code, out := w.ran("apply", w.plan("1.29.1", "--ignore-check", ignored, "--patience", "20s"), "--approve"); code != 4 || !strings.Contains(out, "prove") {
				t.Errorf("apply: exit code %d", code)
			}
			if d := cmp.Diff(pods, w.podNames()); d != "" {
				t.Errorf("pods have moved (-before +now):\n%s", d)
			}
			w.run(5, "rollback")
			mend()
			if state, said, _ := w.foreseen(gate.Open, ""); state != gate.Open {
				t.Errorf("mended, the gate is %s: %s", state, said)
			}
			if lost := w.tally(); lost > 0 {
				t.Errorf("%d requests lost", lost)
			}
			if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
				t.Errorf("S-51: not as before (-before +after):\n%s", d)
			}
		})
	}
	w.harmless(t)
	w.run(0, "apply", w.plan("1.29.1", "--ignore-check", ignored), "--approve")
	w.lost()
}

// once runs a function once, whoever asks.
func once(f func()) func() {
	done := false
	return func() {
		if !done {
			done = true
			f()
		}
	}
}

// foreseen is what the gate prove says, once it says what is looked for or time is up:
// istiods read what is planted a moment after it is stored.
func (w *world) foreseen(want gate.State, says string) (gate.State, string, shadow.Proof) {
	w.t.Helper()
	var (
		v gate.Verdict
		p shadow.Proof
	)
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		out, _ := w.command("prove", "-r", next, "-o", "json").Output() // its exit code is the verdict's
		p = shadow.Proof{}
		if err := json.Unmarshal(out, &p); err != nil {
			w.t.Logf("serin prove: %v\n%s", err, out)
			continue
		}
		s := w.snapshot()
		f, err := evidence.Foresee(w.t.Context(), answer{p}, s, evidence.Moves{To: next, From: []string{"default"}})
		if err != nil { // answers that are late leave the gate unknown
			v = gate.Verdict{State: gate.Unknown, Reason: err.Error()}
			if want == gate.Unknown && strings.Contains(v.Reason, says) {
				break
			}
			continue
		}
		v = gate.Judge(gate.Prove, gate.Question{Revision: next, Step: 4}, gate.Evidence{Snapshot: s, Foresight: &f})
		if all := fmt.Sprint(f.Found); v.State == want && strings.Contains(all, says) {
			if !strings.Contains(v.Reason, says) {
				v.Reason += "; " + all
			}
			break
		}
	}
	return v.State, v.Reason, p
}

// answer is a proof that was had already.
type answer struct{ shadow.Proof }

// Prove implements evidence.Prover.
func (a answer) Prove(context.Context, shadow.Question) (shadow.Proof, error) { return a.Proof, nil }

// explained are the differences that rules explain, each with its values.
func explained(p shadow.Proof) []string {
	var out []string
	for _, d := range slices.Concat(p.Injection.Differences, p.Configuration.Differences) {
		if d.Class == shadow.Expected {
			out = append(out, d.Rule+" "+d.Pattern())
		}
	}
	return out
}

// podNames are the pods of the sample and its gateway.
func (w *world) podNames() []string {
	w.t.Helper()
	var out []string
	for _, ns := range []string{"default", "istio-ingress"} {
		list, err := w.kube.CoreV1().Pods(ns).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range list.Items {
			if p.Labels["planted"] == "" {
				out = append(out, ns+"/"+p.Name)
			}
		}
	}
	return out
}

// objects plants objects as they are written down.
func objects(texts ...string) func(*world) func() {
	return func(w *world) func() {
		var gone []func()
		for _, text := range texts {
			gone = append(gone, w.object(text))
		}
		return func() {
			for _, f := range slices.Backward(gone) {
				f()
			}
		}
	}
}

// object makes an object and returns what removes it.
func (w *world) object(text string) func() {
	w.t.Helper()
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		w.t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	kind, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	kind.Resource = strings.Replace(kind.Resource, "gatewaies", "gateways", 1)
	r := client.Resource(kind).Namespace(o.GetNamespace())
	w.until("making "+o.GetKind()+" "+o.GetName(), func() string {
		if _, err := r.Create(w.t.Context(), &o, metav1.CreateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	return func() {
		if err := r.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}); err != nil {
			w.t.Errorf("removing %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func slowIstiods(w *world) func() {
	w.istiods(next, "slow-istiod", "1500ms")
	return func() { w.istiods(next, "slow-istiod", "0s") }
}

// wrongImage changes the new revision's injector, which reads it when it starts.
func wrongImage(w *world) func() {
	const name = "istio-sidecar-injector-" + next
	was := w.configMap(name)
	changed := maps.Clone(was)
	changed["values"] = regexp.MustCompile(`"tag": *"1\.29\.1"`).ReplaceAllString(was["values"], `"tag": "1.28.0"`)
	if changed["values"] == was["values"] {
		w.t.Fatalf("the injector names no version:\n%.2000s", was["values"])
	}
	w.setConfigMap(name, changed)
	w.renew()
	return func() {
		w.setConfigMap(name, was)
		w.renew()
	}
}

func (w *world) configMap(name string) map[string]string {
	w.t.Helper()
	cm, err := w.kube.CoreV1().ConfigMaps("istio-system").Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return cm.Data
}

func (w *world) setConfigMap(name string, data map[string]string) {
	w.t.Helper()
	cm, err := w.kube.CoreV1().ConfigMaps("istio-system").Get(w.t.Context(), name, metav1.GetOptions{})
	if err == nil {
		cm.Data = data
		_, err = w.kube.CoreV1().ConfigMaps("istio-system").Update(w.t.Context(), cm, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// renew replaces the istiods of the new revision, and waits for those that come.
func (w *world) renew() {
	w.t.Helper()
	pods := w.kube.CoreV1().Pods("istio-system")
	of := metav1.ListOptions{LabelSelector: "app=istiod,istio.io/rev=" + next}
	old, err := pods.List(w.t.Context(), of)
	if err != nil {
		w.t.Fatal(err)
	}
	was := map[string]bool{}
	for _, p := range old.Items {
		was[p.Name] = true
		if err := pods.Delete(w.t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.until("new istiods", func() string {
		now, err := pods.List(w.t.Context(), of)
		if err != nil {
			return err.Error()
		}
		ready := 0
		for _, p := range now.Items {
			if was[p.Name] {
				return "istiod " + p.Name + " is there"
			}
			if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
				ready++
			}
		}
		if ready < len(was) {
			return fmt.Sprintf("%d of %d ready", ready, len(was))
		}
		return ""
	})
}

// otherRoot is a Secret cacerts that was made after the old istiod had begun: only
// istiods that start now sign by it.
func otherRoot(w *world) func() {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cacerts", Namespace: "istio-system"}, Data: plugged(w.t)}
	secrets := w.kube.CoreV1().Secrets("istio-system")
	if _, err := secrets.Create(w.t.Context(), secret, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.renew()
	return func() {
		if err := secrets.Delete(context.Background(), secret.Name, metav1.DeleteOptions{}); err != nil {
			w.t.Error(err)
		}
		w.renew()
	}
}

// noRoom fills every node but for what is less than a pod.
func noRoom(w *world) func() {
	nodes, err := w.kube.CoreV1().Nodes().List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	pods, err := w.kube.CoreV1().Pods("").List(w.t.Context(), metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	if err != nil {
		w.t.Fatal(err)
	}
	var gone []func()
	for _, n := range nodes.Items {
		free := n.Status.Allocatable.Cpu().MilliValue()
		for _, p := range pods.Items {
			if p.Spec.NodeName == n.Name {
				free -= room.Asked(p.Spec).CPU
			}
		}
		gone = append(gone, w.object(fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: filler-%s, namespace: kube-system, labels: {planted: filler}, annotations: {sidecar.istio.io/inject: "false"}},
  spec: {nodeName: %s, containers: [{name: app, image: "docker.io/serin/app:1", resources: {requests: {cpu: %dm}}}]}}`, n.Name, n.Name, max(1, free-5))))
	}
	return func() {
		for _, f := range gone {
			f()
		}
	}
}
