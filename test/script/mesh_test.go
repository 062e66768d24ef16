package script_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// makeMesh is the scripts' command `mesh`: it makes the mesh of a script.
//
//	mesh bookinfo 1.27.0          Istio as the default revision and the six workloads
//	mesh bookinfo 1.27.0 extra    and one workload more
//	mesh surveyed                 bookinfo 1.27.0, looked at closely
//	mesh troubled                 bookinfo 1.27.0 with much that precheck finds
//	mesh rendered 1.27.0          bookinfo by istioctl, with a gateway of its making besides
//	mesh none                     no Istio at all
//	mesh canary 1.27.0 1.29.1     bookinfo, and the second release beside it, named by its version
//	mesh edit KIND …              changes the mesh as somebody else would, see edit
func makeMesh(args []string) int {
	w := here()
	switch {
	case len(args) == 1 && args[0] == "none":
		w.save("snapshot.yaml", meshtest.New().Snapshot())
	case len(args) == 1 && args[0] == "surveyed":
		w.save("snapshot.yaml", meshtest.Bookinfo("1.27.0").Change(surveyed).Looked().Snapshot())
	case len(args) == 1 && args[0] == "troubled":
		w.save("snapshot.yaml", meshtest.Bookinfo("1.27.0").Change(trouble).Looked().Snapshot())
	case len(args) == 2 && args[0] == "bookinfo":
		w.save("snapshot.yaml", meshtest.Bookinfo(args[1]).Looked().Snapshot())
	case len(args) == 2 && args[0] == "rendered":
		w.save("snapshot.yaml", rendered(args[1]))
	case len(args) == 3 && args[0] == "bookinfo" && args[2] == "extra":
		w.save("snapshot.yaml", meshtest.Bookinfo(args[1]).Deployment("default", "reviews-v4", meshtest.Service("reviews")).Looked().Snapshot())
	case len(args) == 1 && args[0] == "gateways":
		w.save("snapshot.yaml", gateways().Looked().Snapshot())
	case len(args) >= 2 && args[0] == "canary":
		w.save("snapshot.yaml", canary(args[1:]).Looked().Snapshot())
	case len(args) >= 2 && args[0] == "edit":
		return edit(w, args[1:])
	default:
		fmt.Fprintf(os.Stderr, "mesh: unknown mesh %q\n", args)
		return 1
	}
	return 0
}

// rendered is bookinfo as istioctl installs it, with its ingress gateway.
func rendered(version string) mesh.Snapshot {
	return meshtest.ByIstioctl(meshtest.Bookinfo(version).Gateway("istio-system", "istio-ingressgateway", meshtest.On("default"), meshtest.Replicas(2), meshtest.With(func(w *mesh.Workload) {
		w.TemplateAnnotations, w.Owner = nil, mesh.Owner{Kind: mesh.OwnerIstioctl}
		w.TemplateLabels[mesh.InjectLabel], w.TemplateLabels[mesh.RevLabel] = "false", mesh.DefaultRevision
		w.Proxy = &mesh.TemplateProxy{Image: "docker.io/istio/proxyv2:" + version, Role: "router", Alone: true}
	})).Looked().Snapshot())
}

// freeze adds a managed Gateway that was left under its private tag, its pod on the default revision.
func freeze(s *mesh.Snapshot, ns, name string) {
	tag := mesh.PrivateTag(ns, name)
	s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: ns, Name: name, Revision: tag})
	s.Edge.Gateways = append(s.Edge.Gateways, mesh.GatewayObject{
		Namespace: ns, Name: name, Class: "istio", Controller: mesh.ControllerGateway, Managed: true, Revision: tag, Frozen: tag, Since: "2026-03-01T07:00:00Z",
	})
	s.Claims = append(s.Claims, mesh.ClaimOf(tag, "default"))
	w := mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: ns, Name: name + "-istio"}, Replicas: 1, Ready: 1, Strategy: "RollingUpdate", MaxSurge: 1, Settled: true,
		TemplateLabels: map[string]string{mesh.ManagedLabel: "istio.io-gateway-controller", mesh.GatewayNameLabel: name, mesh.InjectLabel: "false"},
		Proxy:          &mesh.TemplateProxy{Image: "proxyv2", Role: "router", Alone: true}, Owner: mesh.Owner{Kind: mesh.OwnerNone},
	}
	s.Workloads = append(s.Workloads, w)
	s.Pods = append(s.Pods, mesh.Pod{Namespace: ns, Name: w.Name + "-0", Workload: w.Ref, Labels: w.TemplateLabels, Revision: "default", Version: "1.27.0", Ready: true})
}

