package node

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/lab/app"
	"github.com/serin-mesh/serin/lab/fabric"
)

// KillIstiod kills the process of an istiod pod; the kubelet restarts it, but not
// before it has been away for as long as said.
func (k *Kubelet) KillIstiod(namespace, pod string, away time.Duration) error {
	i, s, err := k.istiodIn(namespace, pod)
	if err != nil {
		return err
	}
	s.stayAway(time.Now().Add(away))
	i.kill()
	return nil
}

// StopPushing makes an istiod send nothing to proxies, until it is lifted or the
// pod is gone.
func (k *Kubelet) StopPushing(namespace, pod string, on bool) error {
	i, err := k.istiod(namespace, pod)
	if err != nil {
		return err
	}
	i.silent.Store(on)
	return nil
}

// DropWebhook makes an istiod's webhook port refuse connections.
func (k *Kubelet) DropWebhook(namespace, pod string, on bool) error {
	i, err := k.istiod(namespace, pod)
	if err != nil {
		return err
	}
	i.hookOff.Store(on)
	return nil
}

// Slow makes an istiod answer everybody so much later, until it is lifted by zero.
func (k *Kubelet) Slow(namespace, pod string, by time.Duration) error {
	i, err := k.istiod(namespace, pod)
	if err != nil {
		return err
	}
	i.slow.Store(int64(by))
	return nil
}

func (k *Kubelet) istiod(namespace, pod string) (*istiod, error) {
	i, _, err := k.istiodIn(namespace, pod)
	return i, err
}

func (k *Kubelet) istiodIn(namespace, pod string) (*istiod, *slot, error) {
	w := k.find(namespace, pod)
	if w == nil {
		return nil, nil, fmt.Errorf("finding pod %s/%s: no such pod", namespace, pod)
	}
	for _, s := range w.slots {
		if i, ok := s.get().(*istiod); ok {
			return i, s, nil
		}
	}
	return nil, nil, fmt.Errorf("finding the istiod of pod %s/%s: it runs none", namespace, pod)
}

// Stall keeps new pods of a workload from becoming ready, until it is lifted.
func (k *Kubelet) Stall(namespace, workload string, on bool) {
	k.turn(k.stalls, namespace+"/"+workload, on)
}

// Insist makes the kubelet write its own view of a workload's pods back every second,
// and not every ten, until it is lifted.
func (k *Kubelet) Insist(namespace, workload string, on bool) {
	k.turn(k.insists, namespace+"/"+workload, on)
}

// turn sets a workload's switch.
func (k *Kubelet) turn(switches map[string]bool, workload string, on bool) { //nolint:revive // a switch, not a mode
	k.mu.Lock()
	defer k.mu.Unlock()
	if on {
		switches[workload] = true
		return
	}
	delete(switches, workload)
}

// Reject makes a pod's proxy reject every further push of a type.
func (k *Kubelet) Reject(namespace, pod, typeURL string) error {
	w := k.find(namespace, pod)
	if w == nil {
		return fmt.Errorf("finding pod %s/%s: no such pod", namespace, pod)
	}
	p := w.proxy()
	if p == nil {
		return fmt.Errorf("finding the proxy of pod %s/%s: it runs none", namespace, pod)
	}
	p.Reject(typeURL)
	return nil
}

// SpoilNew makes the apps of a workload's new pods answer wrongly, until a zero Flaw
// lifts it, which mends those that do.
func (k *Kubelet) SpoilNew(namespace, workload string, f app.Flaw) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := namespace + "/" + workload
	if f != (app.Flaw{}) {
		k.failing[at] = f
		return
	}
	delete(k.failing, at)
	for _, w := range k.workers {
		if w.failing != at {
			continue
		}
		for _, s := range w.slots {
			if c, ok := s.get().(*appContainer); ok {
				c.Spoil(app.Flaw{})
			}
		}
	}
}

// LoseHost makes the proxies of a workload's new pods answer a host with 404; an
// empty one lifts it, for those that are born later.
func (k *Kubelet) LoseHost(namespace, workload, host string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.losing[namespace+"/"+workload] = host
}

// loses is the host that a new pod's proxy is to lose.
func (k *Kubelet) loses(pod *corev1.Pod) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, host := range k.losing {
		if ns, name, _ := strings.Cut(at, "/"); ns == pod.Namespace && strings.HasPrefix(pod.Name, name+"-") {
			return host
		}
	}
	return ""
}

// flaw is the failure of apps that lasts, of those that a pod was born under.
func (k *Kubelet) flaw(at string) app.Flaw {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failing[at]
}

var _ fabric.PodNet = (*worker)(nil)
