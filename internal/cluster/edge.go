package cluster

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
)

// templateProxy is the proxy that a template has before anybody injects one.
func templateProxy(spec corev1.PodSpec) *mesh.TemplateProxy {
	c := proxyOf(spec)
	if c == nil {
		return nil
	}
	p := &mesh.TemplateProxy{Image: c.Image, Alone: len(spec.Containers) == 1, Account: spec.ServiceAccountName}
	if len(c.Args) > 1 && c.Args[0] == "proxy" {
		p.Role = c.Args[1]
	}
	return p
}

// gated says whether the pods have the readiness gate that serin opens.
func gated(spec corev1.PodSpec) bool {
	return slices.ContainsFunc(spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == mesh.ProvenGate })
}

// held says whether nothing but that gate keeps a pod from being Ready.
func held(p *corev1.Pod) bool {
	return gated(p.Spec) && condition(p, corev1.ContainersReady) && !condition(p, mesh.ProvenGate)
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind && c.Status == corev1.ConditionTrue })
}

func (r *Reader) scalers(ctx context.Context, f *facts) error {
	return each(ctx, "horizontalpodautoscalers.autoscaling", metav1.ListOptions{}, r.Kube.AutoscalingV2().HorizontalPodAutoscalers("").List, func(l *autoscalingv2.HorizontalPodAutoscalerList) {
		for _, h := range l.Items {
			f.scalers = append(f.scalers, mesh.Scaler{
				Name: h.Name, Target: mesh.Ref{Kind: mesh.WorkloadKind(h.Spec.ScaleTargetRef.Kind), Namespace: h.Namespace, Name: h.Spec.ScaleTargetRef.Name},
				Min: int(orOne(h.Spec.MinReplicas)), Max: int(h.Spec.MaxReplicas),
			})
		}
	})
}

// edgeOf keeps what belongs to gateways: of the Services of a cluster with
// thousands those few.
func (f *facts) edgeOf(s *mesh.Snapshot) mesh.Edge {
	wanted, sized := f.ofGateways(s)
	e := mesh.Edge{Gateways: f.gatewayObjects}
	for _, all := range f.services {
		for _, v := range all {
			if wanted[v.namespace+"/"+v.name] {
				e.Services = append(e.Services, v.full)
			}
		}
	}
	for _, h := range f.scalers {
		if slices.Contains(sized, h.Target) {
			e.Scalers = append(e.Scalers, h)
		}
	}
	for id := range f.fromMesh {
		if wanted[id] {
			e.FromMesh = append(e.FromMesh, id)
		}
	}
	slices.Sort(e.FromMesh)
	slices.SortFunc(e.Services, func(a, b mesh.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(e.Scalers, func(a, b mesh.Scaler) int {
		return cmp.Or(cmp.Compare(a.Target.Namespace, b.Target.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(e.Gateways, func(a, b mesh.GatewayObject) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Class, b.Class))
	})
	return e
}

// ofGateways are the Services, namespace/name, that lead to gateways or that
// Gateways are bound to, and the gateways' workloads.
func (f *facts) ofGateways(s *mesh.Snapshot) (map[string]bool, []mesh.Ref) {
	services := map[string]bool{}
	var sized []mesh.Ref
	s.Edge.Gateways = f.gatewayObjects
	for _, g := range s.Gateways() {
		sized = append(sized, g.Ref)
		if w, ok := s.Workload(g.Ref); ok {
			for _, id := range w.Services {
				services[id] = true
			}
		}
	}
	for _, o := range f.gatewayObjects {
		for _, host := range o.Bound {
			name, rest, _ := strings.Cut(host, ".")
			ns, _, _ := strings.Cut(rest, ".")
			services[cmp.Or(ns, o.Namespace)+"/"+name] = true
		}
	}
	return services, sized
}

// serviceFacts are a Service's identity and addresses.
func serviceFacts(s *corev1.Service) mesh.Service {
	out := mesh.Service{
		Namespace: s.Namespace, Name: s.Name, UID: string(s.UID), Type: string(s.Spec.Type), ClusterIP: s.Spec.ClusterIP, Selector: s.Spec.Selector,
		Addresses: slices.Clone(s.Spec.ExternalIPs), Owner: ownerOf(s),
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		out.Addresses = append(out.Addresses, cmp.Or(i.IP, i.Hostname))
	}
	for _, p := range s.Spec.Ports {
		out.Ports = append(out.Ports, mesh.ServicePort{Name: p.Name, Port: int(p.Port), NodePort: int(p.NodePort), Target: p.TargetPort.String()})
	}
	return out
}

// ownGateways reads Istio's own Gateways: which pods they select, and what they open.
func (r *Reader) ownGateways(ctx context.Context, gvr schema.GroupVersionResource, f *facts, mu *sync.Mutex) error {
	return each(ctx, "gateways.networking.istio.io", metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for _, o := range l.Items {
			g := mesh.GatewayObject{Namespace: o.GetNamespace(), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel]}
			g.Selector, _, _ = unstructured.NestedStringMap(o.Object, "spec", "selector")
			servers, _, _ := unstructured.NestedSlice(o.Object, "spec", "servers")
			for _, s := range servers {
				m, _ := s.(map[string]any)
				port, _, _ := unstructured.NestedMap(m, "port")
				lis := mesh.Listener{Name: text(port["name"]), Port: whole(port["number"]), Protocol: text(port["protocol"])}
				lis.Hosts, _, _ = unstructured.NestedStringSlice(m, "hosts")
				lis.TLS, _, _ = unstructured.NestedString(m, "tls", "mode")
				g.Listeners = append(g.Listeners, lis)
			}
			mu.Lock()
			f.gatewayObjects = append(f.gatewayObjects, g)
			mu.Unlock()
		}
	})
}

// gatewayAPIGateways reads those of the Gateway API that are of a class of
// Istio's: by the controller that the class names, and where the class is not
// there by the names that istiod has built in.
func (r *Reader) gatewayAPIGateways(ctx context.Context, gvr schema.GroupVersionResource, f *facts, mu *sync.Mutex) error {
	classes := builtinClasses()
	cgvr := schema.GroupVersionResource{Group: gvr.Group, Version: gvr.Version, Resource: "gatewayclasses"}
	if slices.Contains(f.definitions, "gatewayclasses."+mesh.GatewayAPIGroup) {
		err := each(ctx, "gatewayclasses."+mesh.GatewayAPIGroup, metav1.ListOptions{}, r.Dynamic.Resource(cgvr).List, func(l *unstructured.UnstructuredList) {
			for _, c := range l.Items {
				classes[c.GetName()], _, _ = unstructured.NestedString(c.Object, "spec", "controllerName")
			}
		})
		if err != nil {
			return err
		}
	}
	return each(ctx, gatewayCRD, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for i := range l.Items {
			g := gatewayObjectOf(&l.Items[i], classes)
			if !strings.HasPrefix(g.Controller, "istio.io/") || l.Items[i].GetAnnotations()[modelAnnotation] != "" {
				continue
			}
			mu.Lock()
			f.gatewayObjects = append(f.gatewayObjects, g)
			if g.Managed {
				f.gateways = append(f.gateways, mesh.Object{Kind: "Gateway", Namespace: g.Namespace, Name: g.Name, Revision: g.Revision, Note: "class " + g.Class})
			}
			mu.Unlock()
		}
	})
}

