package test_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
)

// started is a serin in the background, and what waits for its end.
func (w *world) started(args ...string) (*exec.Cmd, func() (int, string)) {
	w.t.Helper()
	var said bytes.Buffer
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd, func() (int, string) {
		err := cmd.Wait()
		w.t.Logf("serin %s: %v\n%s", strings.Join(args, " "), err, said.String())
		return cmd.ProcessState.ExitCode(), said.String()
	}
}

// letGo waits until a pod of the namespace was let go and is as wanted.
func (w *world) letGo(want func(*corev1.Pod) bool) corev1.Pod {
	w.t.Helper()
	var found corev1.Pod
	w.until("a pod that was let go", func() string {
		list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "!pod-template-hash"})
		if err != nil {
			return err.Error()
		}
		for _, p := range list.Items {
			if p.Annotations["serin.dev/detached"] != "" && p.DeletionTimestamp == nil && want(&p) {
				found = p
				return ""
			}
		}
		return "none"
	})
	return found
}

// A kubelet that writes Ready: True back faster than proxies drop an endpoint: the old
// pod is never taken away while it may be sent requests; it serves on, has its dead
// man's switch, and goes when its kubelet gives in. S-36, S-39.
func TestDetach_theKubeletInsists(t *testing.T) {
	w := beside(t)
	w.fault("insist", "default/details-v1")
	code, said := w.ran("restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s")
	if code != 4 || !strings.Contains(said, "its kubelet said 10 times that it is ready") {
		t.Errorf("exit code %d", code)
	}
	p := w.letGo(func(p *corev1.Pod) bool { return p.Labels["app"] == "details" })
	if p.Spec.ActiveDeadlineSeconds == nil {
		t.Error("nothing would ever end it")
	}
	if now := w.pods("details", "v1"); len(now["1-29-1"]) != 1 || len(now["default"]) != 1 {
		t.Errorf("got %v", now)
	}
	if _, out := w.ran("precheck"); !strings.Contains(out, "SRN1068 pod default/"+p.Name) {
		t.Error("nobody names the pod that was let go")
	}
	w.fault("give-in", "default/details-v1")
	w.run(0, "resume")
	if left := w.marks(); len(left) > 0 {
		t.Errorf("let go and left: %v", left)
	}
	if now := w.pods("details", "v1"); len(now["1-29-1"]) != 1 || len(now) != 1 {
		t.Errorf("got %v", now)
	}
	w.lost()
}

// Serin is killed in the middle and never comes back. Before another pod has its place
// the old one serves, and precheck names it; afterwards its node ends it, and the
// Deployment has its pod. No request is lost until that end. S-36.
func TestDetach_killedForGood(t *testing.T) {
	w := beside(t)
	cmd, end := w.started("restart", "-n", "default", "ratings-v1", "--method", "detach", "--soak", "1s")
	p := w.letGo(func(*corev1.Pod) bool { return true })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = end()
	w.until("another pod beside it", func() string {
		if now := w.pods("ratings", "v1"); len(now["1-29-1"]) != 1 || len(now["default"]) != 1 {
			return fmt.Sprint(now)
		}
		return ""
	})
	if _, out := w.ran("precheck"); !strings.Contains(out, "SRN1068 pod default/"+p.Name) {
		t.Error("nobody names the pod that was let go")
	}
	w.run(0, "resume")
	w.until("the new pod alone", func() string { return strings.Join(w.marks(), ", ") })

	cmd, end = w.started("restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s")
	p = w.letGo(func(p *corev1.Pod) bool { return p.Spec.ActiveDeadlineSeconds != nil })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = end()
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost until serin was killed", lost)
	}
	age := time.Since(p.Status.StartTime.Time)
	if d := time.Duration(*p.Spec.ActiveDeadlineSeconds) * time.Second; d < 29*time.Minute || d > age+31*time.Minute {
		t.Errorf("it ends after %s, and is %s old", d, age)
	}
	// Half an hour passes: the deadline may be made shorter, never longer.
	soon := fmt.Appendf(nil, `{"spec":{"activeDeadlineSeconds":%d}}`, int(time.Since(p.Status.StartTime.Time)/time.Second)+3)
	if _, err := w.kube.CoreV1().Pods("default").Patch(t.Context(), p.Name, types.StrategicMergePatchType, soon, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("its end", func() string {
		now, err := w.kube.CoreV1().Pods("default").Get(t.Context(), p.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodFailed {
			return string(now.Status.Phase)
		}
		return ""
	})
	if now := w.pods("details", "v1"); len(now["1-29-1"]) != 1 || len(now) != 1 {
		t.Errorf("got %v", now)
	}
	t.Logf("lost by the end that its node made: %d", w.tally())
	w.until("an endpoint", func() string {
		list, err := w.kube.DiscoveryV1().EndpointSlices("default").List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=details"})
		if err != nil {
			return err.Error()
		}
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				if e.TargetRef != nil && e.TargetRef.Name == p.Name && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					return p.Name + " is listed"
				}
			}
		}
		return ""
	})
}

// rules are what istiod has sent a pod's proxy to authorise requests by: its RBAC
// filters, as its Envoy would have them. Empty where it cannot be asked.
func (w *world) rules(pod string) string {
	w.t.Helper()
	b, err := w.command("proxy-config", "listeners", pod+".default", "-o", "json").Output()
	if err != nil {
		return ""
	}
	var all any
	if err := json.Unmarshal(b, &all); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]bool{}
	filters(all, found)
	names := make([]string, 0, len(found))
	for f := range found {
		names = append(names, f)
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// filters collects the RBAC filters of a listener, whatever they stand in.
func filters(v any, found map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if name, _ := v["name"].(string); strings.HasSuffix(name, "filters.http.rbac") || strings.HasSuffix(name, "filters.network.rbac") {
			b, err := json.Marshal(v)
			if err == nil {
				found[string(b)] = true
			}
			return
		}
		for _, x := range v {
			filters(x, found)
		}
	case []any:
		for _, x := range v {
			filters(x, found)
		}
	}
}

