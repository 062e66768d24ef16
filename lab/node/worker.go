package node

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tick is how often a worker looks at its pod's readiness.
const tick = 150 * time.Millisecond

// worker runs one pod, from being bound to being gone. It is the pod's
// fabric.PodNet.
type worker struct {
	k       *Kubelet
	ip      string
	born    time.Time
	slots   []*slot // sidecars first
	stalled string  // the stall it was born under
	failing string  // the failure of apps it was born under
	kick    chan struct{}
	kill    context.CancelFunc
	killed  context.Context //nolint:containedctx // the life of the pod's containers, which outlives no call
	wg      sync.WaitGroup

	mu       sync.Mutex
	pod      *corev1.Pod
	vanished bool
	leaving  time.Time // when SIGTERM went out
	sent     string    // key of the last status written
	synced   time.Time // when it was last compared with what the API server says
	retry    time.Time // when to write a status again that could not be
	changed  map[corev1.PodConditionType]transition
}

type transition struct {
	status corev1.ConditionStatus
	at     metav1.Time
}

func newWorker(k *Kubelet, pod *corev1.Pod, ip string) *worker {
	w := &worker{k: k, ip: ip, born: time.Now(), pod: pod, kick: make(chan struct{}, 1), changed: map[corev1.PodConditionType]transition{}}
	w.killed, w.kill = context.WithCancel(context.Background())
	for i := range pod.Spec.InitContainers {
		c := pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			w.slots = append(w.slots, newSlot(c, true))
		}
	}
	for i := range pod.Spec.Containers {
		w.slots = append(w.slots, newSlot(pod.Spec.Containers[i], false))
	}
	w.stalled, w.failing = bornUnder(k.stalls, pod), bornUnder(k.failing, pod)
	return w
}

// bornUnder is the fault that a new pod belongs to: the namespace/workload whose
// name its own begins with.
func bornUnder[T any](faults map[string]T, pod *corev1.Pod) string {
	for f := range faults {
		ns, name, _ := strings.Cut(f, "/")
		if ns == pod.Namespace && strings.HasPrefix(pod.Name, name+"-") {
			return f
		}
	}
	return ""
}

func (w *worker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// view is the pod as its containers see it: with its address.
func (w *worker) view() *corev1.Pod {
	p := w.current().DeepCopy()
	p.Status.PodIP, p.Status.HostIP = w.ip, w.k.nodes[p.Spec.NodeName]
	p.Status.PodIPs = []corev1.PodIP{{IP: w.ip}}
	return p
}

func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	w.pod = pod
	w.mu.Unlock()
	w.poke()
}

func (w *worker) gone() {
	w.mu.Lock()
	w.vanished = true
	w.mu.Unlock()
	w.poke()
}

func (w *worker) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// run is the pod's life. ctx is the lab's: when it ends the containers are killed
// and the API is left as it is.
func (w *worker) run(ctx context.Context) {
	defer w.k.release(w.ip)
	defer w.k.opts.Fabric.Detach(w.ip)
	defer w.wg.Wait()
	defer w.kill()
	if p := w.current(); p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return
	}
	w.report(ctx)
	w.k.opts.Fabric.Attach(w.ip, w)
	w.wg.Go(w.launch)
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-w.kick:
		}
		if w.isGone() {
			return
		}
		if w.current().DeletionTimestamp != nil && w.leave() {
			w.remove(ctx)
			return
		}
		if w.outlived() {
			w.fail(ctx)
			return
		}
		w.report(ctx)
	}
}

func (w *worker) isGone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.vanished
}

// launch starts the containers in a kubelet's order: sidecars one after the
// other, each when the one before has started, then all others at once.
func (w *worker) launch() {
	for _, s := range w.slots {
		w.wg.Go(func() { w.keep(s) })
		if !s.sidecar {
			continue
		}
		for !s.isReady() {
			select {
			case <-w.killed.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// keep runs a container again and again, with a kubelet's back-off.
func (w *worker) keep(s *slot) {
	backoff := time.Second
	for w.killed.Err() == nil && !w.isLeaving() {
		c, err := w.make(w.killed, s)
		if err != nil {
			s.wait("CreateContainerConfigError", err.Error())
			w.pause(500 * time.Millisecond)
			continue
		}
		began := time.Now()
		s.start(c)
		w.poke()
		err = c.Run(w.killed)
		s.end(err)
		w.poke()
		if w.killed.Err() != nil || w.isLeaving() {
			return
		}
		w.k.say("pod %s/%s: container %s ended: %v", w.current().Namespace, w.current().Name, s.spec.Name, err)
		if time.Since(began) > 10*time.Minute {
			backoff = time.Second
		}
		s.wait("CrashLoopBackOff", "back-off restarting a container that ended")
		w.pause(max(backoff, s.away()))
		backoff = min(max(2*backoff, 10*time.Second), 5*time.Minute)
	}
}

func (w *worker) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-w.killed.Done():
			return
		case <-t.C:
			return
		case <-time.After(tick):
			if w.isLeaving() {
				return
			}
		}
	}
}

func (w *worker) isLeaving() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.leaving.IsZero()
}

// leave takes the pod through its termination and says when it is over: SIGTERM
// to all but the sidecars, to those when the others have ended, and the end of
// the grace period for whatever is left.
func (w *worker) leave() bool {
	pod := w.current()
	w.mu.Lock()
	first := w.leaving.IsZero()
	if first {
		w.leaving = time.Now()
	}
	since := time.Since(w.leaving)
	w.mu.Unlock()
	grace := 30 * time.Second
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	if since >= grace {
		return true
	}
	alive := func(s *slot) bool { return s.running() }
	main := func(s *slot) bool { return !s.sidecar && s.running() }
	for _, s := range w.slots {
		if !s.sidecar || !slices.ContainsFunc(w.slots, main) {
			s.terminate()
		}
	}
	return !slices.ContainsFunc(w.slots, alive)
}

// remove is the kubelet's last word: the pod may go.
func (w *worker) remove(ctx context.Context) {
	w.kill()
	w.wg.Wait()
	w.k.opts.Fabric.Detach(w.ip)
	pod := w.current()
	zero := int64(0)
	for ctx.Err() == nil && !w.isGone() {
		err := w.k.opts.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID},
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		if !errors.Is(err, context.Canceled) {
			w.k.say("pod %s/%s: removing it: %v", pod.Namespace, pod.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Accept implements fabric.PodNet.
func (w *worker) Accept(port int, c net.Conn) bool {
	if p := w.proxy(); p != nil {
		return p.Accept(port, c)
	}
	if w.hasProxy() { // its rules are in place before it runs
		return false
	}
	return w.toApp(port, c)
}

// acceptLocal is a connection from inside the pod, as a port-forward makes it.
func (w *worker) acceptLocal(port int, c net.Conn) bool {
	if p := w.proxy(); p != nil {
		return p.AcceptLocal(port, c)
	}
	for _, s := range w.slots {
		if i, ok := s.get().(*istiod); ok {
			return i.acceptLocal(port, c)
		}
	}
	return w.toApp(port, c)
}

// toApp hands a connection to the container that listens on the port.
func (w *worker) toApp(port int, c net.Conn) bool {
	for _, s := range w.slots {
		if s.spec.Name != proxyName {
			if r := s.get(); r != nil && r.Accept(port, c) {
				return true
			}
		}
	}
	return false
}
