package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// loose is a shop whose Deployment cart has controllers and a kubelet: its
// ReplicaSet lets pods go, makes and takes others, and endpoints follow readiness.
type loose struct {
	podWorld

	want    int32
	current string // the ReplicaSet that makes pods
	nobody  bool   // no pod that is made becomes ready
}

func newLoose(t *testing.T, replicas int32) *loose {
	t.Helper()
	d := deployment("shop", "cart", replicas, "app", "cart:1")
	rs := replicaSet("shop", "cart-1", "cart")
	rs.Labels[mesh.HashLabel], rs.Spec.Replicas = "1", &replicas
	objects := append(shopOf(), d, rs,
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}, ClusterIP: "10.0.0.1"}})
	l := &loose{podWorld: podWorld{t: t, fewest: int(replicas)}, want: replicas, current: "cart-1"}
	l.by = l
	for i := range replicas {
		objects = append(objects, l.pod(fmt.Sprintf("cart-1-old%d", i), "default"))
	}
	l.inhabit(objects)
	return l
}

func (l *loose) pod(name, rev string) *corev1.Pod {
	p := pod(name, rev, map[string]string{"default": "1.27.0", "new": "1.29.1"}[rev], controller("ReplicaSet", "apps/v1", l.current))
	p.UID, p.Labels = types.UID(name), map[string]string{"app": "cart", mesh.HashLabel: strings.TrimPrefix(l.current, "cart-")}
	p.CreationTimestamp = metav1.NewTime(time.Unix(int64(1000+l.made), 0))
	return p
}

func (l *loose) patched(a clienttesting.PatchActionImpl) string {
	what := "label"
	switch text := string(a.Patch); {
	case a.Subresource == "status":
		what = "unready"
	case strings.Contains(text, "activeDeadlineSeconds"):
		what = "deadman"
	case strings.Contains(text, "pod-deletion-cost"):
		what = "cheapen"
	case strings.Contains(text, `"pod-template-hash":"`):
		what = "back"
	}
	return what + " " + a.Name
}

func (l *loose) evicted(name string) error {
	return l.kube.Tracker().Delete(pods, "shop", name)
}

func ready(p *corev1.Pod, is corev1.ConditionStatus) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is}}
}

// control is the ReplicaSet's controller, and the endpoints'.
func (l *loose) control() {
	var own []corev1.Pod
	for _, p := range l.pods() {
		owner := metav1.GetControllerOf(&p)
		switch hash := p.Labels[mesh.HashLabel]; {
		case owner != nil && hash == "":
			p.OwnerReferences = nil // released
			l.update(&p)
		case owner == nil && "cart-"+hash == l.current:
			p.OwnerReferences = controller("ReplicaSet", "apps/v1", l.current) // adopted
			l.update(&p)
			own = append(own, p)
		case owner != nil && owner.Name == l.current:
			own = append(own, p)
		}
	}
	for len(own) < int(l.want) {
		l.made++
		p := l.pod(fmt.Sprintf("%s-made%d", l.current, l.made), injects(l.t, l.world))
		if l.nobody {
			ready(p, corev1.ConditionFalse)
		}
		if err := l.kube.Tracker().Create(pods, p, "shop"); err != nil {
			l.t.Error(err)
		}
		own = append(own, *p)
	}
	slices.SortFunc(own, func(a, b corev1.Pod) int { return cost(a) - cost(b) })
	for ; len(own) > int(l.want); own = own[1:] {
		if err := l.kube.Tracker().Delete(pods, "shop", own[0].Name); err != nil {
			l.t.Error(err)
		}
	}
	l.fewest = min(l.fewest, l.list("cart", isReady))
}

func cost(p corev1.Pod) int {
	n, _ := strconv.Atoi(p.Annotations["controller.kubernetes.io/pod-deletion-cost"])
	return n
}

