package fabric

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// AddressAnnotation is where a LoadBalancer Service says at which loopback
// address its first port is; with a dot and a port's name after it, that port.
const AddressAnnotation = "lab.serin.dev/address"

// balancers are the external load balancers of the lab: a loopback listener for
// each port of a LoadBalancer Service.
type balancers struct {
	f      *Fabric
	client kubernetes.Interface
	say    func(format string, args ...any)

	mu   sync.Mutex
	open map[string]net.Listener // namespace/name/port name
}

// Balance gives LoadBalancer Services an external address, until ctx is done.
func (f *Fabric) Balance(ctx context.Context, c kubernetes.Interface, say func(format string, args ...any)) error {
	b := &balancers{f: f, client: c, say: say, open: map[string]net.Listener{}}
	svcs := informers.NewSharedInformerFactory(c, 0).Core().V1().Services().Informer()
	if _, err := svcs.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { b.set(ctx, o) },
		UpdateFunc: func(_, o any) { b.set(ctx, o) },
		DeleteFunc: func(o any) { b.drop(o) },
	}); err != nil {
		return fmt.Errorf("watching Services: %w", err)
	}
	go svcs.Run(ctx.Done())
	return nil
}

func (b *balancers) set(ctx context.Context, o any) {
	s, ok := o.(*corev1.Service)
	if !ok || s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	addresses := map[string]string{}
	for i, p := range s.Spec.Ports {
		at, err := b.listen(ctx, s, p)
		if err != nil {
			b.say("service %s/%s: %v", s.Namespace, s.Name, err)
			return
		}
		if i == 0 {
			addresses[AddressAnnotation] = at
		}
		if p.Name != "" {
			addresses[AddressAnnotation+"."+p.Name] = at
		}
	}
	if err := b.tell(ctx, s, addresses); err != nil && ctx.Err() == nil {
		b.say("service %s/%s: %v", s.Namespace, s.Name, err)
	}
}

// listen opens the loopback port of a Service's port, once.
func (b *balancers) listen(ctx context.Context, s *corev1.Service, p corev1.ServicePort) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	service := s.Namespace + "/" + s.Name
	key := service + "/" + p.Name
	if l := b.open[key]; l != nil {
		return l.Addr().String(), nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("opening an external address: %w", err)
	}
	b.open[key] = l
	go func() { <-ctx.Done(); _ = l.Close() }()
	go b.serve(ctx, l, service, p.Name)
	return l.Addr().String(), nil
}

func (b *balancers) serve(ctx context.Context, l net.Listener, service, port string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			up, err := b.f.DialService(ctx, service, port)
			if err != nil {
				if t, ok := c.(*net.TCPConn); ok {
					_ = t.SetLinger(0) // a reset: nobody is there
				}
				_ = c.Close()
				return
			}
			Splice(c, up)
		}()
	}
}

// tell writes the address into the Service, unless it is there.
func (b *balancers) tell(ctx context.Context, s *corev1.Service, addresses map[string]string) error {
	same := true
	for k, v := range addresses {
		same = same && s.Annotations[k] == v
	}
	svcs := b.client.CoreV1().Services(s.Namespace)
	if !same {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": addresses}})
		if err != nil {
			return fmt.Errorf("writing the external address: %w", err)
		}
		if _, err := svcs.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("writing the external address: %w", err)
		}
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	if _, err := svcs.Patch(ctx, s.Name, types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"127.0.0.1"}]}}}`), metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("writing the external address: %w", err)
	}
	return nil
}

func (b *balancers) drop(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	s, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range s.Spec.Ports {
		key := s.Namespace + "/" + s.Name + "/" + p.Name
		if l := b.open[key]; l != nil {
			_ = l.Close()
			delete(b.open, key)
		}
	}
}