// gateways is a shop with three gateways of different shapes, which serve forty hosts:
// one of the gateway chart, one that istiod deploys, and an egress gateway of a
// Deployment of its own.
func gateways() *meshtest.World {
	listeners := func(from, to int) []mesh.Listener {
		var out []mesh.Listener
		for n := from; n <= to; n++ {
			out = append(out, mesh.Listener{Name: fmt.Sprintf("http-%d", n), Port: 80, Protocol: "HTTP", Hosts: []string{fmt.Sprintf("shop-%02d.example.com", n)}})
		}
		return out
	}
	w := meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").
		Namespace("shop", mesh.InjectionLabel, "enabled").Deployment("shop", "cart", meshtest.Service("cart")).Deployment("shop", "till", meshtest.Service("till")).
		Namespace("edge").Gateway("edge", "public", meshtest.Replicas(4), meshtest.Labels("istio", "public"), meshtest.Released("1.27.0", nil)).
		Namespace("egress").Gateway("egress", "egress", meshtest.Replicas(2), meshtest.Labels("istio", "egress"))
	w.Deployment("shop", "partners-istio", meshtest.On("default"), meshtest.Service("partners-istio"), meshtest.With(func(w *mesh.Workload) {
		w.TemplateLabels = map[string]string{mesh.ManagedLabel: "istio.io-gateway-controller", mesh.GatewayNameLabel: "partners", mesh.InjectLabel: "false"}
		w.Proxy = &mesh.TemplateProxy{Image: "proxyv2", Role: "router", Alone: true}
	}))
	return w.Change(func(s *mesh.Snapshot) {
		s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: "shop", Name: "partners"})
		s.Edge.Gateways = append([]mesh.GatewayObject{}, // but for those of the test's gateways, of any host
			mesh.GatewayObject{Namespace: "shop", Name: "public", Selector: map[string]string{"istio": "public"}, Listeners: listeners(1, 25)},
			mesh.GatewayObject{Namespace: "shop", Name: "egress", Selector: map[string]string{"istio": "egress"}, Listeners: listeners(36, 40)},
			mesh.GatewayObject{Namespace: "shop", Name: "partners", Class: "istio", Controller: mesh.ControllerGateway, Managed: true, Stamp: "5", Listeners: listeners(26, 35)})
	})
}

// canary is bookinfo with more control planes beside the first.
func canary(versions []string) *meshtest.World {
	w := meshtest.Bookinfo(versions[0])
	for _, v := range versions[1:] {
		w.ControlPlane(plan.RevisionName(v), v)
	}
	return w
}