// state is each pod's name without its number, its revision, and what is odd about it.
func (l *loose) state() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, p := range l.pods() {
		text := strings.TrimRight(p.Name, "0123456789") + " " + p.Annotations[mesh.RevLabel]
		if p.Annotations["serin.dev/detached"] != "" || p.Labels[mesh.HashLabel] == "" || metav1.GetControllerOf(&p) == nil {
			text += " detached"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func looseStep() plan.Step {
	st := restartOf(mesh.KindDeployment, "cart", "default", "new")
	st.Number, st.Detach = 3, st.Workloads
	return st
}

func (l *loose) apply() error { return l.move(looseStep()) }

// untouched wants the Deployment as it was and as many endpoints as ever (S-36, S-38).
func (l *loose) untouched() {
	l.t.Helper()
	l.onlyPods("replicasets")
	if l.fewest < int(l.want) {
		l.t.Errorf("there were %d ready endpoints once, of %d pods", l.fewest, l.want)
	}
}

// One pod after the other, there and back, each in the same order; the template is
// never touched and there is no moment with an endpoint less.
func TestDetach_thereAndBack(t *testing.T) {
	l := newLoose(t, 2)
	for range 2 {
		if err := l.apply(); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"label cart-1-old0", "deadman cart-1-old0", "unready cart-1-old0", "evict cart-1-old0",
		"label cart-1-old1", "deadman cart-1-old1", "unready cart-1-old1", "evict cart-1-old1",
	}
	if d := cmp.Diff(want, l.did); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"cart-1-made new", "cart-1-made new"}, l.state()); d != "" {
		t.Error(d)
	}
	if _, err := l.Kube.CoreV1().Namespaces().Update(t.Context(), namespace("shop", mesh.InjectionLabel, "enabled"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.kube.ClearActions()
	if err := l.writer.Revert(t.Context(), looseStep(), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"cart-1-made default", "cart-1-made default"}, l.state()); d != "" {
		t.Error(d)
	}
	l.untouched()
}

// The first pod alone, however often it is asked for.
func TestDetach_theFirstPod(t *testing.T) {
	l := newLoose(t, 3)
	st := looseStep()
	st.Kind = plan.FirstPods
	for range 2 {
		if err := l.writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"cart-1-made new", "cart-1-old default", "cart-1-old default"}, l.state()); d != "" {
		t.Error(d)
	}
	l.untouched()
}

// S-39: only an uninterrupted time counts.
func TestDetach_theKubeletWritesItsOwnViewBack(t *testing.T) {
	l := newLoose(t, 1)
	l.backs = 2
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	want := []string{"label cart-1-old0", "deadman cart-1-old0", "unready cart-1-old0", "unready cart-1-old0", "unready cart-1-old0", "evict cart-1-old0"}
	if d := cmp.Diff(want, l.did); d != "" {
		t.Error(d)
	}
}

// S-39: a pod that is never out of its endpoints for long enough is not taken away.
func TestDetach_theKubeletNeverGivesIn(t *testing.T) {
	l := newLoose(t, 1)
	l.backs = 1000
	if err := l.apply(); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if slices.ContainsFunc(l.did, func(s string) bool { return strings.HasPrefix(s, "evict") }) {
		t.Errorf("%v", l.did)
	}
}

// S-38: 429 holds, and the pod is out of the endpoints again before each try.
func TestDetach_aBudgetHolds(t *testing.T) {
	l := newLoose(t, 1)
	l.holds = 2
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if n := slices.Index(l.did, "evict cart-1-old0"); n != 5 {
		t.Errorf("%v", l.did)
	}
	l.untouched()
}

// S-40, S-41: no pod comes in its place, and the old one is its ReplicaSet's again,
// never unready; it is the new one that goes.
func TestDetach_nobodyComes(t *testing.T) {
	l := newLoose(t, 2)
	l.nobody = true
	l.writer.SetPaces(cluster.Paces{Spread: time.Millisecond, Drop: time.Millisecond, Place: 50 * time.Millisecond, Deadman: time.Hour, Retry: time.Millisecond})
	err := l.apply()
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "1 of 2 pods ready") {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"label cart-1-old0", "cheapen cart-1-made1", "back cart-1-old0"}, l.did); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"cart-1-old default", "cart-1-old default"}, l.state()); d != "" {
		t.Error(d)
	}
	l.untouched()
}

// S-40: a pod of the wrong revision in its place is no replacement.
func TestDetach_theWrongRevisionComes(t *testing.T) {
	l := newLoose(t, 1)
	if _, err := l.Kube.CoreV1().Namespaces().Update(t.Context(), namespace("shop", mesh.InjectionLabel, "enabled"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := l.apply(); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "not on revision new: cart-1-made1 on default") {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"cart-1-old default"}, l.state()); d != "" {
		t.Error(d)
	}
}

// S-36: the process dies before and after each write, and the next one ends what was
// begun; there is never an endpoint less, and nothing is left over.
func TestDetach_killedAroundEachWrite(t *testing.T) {
	for n := range 4 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after it %v", n, after), func(t *testing.T) {
				l := newLoose(t, 1)
				l.fail = func(i int, _ string) (bool, bool) { return i == n && !after, i == n && after }
				if err := l.apply(); !errors.Is(err, errKilled) {
					t.Fatalf("got %v: the fault was not met", err)
				}
				l.fail = nil
				if err := l.apply(); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]string{"cart-1-made new"}, l.state()); d != "" {
					t.Errorf("%s\n%v", d, l.did)
				}
				l.untouched()
			})
		}
	}
}

