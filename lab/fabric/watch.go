package fabric

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Watch keeps the table as the API server has it, until ctx is done.
func (f *Fabric) Watch(ctx context.Context, c kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(c, 0)
	svcs := factory.Core().V1().Services().Informer()
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	if _, err := svcs.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.setService(o) },
		UpdateFunc: func(_, o any) { f.setService(o) },
		DeleteFunc: func(o any) { f.dropService(o) },
	}); err != nil {
		return fmt.Errorf("watching Services: %w", err)
	}
	if _, err := slices.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.setSlice(o) },
		UpdateFunc: func(_, o any) { f.setSlice(o) },
		DeleteFunc: func(o any) { f.dropSlice(o) },
	}); err != nil {
		return fmt.Errorf("watching EndpointSlices: %w", err)
	}
	factory.Start(ctx.Done())
	return nil
}

func (f *Fabric) entry(key string) *service {
	s := f.svcs[key]
	if s == nil {
		s = &service{key: key, slices: map[string]map[string]endpoints{}}
		f.svcs[key] = s
	}
	return s
}

func (f *Fabric) setService(o any) {
	v, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	var ips []string
	for _, ip := range v.Spec.ClusterIPs {
		if ip != corev1.ClusterIPNone && ip != "" {
			ips = append(ips, ip)
		}
	}
	ports := map[int]string{}
	for _, p := range v.Spec.Ports {
		ports[int(p.Port)] = p.Name
	}
	key := v.Namespace + "/" + v.Name
	f.later(func() {
		s := f.entry(key)
		for _, ip := range s.ips {
			delete(f.byIP, ip)
		}
		s.ips, s.ports = ips, ports
		for _, ip := range ips {
			f.byIP[ip] = s
		}
	})
}

func (f *Fabric) dropService(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	v, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	key := v.Namespace + "/" + v.Name
	f.later(func() {
		if s := f.svcs[key]; s != nil {
			for _, ip := range s.ips {
				delete(f.byIP, ip)
			}
			delete(f.svcs, key)
		}
	})
}

func (f *Fabric) setSlice(o any) {
	v, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	ports := map[string]endpoints{}
	for _, p := range v.Ports {
		if p.Port == nil {
			continue
		}
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		var all endpoints
		for _, e := range v.Endpoints {
			if len(e.Addresses) == 0 {
				continue
			}
			t := target{e.Addresses[0], int(*p.Port)}
			switch c := e.Conditions; {
			case c.Ready == nil || *c.Ready:
				all.ready = append(all.ready, t)
			case isTrue(c.Serving) && isTrue(c.Terminating):
				all.leaving = append(all.leaving, t)
			}
		}
		ports[name] = all
	}
	key := v.Namespace + "/" + v.Labels[discoveryv1.LabelServiceName]
	f.later(func() { f.entry(key).slices[v.Name] = ports })
}

func (f *Fabric) dropSlice(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	if v, ok := o.(*discoveryv1.EndpointSlice); ok {
		key := v.Namespace + "/" + v.Labels[discoveryv1.LabelServiceName]
		f.later(func() { delete(f.entry(key).slices, v.Name) })
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