// edit changes the mesh behind serin's back:
//
//	mesh edit label NAMESPACE KEY=VALUE…   a namespace, made if it is not there; KEY- takes a label off
//	mesh edit service TAG REVISION         the Service of a tag
//	mesh edit deployment NAMESPACE NAME [N] a workload more, with N pods
//	mesh edit gateway NAMESPACE NAME REV   a managed Gateway with this label
//	mesh edit frozen NAMESPACE NAME        a managed Gateway that a run has left
//	mesh edit argocd                       declared in Git, and synced by Argo CD
//	mesh edit istioctl                     installed by istioctl, and not by Helm
//	mesh edit selectors                    nobody has looked at what selects pods
//	mesh edit hpa NAMESPACE NAME           a Deployment that an HPA sizes
//	mesh edit anew NAMESPACE NAME          its pods are made anew, and held out by their readiness gate
func edit(w world, args []string) int {
	s, err := w.Survey(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch {
	case args[0] == "label" && len(args) >= 2:
		label(&s, args[1], args[2:])
	case args[0] == "service" && len(args) == 3:
		s.TagServices = slices.DeleteFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == args[1] })
		s.TagServices = append(s.TagServices, mesh.TagService{Name: mesh.TagServiceName(args[1]), Tag: args[1], Revision: args[2]})
	case args[0] == "deployment" && len(args) >= 3:
		n := 1
		if len(args) > 3 {
			n, _ = strconv.Atoi(args[3])
		}
		wl := mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: args[1], Name: args[2]}, Replicas: n, Ready: n, Strategy: "RollingUpdate", MaxSurge: 1,
			Settled: true, TemplateLabels: map[string]string{"app": args[2]}, Services: []string{args[1] + "/" + args[2]}, Owner: mesh.Owner{Kind: mesh.OwnerNone},
			Template: mesh.Template{Probed: true, Drains: true},
		}
		c, _ := s.ControlPlane(s.InjectionOf(wl).Revision)
		s.Workloads = append(s.Workloads, wl)
		for i := range n {
			s.Pods = append(s.Pods, mesh.Pod{Namespace: args[1], Name: fmt.Sprintf("%s-%d", args[2], i), Workload: wl.Ref, Labels: wl.TemplateLabels, Revision: c.Revision, Version: c.Version, Ready: true})
		}
	case args[0] == "frozen" && len(args) == 3:
		freeze(&s, args[1], args[2])
	case args[0] == "argocd":
		s = meshtest.ByGit(s, mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"})
	case args[0] == "helm-gateway", args[0] == "released-gateway": // as a release of the chart; the first with a second control plane to go to
		owner := mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-ingress/istio-ingress"}
		if args[0] == "helm-gateway" {
			s = meshtest.WithControlPlane(s, "1-29-1", "1.29.1")
		}
		s.Releases = append(s.Releases, mesh.Release{Namespace: "istio-ingress", Name: "istio-ingress", Chart: "gateway", Version: "1.27.0", Status: "deployed"})
		for i := range s.Workloads {
			if s.Workloads[i].Gateway() {
				s.Workloads[i].Owner, s.Edge.Services[0].Owner, s.Workloads[i].Proxy.Account = owner, owner, "istio-ingress"
			}
		}
	case args[0] == "anew" && len(args) == 3:
		of := mesh.Ref{Kind: mesh.KindDeployment, Namespace: args[1], Name: args[2]}
		for i, p := range s.Pods {
			if p.Workload == of {
				s.Pods[i].Name, s.Pods[i].Ready, s.Pods[i].Held = p.Name+"-anew", false, true
			}
		}
		ready(&s, of)
	case args[0] == "selectors":
		s.Survey.Selectors = nil
	case args[0] == "hpa" && len(args) == 3:
		for i, wl := range s.Workloads {
			if wl.Namespace == args[1] && wl.Name == args[2] {
				s.Workloads[i].Template.Scaler = args[2]
			}
		}
	case args[0] == "istioctl":
		s = meshtest.ByIstioctl(s)
	case args[0] == "gateway" && len(args) == 4:
		s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: args[1], Name: args[2], Revision: args[3]})
	default:
		fmt.Fprintf(os.Stderr, "mesh edit: unknown %q\n", args)
		return 1
	}
	w.save("snapshot.yaml", s)
	return 0
}

func label(s *mesh.Snapshot, name string, changes []string) {
	i := slices.IndexFunc(s.Namespaces, func(n mesh.Namespace) bool { return n.Name == name })
	if i < 0 {
		i = len(s.Namespaces)
		s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
	}
	for _, c := range changes {
		if key, gone := strings.CutSuffix(c, "-"); gone && !strings.Contains(c, "=") {
			delete(s.Namespaces[i].Labels, key)
			continue
		}
		key, value, _ := strings.Cut(c, "=")
		s.Namespaces[i].Labels[key] = value
	}
}

func surveyed(s *mesh.Snapshot) {
	s.Survey = &mesh.Survey{Istiods: map[string]mesh.Istiod{"default": {}}, MeshConfigs: map[string]map[string]any{"default": {}}}
}

// trouble makes wrong what precheck looks at.
func trouble(s *mesh.Snapshot) {
	for i := range s.Namespaces {
		if s.Namespaces[i].Name == "default" {
			s.Namespaces[i].Labels[mesh.RevLabel] = "canary"
		}
	}
	s.Survey = &mesh.Survey{
		Denied:       []string{"clusterroles.rbac.authorization.k8s.io"},
		Unseen:       []string{"nodes: not permitted"},
		Istiods:      map[string]mesh.Istiod{"default": {}},
		MeshConfigs:  map[string]map[string]any{"default": {}},
		EnvoyFilters: []mesh.EnvoyFilter{{Namespace: "shop", Name: "lua", ProxyVersions: []string{`^1\.27.*`}}},
		Installers:   []mesh.Object{{Kind: "Application", Namespace: "argocd", Name: "istiod", Note: "Argo CD, chart istiod"}},
	}
}
