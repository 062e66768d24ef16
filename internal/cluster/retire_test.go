package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// inOrder is a shop whose StatefulSet db, or DaemonSet log, has a controller that
// makes each pod again where it was, and a kubelet.
type inOrder struct {
	podWorld

	kind   mesh.WorkloadKind
	name   string
	never  bool // no pod that is made becomes ready
	listed bool // a pod was evicted while a list had it as ready
}

func newInOrder(t *testing.T, kind mesh.WorkloadKind, services ...*corev1.Service) *inOrder {
	t.Helper()
	const n = 3
	l := &inOrder{podWorld: podWorld{t: t, fewest: n}, kind: kind, name: map[mesh.WorkloadKind]string{mesh.KindStatefulSet: "db", mesh.KindDaemonSet: "log"}[kind]}
	l.by = l
	meta := metav1.ObjectMeta{Namespace: "shop", Name: l.name, UID: types.UID(l.name), Generation: 1}
	sel := &metav1.LabelSelector{MatchLabels: map[string]string{"app": l.name}}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: sel.MatchLabels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	replicas := int32(n)
	objects := shopOf()
	if kind == mesh.KindStatefulSet {
		objects = append(objects, &appsv1.StatefulSet{
			ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: sel, Template: template},
			Status: appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n},
		})
	} else {
		objects = append(objects, &appsv1.DaemonSet{
			ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: sel, Template: template},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: n, UpdatedNumberScheduled: n, NumberReady: n, NumberAvailable: n},
		})
	}
	if len(services) == 0 {
		services = []*corev1.Service{l.service("front", "10.0.0.1"), l.service("peers", corev1.ClusterIPNone)}
	}
	for _, s := range services {
		s.Spec.Selector = sel.MatchLabels
		objects = append(objects, s)
	}
	for i := range n {
		objects = append(objects, l.pod(fmt.Sprintf("%s-%d", l.name, i), "default"))
	}
	l.inhabit(objects)
	return l
}

func (l *inOrder) service(name, ip string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, PublishNotReadyAddresses: ip == corev1.ClusterIPNone}}
}

func (l *inOrder) pod(name, rev string) *corev1.Pod {
	p := pod(name, rev, map[string]string{"default": "1.27.0", "new": "1.29.1"}[rev], controller(string(l.kind), "apps/v1", l.name))
	l.made++
	p.UID, p.Labels = types.UID(fmt.Sprintf("%s-%d", name, l.made)), map[string]string{"app": l.name}
	p.CreationTimestamp = metav1.NewTime(time.Unix(int64(1000+l.made), 0))
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue})
	return p
}

func (l *inOrder) patched(a clienttesting.PatchActionImpl) string {
	return strings.TrimSpace(a.Subresource + " " + a.Name)
}

// evicted is the pod's end, and its controller.
func (l *inOrder) evicted(name string) error {
	for _, p := range l.pods() {
		l.listed = l.listed || p.Name == name && isReady(&p)
	}
	if err := l.kube.Tracker().Delete(pods, "shop", name); err != nil {
		return err
	}
	p := l.pod(name, injects(l.t, l.world))
	if l.never {
		long := metav1.NewTime(time.Unix(1000, 0))
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: corev1.ContainersReady, Status: corev1.ConditionFalse, LastTransitionTime: long}}
	}
	return l.kube.Tracker().Create(pods, p, "shop")
}

// control lists the pods: front's endpoints follow readiness; peers publishes what
// is not ready, too.
func (l *inOrder) control() {
	l.fewest = min(l.fewest, l.list("front", isReady))
	l.list("peers", func(*corev1.Pod) bool { return true })
}

func (l *inOrder) step() plan.Step {
	st := restartOf(l.kind, l.name, "default", "new")
	st.Number, st.Detach = 3, st.Workloads
	return st
}

func (l *inOrder) apply() error { return l.move(l.step()) }

func (l *inOrder) labelBack() {
	l.t.Helper()
	if _, err := l.Kube.CoreV1().Namespaces().Update(l.t.Context(), namespace("shop", mesh.InjectionLabel, "enabled"), metav1.UpdateOptions{}); err != nil {
		l.t.Fatal(err)
	}
	l.kube.ClearActions()
}

func (l *inOrder) on(rev string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pods() {
		if p.Annotations[mesh.RevLabel] != rev || !isReady(&p) {
			l.t.Errorf("%s is on %s, ready %v", p.Name, p.Annotations[mesh.RevLabel], isReady(&p))
		}
	}
	if l.listed {
		l.t.Error("a pod went while its endpoint was ready")
	}
	if l.fewest < 2 {
		l.t.Errorf("there were %d ready endpoints once, of 3", l.fewest)
	}
	l.onlyPods()
}