// S-36: a serin that never returns leaves a pod that ends by itself, and says whose it was.
func TestDetach_theDeadMansSwitch(t *testing.T) {
	l := newLoose(t, 1)
	l.fail = func(_ int, what string) (bool, bool) { return strings.HasPrefix(what, "unready"), false }
	if err := l.apply(); !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
	p, err := l.Kube.CoreV1().Pods("shop").Get(t.Context(), "cart-1-old0", metav1.GetOptions{})
	if err != nil || p.Spec.ActiveDeadlineSeconds == nil {
		t.Fatalf("nothing would ever end it: %v, %v", p, err)
	}
	if want := `{"deployment":"cart","replicaSet":"cart-1","hash":"1","to":"new","plan":"d","step":3}`; p.Annotations["serin.dev/detached"] != want {
		t.Errorf("its mark is %s", p.Annotations["serin.dev/detached"])
	}
	s, err := l.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := s.PodsOf(mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"})
	if len(of) != 2 || !slices.ContainsFunc(of, func(p mesh.Pod) bool { return p.Detached && p.Revision == "default" }) {
		t.Errorf("the mesh has %+v", of)
	}
}

// S-35: somebody rolled the Deployment out meanwhile: the pod that was let go cannot
// come back to a ReplicaSet that is no more, and ends.
func TestDetach_aNewRolloutMeanwhile(t *testing.T) {
	l := newLoose(t, 1)
	l.fail = func(_ int, what string) (bool, bool) { return false, strings.HasPrefix(what, "label") }
	if err := l.apply(); !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
	l.fail = nil
	rs := replicaSet("shop", "cart-2", "cart")
	rs.Labels[mesh.HashLabel] = "2"
	if _, err := l.Kube.AppsV1().ReplicaSets("shop").Create(t.Context(), rs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	none := int32(0)
	update(t, l.world, "replicasets", "cart-1", func(s *appsv1.ReplicaSet) { s.Spec.Replicas = &none })
	l.mu.Lock()
	l.current = "cart-2"
	for _, p := range l.pods() {
		if o := metav1.GetControllerOf(&p); o != nil && o.Name == "cart-1" {
			if err := l.kube.Tracker().Delete(pods, "shop", p.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.control()
	l.mu.Unlock()
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"cart-2-made new"}, l.state()); d != "" {
		t.Error(d)
	}
	if !slices.Contains(l.did, "evict cart-1-old0") {
		t.Errorf("%v", l.did)
	}
}

// S-43: what the API server or a policy would refuse is tried dry. Then the workload
// is rolled out, which is said; or, where nothing else was asked for, refused with
// nothing touched.
func TestDetach_whatMayNotBeWritten(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "cart-1-old0", errors.New("a policy"))
	for name, shut := range map[string]func(*loose){
		"a policy refuses the patch": func(l *loose) { l.dry = forbidden },
		"S-35: a fence is shut by now": func(l *loose) {
			h := &autoscalingv2.HorizontalPodAutoscaler{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
				Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "cart"}},
			}
			if _, err := l.Kube.AutoscalingV2().HorizontalPodAutoscalers("shop").Create(t.Context(), h, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoose(t, 1)
			rolls(t, l.world)
			shut(l)
			asked := plan.Plan{Request: plan.Request{Restarts: plan.Detach}}
			if err := l.writer.Apply(t.Context(), looseStep(), asked, mesh.Snapshot{}); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "shop/cart: ") {
				t.Errorf("got %v", err)
			}
			if n := restarts(l.world); n > 0 && len(l.did) > 0 {
				t.Errorf("%d restarts, %v", n, l.did)
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if told := l.writer.Told(); len(told) != 1 || !strings.Contains(told[0], "shop/cart is rolled out, not detached: ") {
				t.Errorf("told %v", told)
			}
			if cart(t, l.world).Spec.Template.Annotations["serin.dev/restarted"] == "" || len(l.did) > 0 {
				t.Errorf("it was not rolled out: %v", l.did)
			}
		})
	}
}

// S-40: on the way back a pod that was let go comes back at once, as long as none is
// ready in its place; it is the new one that goes.
func TestDetach_backBeforeAnybodyCame(t *testing.T) {
	l := newLoose(t, 1)
	l.nobody = true
	l.fail = func(_ int, what string) (bool, bool) { return false, strings.HasPrefix(what, "label") }
	if err := l.apply(); !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
	l.fail, l.did = nil, nil
	if err := l.writer.Revert(t.Context(), looseStep(), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"cheapen cart-1-made1", "back cart-1-old0"}, l.did); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"cart-1-old default"}, l.state()); d != "" {
		t.Error(d)
	}
	l.untouched()
}

// S-35: a rollout of what was detached before ends the pods that were left.
func TestDetach_thenRolledOut(t *testing.T) {
	l := newLoose(t, 1)
	l.fail = func(_ int, what string) (bool, bool) { return false, strings.HasPrefix(what, "deadman") }
	if err := l.apply(); !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
	l.fail = nil
	if err := l.writer.Apply(t.Context(), restartOf(mesh.KindDeployment, "cart", "default", "new"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"cart-1-made new"}, l.state()); d != "" {
		t.Error(d)
	}
	l.untouched()
}

// S-41: of many pods a few at a time.
func TestDetach_inBatches(t *testing.T) {
	l := newLoose(t, 20)
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"label cart-1-old0", "label cart-1-old1"}, l.did[:2]); d != "" || !strings.HasPrefix(l.did[2], "deadman") {
		t.Errorf("%v", l.did[:4])
	}
	l.untouched()
}