// AuthorizationPolicies that select on labels a pod keeps when it is let go: its proxy
// has the same rules before and while it is detached, learns of a rule that comes
// meanwhile, and the pod in its place has them before it is sent anything. S-37.
func TestDetach_policiesHold(t *testing.T) {
	w := beside(t)
	policies := dynamic.NewForConfigOrDie(w.cfg).Resource(schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: "authorizationpolicies"}).Namespace("default")
	policy := func(name, action string, labels map[string]any, rule map[string]any) {
		t.Helper()
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": map[string]any{"name": name, "namespace": "default"},
			"spec": map[string]any{"action": action, "selector": map[string]any{"matchLabels": labels}, "rules": []any{rule}},
		}}
		if _, err := policies.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	paths := func(p string) map[string]any {
		return map[string]any{"to": []any{map[string]any{"operation": map[string]any{"paths": []any{p}}}}}
	}
	policy("callers", "ALLOW", map[string]any{"app": "details"}, map[string]any{"from": []any{map[string]any{"source": map[string]any{"principals": []any{"cluster.local/ns/default/sa/bookinfo-productpage"}}}}})
	policy("secret", "DENY", map[string]any{"app": "details", "version": "v1"}, paths("/secret"))
	policy("others", "DENY", map[string]any{"app": "reviews"}, paths("/not-of-details"))

	var old string
	list, err := w.kube.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=details"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%v, %d pods", err, len(list.Items))
	}
	old = list.Items[0].Name
	var before string
	w.until("the policies at the old pod", func() string {
		before = w.rules(old)
		if !strings.Contains(before, "/secret") || !strings.Contains(before, "bookinfo-productpage") {
			return "not there"
		}
		return ""
	})
	if strings.Contains(before, "not-of-details") {
		t.Fatal("a policy of others is there: the test tells nothing apart")
	}

	w.fault("stall", "default/details-v1") // so that it stays detached for a while
	_, end := w.started("restart", "-n", "default", "details-v1", "--method", "detach", "--soak", "1s")
	if p := w.letGo(func(*corev1.Pod) bool { return true }); p.Name != old {
		t.Fatalf("%s was let go, and not %s", p.Name, old)
	}
	for range 5 {
		if d := cmp.Diff(before, w.rules(old)); d != "" {
			t.Fatalf("the rules of a detached pod changed: %s", d)
		}
	}
	policy("later", "DENY", map[string]any{"app": "details"}, paths("/later"))
	var during string
	w.until("a rule that came meanwhile", func() string {
		if during = w.rules(old); !strings.Contains(during, "/later") || !strings.Contains(during, "/secret") || !strings.Contains(during, "bookinfo-productpage") {
			return "the detached pod does not have it"
		}
		return ""
	})
	w.fault("unstall", "default/details-v1")
	var next string
	w.until("the pod in its place", func() string {
		list, err := w.kube.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=details,pod-template-hash"})
		if err != nil {
			return err.Error()
		}
		for _, p := range list.Items {
			if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				next = p.Name
				return ""
			}
		}
		return "not ready"
	})
	for _, want := range []string{"/secret", "/later", "bookinfo-productpage"} {
		if !strings.Contains(w.rules(next), want) {
			t.Errorf("the new pod was ready without the rule of %s", want)
		}
	}
	if code, _ := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if now := w.rules(next); strings.Count(now, "ns[default]-policy[") != strings.Count(during, "ns[default]-policy[") {
		t.Errorf("the new pod has other policies (-old +new): %s", cmp.Diff(during, now))
	}
	w.lost()
}

// Disruption budgets that allow nothing of one pod: the pod that is let go counts as
// healthy while it serves, is not missed once it is unready, and its eviction is let
// through. What the budgets said meanwhile is logged. S-38.
func TestDetach_underBudgets(t *testing.T) {
	w := beside(t)
	one, zero, all := intstr.FromInt32(1), intstr.FromInt32(0), intstr.FromString("100%")
	for app, spec := range map[string]policyv1.PodDisruptionBudgetSpec{"details": {MinAvailable: &one}, "ratings": {MaxUnavailable: &zero}, "reviews": {MinAvailable: &all}} {
		spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app, "version": "v1"}}
		b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: app}, Spec: spec}
		if _, err := w.kube.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	budgets, err := w.kube.PolicyV1().PodDisruptionBudgets("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan []string)
	go func() {
		var lines []string
		for e := range budgets.ResultChan() {
			if b, ok := e.Object.(*policyv1.PodDisruptionBudget); ok {
				s := b.Status
				lines = append(lines, fmt.Sprintf("%s: %d healthy of %d, %d wanted, %d may go", b.Name, s.CurrentHealthy, s.ExpectedPods, s.DesiredHealthy, s.DisruptionsAllowed))
			}
		}
		said <- lines
	}()
	w.run(0, "restart", "-n", "default", "details-v1", "ratings-v1", "reviews-v1", "--method", "detach", "--soak", "2s")
	budgets.Stop()
	t.Logf("what the budgets said:\n%s", strings.Join(slices.Compact(<-said), "\n"))
	for _, app := range []string{"details", "ratings", "reviews"} {
		if now := w.pods(app, "v1"); len(now["1-29-1"]) != 1 || len(now) != 1 {
			t.Errorf("%s: got %v", app, now)
		}
	}
	w.lost()
}