// builtinClasses are those that every istiod knows without an object.
func builtinClasses() map[string]string {
	return map[string]string{"istio": mesh.ControllerGateway, "istio-waypoint": mesh.ControllerWaypoint, "istio-remote": mesh.ControllerUnmanaged}
}

func gatewayObjectOf(o *unstructured.Unstructured, classes map[string]string) mesh.GatewayObject {
	g := mesh.GatewayObject{Namespace: o.GetNamespace(), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel]}
	g.Class, _, _ = unstructured.NestedString(o.Object, "spec", "gatewayClassName")
	g.Controller = classes[g.Class]
	if v := o.GetAnnotations()[mesh.VersionAnnotation]; v != "" && strings.Trim(v, "0123456789") != "" {
		g.Frozen, g.Since = v, markedAt(o)
		g.Overdue = g.OverdueAt(clock.Now())
	} else {
		g.Stamp = v
	}
	if by := ownerOf(o); by.Kind != mesh.OwnerNone {
		g.Owner = by
	}
	g.Parameters, _, _ = unstructured.NestedString(o.Object, "spec", "infrastructure", "parametersRef", "name")
	var byName bool
	g.Bound, byName = boundNames(*o)
	g.Managed = !byName && g.Controller != mesh.ControllerUnmanaged
	listeners, _, _ := unstructured.NestedSlice(o.Object, "spec", "listeners")
	for _, l := range listeners {
		m, _ := l.(map[string]any)
		lis := mesh.Listener{Name: text(m["name"]), Port: whole(m["port"]), Protocol: text(m["protocol"])}
		if h := text(m["hostname"]); h != "" {
			lis.Hosts = []string{h}
		}
		lis.TLS, _, _ = unstructured.NestedString(m, "tls", "mode")
		g.Listeners = append(g.Listeners, lis)
	}
	return g
}

// markedAt is when serin last wrote to the Gateway; it hands its fields back once
// nothing of it is there any more.
func markedAt(o *unstructured.Unstructured) string {
	for _, m := range o.GetManagedFields() {
		if m.Manager == Manager && m.Time != nil {
			return m.Time.UTC().Format(time.RFC3339)
		}
	}
	return ""
}

// boundNames are the Services that a Gateway is bound to, and whether it is bound
// at all: istiod deploys what has no address, or one that is an IP (its IsManaged).
func boundNames(g unstructured.Unstructured) ([]string, bool) {
	addresses, _, _ := unstructured.NestedSlice(g.Object, "spec", "addresses")
	var names []string
	for _, a := range addresses {
		if m, ok := a.(map[string]any); ok && m["type"] == "Hostname" {
			names = append(names, text(m["value"]))
		}
	}
	return names, len(addresses) > 1 || len(names) > 0
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// whole is a number as YAML and JSON readers give it; 0 for anything else.
func whole(v any) int {
	switch v := v.(type) {
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return 0
}