// S-39, S-42: each pod is out of its endpoints before it goes, one at a time, the last
// of a StatefulSet first; there and back, and no template is touched. What a headless
// Service publishes is not waited for.
func TestRetire_thereAndBack(t *testing.T) {
	for kind, order := range map[mesh.WorkloadKind][]string{
		mesh.KindStatefulSet: {"status db-2", "evict db-2", "status db-1", "evict db-1", "status db-0", "evict db-0"},
		mesh.KindDaemonSet:   {"status log-0", "evict log-0", "status log-1", "evict log-1", "status log-2", "evict log-2"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			l := newInOrder(t, kind)
			for range 2 { // it is idempotent
				if err := l.apply(); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(order, slices.Compact(l.did)); d != "" {
				t.Error(d)
			}
			l.on("new")
			l.labelBack()
			if err := l.writer.Revert(t.Context(), l.step(), plan.Plan{}, mesh.Snapshot{}); err != nil {
				t.Fatal(err)
			}
			l.on("default")
		})
	}
}

// The first pod alone, however often it is asked for, and back again.
func TestRetire_theFirstPod(t *testing.T) {
	l := newInOrder(t, mesh.KindStatefulSet)
	st := l.step()
	st.Kind = plan.FirstPods
	for range 2 {
		if err := l.writer.Apply(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"status db-2", "evict db-2"}, slices.Compact(l.did)); d != "" {
		t.Error(d)
	}
	l.labelBack()
	if err := l.writer.Revert(t.Context(), st, plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	l.on("default")
}

// S-39: only an uninterrupted time counts; one that never is out for long enough stays.
func TestRetire_theKubeletWritesItsOwnViewBack(t *testing.T) {
	l := newInOrder(t, mesh.KindStatefulSet)
	l.backs = 2
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if n := slices.Index(l.did, "evict db-2"); n < 3 {
		t.Errorf("%v", l.did)
	}
	l.on("new")

	l = newInOrder(t, mesh.KindStatefulSet)
	l.backs = 1000
	if err := l.apply(); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if slices.ContainsFunc(l.did, func(s string) bool { return strings.HasPrefix(s, "evict") }) {
		t.Errorf("%v", l.did)
	}
}

// S-38: a budget that holds is waited for.
func TestRetire_aBudgetHolds(t *testing.T) {
	l := newInOrder(t, mesh.KindDaemonSet)
	l.holds = 2
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if n := slices.Index(l.did, "evict log-0"); n < 3 {
		t.Errorf("%v", l.did)
	}
	l.on("new")
}

// The process dies before and after each write, and the next one goes on: no two pods
// are away at once, and none goes that is listed.
func TestRetire_killedAroundEachWrite(t *testing.T) {
	for n := range 6 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after it %v", n, after), func(t *testing.T) {
				l := newInOrder(t, mesh.KindStatefulSet)
				l.fail = func(i int, _ string) (bool, bool) { return i == n && !after, i == n && after }
				if err := l.apply(); !errors.Is(err, errKilled) {
					t.Fatalf("got %v: the fault was not met", err)
				}
				l.fail = nil
				if err := l.apply(); err != nil {
					t.Fatal(err)
				}
				l.on("new")
			})
		}
	}
}

// The pod that is made again does not become ready: nothing more goes, and on the way
// back that one is not waited for.
func TestRetire_itIsNotThereAgain(t *testing.T) {
	l := newInOrder(t, mesh.KindStatefulSet)
	l.never = true
	l.writer.SetPaces(cluster.Paces{Spread: time.Millisecond, Drop: time.Millisecond, Place: 50 * time.Millisecond, Deadman: time.Hour, Retry: time.Millisecond})
	if err := l.apply(); !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "pod db-2 has gone and is not there again") {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"status db-2", "evict db-2"}, slices.Compact(l.did)); d != "" {
		t.Error(d)
	}
	l.never = false
	l.labelBack()
	if err := l.writer.Revert(t.Context(), l.step(), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	l.on("default")
}

// S-39, S-42: what may not leave its endpoints first is rolled out, and the run says why.
func TestRetire_aFenceIsShut(t *testing.T) {
	public := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "front"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1", Type: corev1.ServiceTypeLoadBalancer}}
	l := newInOrder(t, mesh.KindStatefulSet, public)
	l.kube.PrependReactor("patch", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("statefulsets"), "db", errors.New("this is the rollout"))
	})
	if err := l.apply(); err == nil || !strings.Contains(err.Error(), "this is the rollout") {
		t.Errorf("got %v", err)
	}
	if told := l.writer.Told(); len(told) != 1 || !strings.Contains(told[0], "is rolled out, not detached: service shop/front is of type LoadBalancer") {
		t.Errorf("told %v", told)
	}
	if len(l.did) > 0 {
		t.Errorf("%v", l.did)
	}
}
