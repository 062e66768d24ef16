package meshtest

import (
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Option changes a workload.
type Option func(*World, *mesh.Workload)

// Deployment adds a settled Deployment of one replica that surges by one.
func (w *World) Deployment(ns, name string, opts ...Option) *World {
	return w.Workload(mesh.KindDeployment, ns, name, opts...)
}

// Gateway adds a Deployment as the gateway chart renders it: injected by its own label.
func (w *World) Gateway(ns, name string, opts ...Option) *World {
	gw := func(w *World, wl *mesh.Workload) {
		wl.TemplateLabels[mesh.InjectLabel] = "true"
		wl.TemplateAnnotations = map[string]string{mesh.TemplatesAnnotation: "gateway"}
		wl.Services = []string{ns + "/" + name}
		wl.Proxy = &mesh.TemplateProxy{Image: "auto", Alone: true}
		w.edge(ns, name)
	}
	return w.Workload(mesh.KindDeployment, ns, name, slices.Insert(opts, 0, Option(gw))...)
}

// Released says that a release of the gateway chart holds the gateway and its Service.
func Released(version string, values map[string]any) Option {
	return func(w *World, wl *mesh.Workload) {
		wl.Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: wl.Namespace + "/" + wl.Name}
		wl.Proxy.Account = wl.Name
		for i, svc := range w.s.Edge.Services {
			if svc.Namespace == wl.Namespace && svc.Name == wl.Name {
				w.s.Edge.Services[i].Owner = wl.Owner
			}
		}
		w.s.Releases = append(w.s.Releases, mesh.Release{Namespace: wl.Namespace, Name: wl.Name, Chart: "gateway", Version: version, Status: "deployed", Values: values})
	}
}

// edge adds the Service of a gateway, and a Gateway that it serves.
func (w *World) edge(ns, name string) {
	w.s.Edge.Services = append(w.s.Edge.Services, mesh.Service{
		Namespace: ns, Name: name, UID: "uid-" + name, Type: "LoadBalancer", Addresses: []string{"192.0.2.1"},
		Ports: []mesh.ServicePort{{Name: "http2", Port: 80, NodePort: 30080, Target: "80"}}, Selector: map[string]string{"app": name}, Owner: none(),
	})
	w.s.Edge.Gateways = append(w.s.Edge.Gateways, mesh.GatewayObject{
		Namespace: ns, Name: name, Selector: map[string]string{"app": name}, Listeners: []mesh.Listener{{Name: "http", Port: 80, Protocol: "HTTP", Hosts: []string{"*"}}},
	})
}

// Workload adds a workload of any kind.
func (w *World) Workload(kind mesh.WorkloadKind, ns, name string, opts ...Option) *World {
	wl := mesh.Workload{
		Ref: mesh.Ref{Kind: kind, Namespace: ns, Name: name}, Replicas: 1, Strategy: "RollingUpdate",
		MaxSurge: 1, Settled: true, TemplateLabels: map[string]string{"app": name}, Owner: none(),
	}
	if kind != mesh.KindDeployment {
		wl.MaxSurge, wl.MaxUnavailable = 0, 1
	}
	for _, o := range opts {
		o(w, &wl)
	}
	wl.Ready = wl.Replicas
	w.s.Workloads = append(w.s.Workloads, wl)
	return w
}

// Service says that Services of the workload's namespace select its pods.
func Service(names ...string) Option {
	return func(_ *World, wl *mesh.Workload) {
		for _, n := range names {
			wl.Services = append(wl.Services, wl.Namespace+"/"+n)
		}
	}
}

// Labels sets labels of the pod template: keys and values in turn.
func Labels(labels ...string) Option {
	return func(_ *World, wl *mesh.Workload) {
		for i := 0; i+1 < len(labels); i += 2 {
			wl.TemplateLabels[labels[i]] = labels[i+1]
		}
	}
}

// Replicas sets how many pods there are.
func Replicas(n int) Option { return func(_ *World, wl *mesh.Workload) { wl.Replicas = n } }

// On says that the pods run a revision although their labels would give them another.
func On(revision string) Option {
	return func(w *World, wl *mesh.Workload) { w.forced[wl.Ref] = revision }
}

// NoPods says that the snapshot has none of the workload's pods.
func NoPods() Option { return func(w *World, wl *mesh.Workload) { w.none[wl.Ref] = true } }

// With changes the workload by a function, for what has no word here.
func With(f func(*mesh.Workload)) Option {
	return func(_ *World, wl *mesh.Workload) { f(wl) }
}
