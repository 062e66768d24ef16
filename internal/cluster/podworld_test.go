package cluster_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// podWorld is a namespace whose pods have a controller and a kubelet, and endpoints
// that follow their readiness. What the controller does is for who embeds it to say.
type podWorld struct {
	*world

	t      *testing.T
	writer *cluster.Writer

	mu     sync.Mutex
	made   int
	did    []string // writes to pods, in order
	fewest int      // endpoints that were ready at once
	holds  int      // evictions that are answered 429
	backs  int      // times that the kubelet writes its own view of an unready pod back
	dry    error    // of every dry run
	fail   func(n int, what string) (before, after bool)

	by controllers
}

// controllers are those of a workload's pods.
type controllers interface {
	control()                                     // after each write, that of the endpoints too
	patched(clienttesting.PatchActionImpl) string // what a patch does, in a word
	evicted(pod string) error
}

var (
	pods      = corev1.SchemeGroupVersion.WithResource("pods")
	errKilled = errors.New("killed")
)

// inhabit makes the world of the objects, and its writer.
func (w *podWorld) inhabit(objects []runtime.Object) {
	w.t.Helper()
	w.world = newWorld(w.t, objects...)
	w.writer = cluster.WriterOf(w.Clients, istioSystem, nil, w.reader())
	w.writer.SetPaces(cluster.Paces{Spread: time.Millisecond, Drop: 30 * time.Millisecond, Place: 2 * time.Second, Deadman: time.Hour, Retry: time.Millisecond})
	w.by.control()
	w.kube.PrependReactor("*", "pods", w.react)
	toNew(w.t, w.world)
}

// shopOf is what is in the cluster besides a shop's workload.
func shopOf() []runtime.Object {
	return []runtime.Object{
		namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), istiod("default", "1.27.0", 1), injector("default", "root"), istiodService("default"),
	}
}

// react is the API server, the controllers and the kubelet.
func (w *podWorld) react(a clienttesting.Action) (bool, runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch a := a.(type) {
	case clienttesting.PatchActionImpl:
		if len(a.PatchOptions.DryRun) > 0 {
			return true, &corev1.Pod{}, w.dry
		}
		what := w.by.patched(a)
		return w.write(what, func() (runtime.Object, error) {
			_, o, err := clienttesting.ObjectReaction(w.kube.Tracker())(a)
			if err == nil && a.Subresource == "status" && w.backs > 0 {
				w.backs--
				go w.writeBack(a.Name)
			}
			return o, err
		})
	case clienttesting.CreateActionImpl:
		e, ok := a.Object.(*policyv1.Eviction)
		if !ok {
			return false, nil, nil
		}
		if len(e.DeleteOptions.DryRun) > 0 {
			return true, nil, w.dry
		}
		if w.holds > 0 {
			w.holds--
			return true, nil, apierrors.NewTooManyRequests("the budget holds it", 0)
		}
		return w.write("evict "+e.Name, func() (runtime.Object, error) { return nil, w.by.evicted(e.Name) })
	}
	return false, nil, nil
}

// write carries a write out, unless the process dies before it or after it.
func (w *podWorld) write(what string, do func() (runtime.Object, error)) (bool, runtime.Object, error) {
	n := len(w.did)
	before, after := false, false
	if w.fail != nil {
		before, after = w.fail(n, what)
	}
	if before {
		return true, nil, errKilled
	}
	w.did = append(w.did, what)
	o, err := do()
	w.by.control()
	if after {
		return true, nil, errKilled
	}
	return true, o, err
}

// writeBack is the kubelet's own view of a pod.
func (w *podWorld) writeBack(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pods() {
		if p.Name == name {
			for i := range p.Status.Conditions {
				p.Status.Conditions[i].Status = corev1.ConditionTrue
			}
			w.update(&p)
		}
	}
	w.by.control()
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (w *podWorld) pods() []corev1.Pod {
	list, err := w.kube.Tracker().List(pods, corev1.SchemeGroupVersion.WithKind("Pod"), "shop")
	if err != nil {
		w.t.Error(err)
		return nil
	}
	return list.(*corev1.PodList).Items
}

func (w *podWorld) update(p *corev1.Pod) {
	if err := w.kube.Tracker().Update(pods, p, "shop"); err != nil {
		w.t.Error(err)
	}
}

// list writes the endpoints of a Service, each pod ready or not as is said, and
// returns how many are.
func (w *podWorld) list(service string, ready func(*corev1.Pod) bool) int {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: service + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
	n := 0
	for _, p := range w.pods() {
		is := ready(&p)
		if is {
			n++
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name}, Conditions: discoveryv1.EndpointConditions{Ready: &is}})
	}
	lists := discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	if w.kube.Tracker().Update(lists, s, "shop") != nil {
		if err := w.kube.Tracker().Create(lists, s, "shop"); err != nil {
			w.t.Error(err)
		}
	}
	return n
}

// onlyPods wants nothing but pods, and what else is named, to have been written.
func (w *podWorld) onlyPods(besides ...string) {
	w.t.Helper()
	for _, a := range w.kube.Actions() {
		kind := a.GetResource().Resource
		if kind != "pods" && !slices.Contains(besides, kind) && slices.Contains([]string{"patch", "update", "delete"}, a.GetVerb()) {
			w.t.Errorf("%s %s", a.GetVerb(), kind)
		}
	}
}

// move applies the step as one of a plan.
func (w *podWorld) move(st plan.Step) error {
	return w.writer.Apply(w.t.Context(), st, plan.Plan{Digest: "d", Request: plan.Request{Restarts: plan.Auto}}, mesh.Snapshot{})
}
