// Package meshtest builds snapshots for tests, in sentences:
//
//	meshtest.New().ControlPlane("default", "1.27.0").
//		Namespace("shop", "istio-injection", "enabled").Deployment("shop", "cart").Snapshot()
//
// Injectors are rendered as Istio's charts render them, and pods are injected as
// those would inject them. Only tests may import it. Start reading at New.
package meshtest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// World is a mesh under construction.
type World struct {
	s      mesh.Snapshot
	forced map[mesh.Ref]string // revision that pods run although their labels say otherwise
	none   map[mesh.Ref]bool   // workloads without pods in the snapshot
}

// New is a cluster of Kubernetes 1.36 with the namespace istio-system and no Istio.
func New() *World {
	return &World{
		s: mesh.Snapshot{
			KubernetesVersion: "v1.36.3", IstioNamespace: "istio-system",
			Namespaces: []mesh.Namespace{{Name: "istio-system", Labels: name("istio-system"), Owner: none()}},
		},
		forced: map[mesh.Ref]string{}, none: map[mesh.Ref]bool{},
	}
}

// Bookinfo is the mesh that everybody knows: Istio as the default revision by
// Helm, six workloads in the labelled namespace default, and a Helm gateway that
// is injected by its own label in the unlabelled namespace istio-ingress.
func Bookinfo(version string) *World {
	return New().Base(version, mesh.DefaultRevision).ControlPlane(mesh.DefaultRevision, version).
		Namespace("default", mesh.InjectionLabel, "enabled").
		Deployment("default", "details-v1", Service("details")).
		Deployment("default", "productpage-v1", Service("productpage")).
		Deployment("default", "ratings-v1", Service("ratings")).
		Deployment("default", "reviews-v1", Service("reviews")).
		Deployment("default", "reviews-v2", Service("reviews")).
		Deployment("default", "reviews-v3", Service("reviews")).
		Namespace("istio-ingress").Gateway("istio-ingress", "istio-ingress").
		Routed("default/productpage")
}

// Kubernetes sets the API server's version.
func (w *World) Kubernetes(version string) *World {
	w.s.KubernetesVersion = version
	return w
}

// In moves Istio to another namespace. It must come before anything of Istio's.
func (w *World) In(namespace string) *World {
	w.s.IstioNamespace = namespace
	w.s.Namespaces[0] = mesh.Namespace{Name: namespace, Labels: name(namespace), Owner: none()}
	return w
}

// Base adds the release of the base chart, its default validator and CRDs.
func (w *World) Base(version, defaultRevision string) *World {
	owner := mesh.Owner{Kind: mesh.OwnerHelm, Name: w.s.IstioNamespace + "/istio-base"}
	w.s.Releases = append(w.s.Releases, mesh.Release{
		Namespace: w.s.IstioNamespace, Name: "istio-base", Chart: "base", Version: version, Status: "deployed",
		Values: map[string]any{"defaultRevision": defaultRevision},
	})
	if defaultRevision != "" {
		w.s.Validators = append(w.s.Validators, mesh.Validator{
			Name: mesh.DefaultValidator, Revision: defaultRevision, FailurePolicy: "Fail", Owner: owner,
			Service: w.s.IstioNamespace + "/" + mesh.IstiodName(defaultRevision),
		})
	}
	for _, name := range []string{"destinationrules.networking.istio.io", "gateways.networking.istio.io", "virtualservices.networking.istio.io"} {
		w.s.CRDs = append(w.s.CRDs, mesh.CRD{
			Name: name, Established: true, Owner: owner, StoredVersions: []string{"v1"}, ServedVersions: []string{"v1", "v1beta1", "v1alpha3"},
		})
	}
	return w
}

// ControlPlane adds a ready istiod of two replicas, as the chart installs it.
func (w *World) ControlPlane(revision, version string) *World {
	name := mesh.IstiodName(revision)
	owner := mesh.Owner{Kind: mesh.OwnerHelm, Name: w.s.IstioNamespace + "/" + name}
	w.s.ControlPlanes = append(w.s.ControlPlanes, mesh.ControlPlane{
		Revision: revision, Version: version, Namespace: w.s.IstioNamespace, Name: name, Replicas: 2, Ready: 2, Owner: owner,
	})
	in, v := mesh.RevisionInjector(revision, w.s.IstioNamespace), mesh.RevisionValidator(revision, w.s.IstioNamespace)
	in.Owner, v.Owner = owner, owner
	w.s.Injectors, w.s.Validators = append(w.s.Injectors, in), append(w.s.Validators, v)
	values := map[string]any{}
	if revision != mesh.DefaultRevision {
		values["revision"] = revision
	}
	w.s.Releases = append(w.s.Releases, mesh.Release{
		Namespace: w.s.IstioNamespace, Name: name, Chart: "istiod", Version: version, Status: "deployed", Values: values,
	})
	return w
}

// Tag adds a tag as serin sets it: injector, from 1.28 a Service, and for the
// default tag the validator; the default revision's own injector is switched off.
func (w *World) Tag(tag, revision string) *World {
	w.s.Injectors = append(w.s.Injectors, mesh.TagInjector(tag, revision, w.s.IstioNamespace))
	if c, ok := w.s.ControlPlane(revision); ok && c.Version >= "1.28" {
		w.s.TagServices = append(w.s.TagServices, mesh.TagService{Name: mesh.TagServiceName(tag), Tag: tag, Revision: revision})
	}
	if tag == mesh.DefaultTag {
		w.Deactivate(mesh.DefaultRevision)
		for i, v := range w.s.Validators {
			if v.Name == mesh.DefaultValidator {
				w.s.Validators[i].Revision, w.s.Validators[i].Service = revision, w.s.IstioNamespace+"/"+mesh.IstiodName(revision)
			}
		}
	}
	return w
}

// Deactivate switches a revision's own injector off.
func (w *World) Deactivate(revision string) *World {
	for i, in := range w.s.Injectors {
		if in.Revision == revision && in.Tag == "" {
			w.s.Injectors[i] = in.Off()
		}
	}
	return w
}

// EnableByDefault gives the default injector the entry that injects namespaces without labels.
func (w *World) EnableByDefault() *World {
	for i, in := range w.s.Injectors {
		isDefault := in.Tag == mesh.DefaultTag || in.Tag == "" && in.Revision == mesh.DefaultRevision
		if isDefault && !in.IsOff() {
			w.s.Injectors[i].Webhooks = slices.Concat(in.Webhooks, []mesh.Webhook{mesh.AutoEntry(in.Webhooks[0].Service)})
		}
	}
	return w
}

// Namespace adds a namespace; the labels are keys and values in turn.
func (w *World) Namespace(ns string, labels ...string) *World {
	n := mesh.Namespace{Name: ns, Labels: name(ns), Owner: none()}
	for i := 0; i+1 < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	w.s.Namespaces = append(w.s.Namespaces, n)
	return w
}

// Routed says that a gateway's routes lead to these Services, each namespace/name.
func (w *World) Routed(services ...string) *World {
	w.s.RoutedServices = append(w.s.RoutedServices, services...)
	return w
}

// Singleton adds istio-cni-node or ztunnel.
func (w *World) Singleton(name, version string) *World {
	w.s.Singletons = append(w.s.Singletons, mesh.Singleton{Name: name, Version: version})
	return w
}

// Change lets f change the snapshot as it is so far, for what has no word here.
func (w *World) Change(f func(*mesh.Snapshot)) *World {
	f(&w.s)
	return w
}

// Looked is the world after somebody has seen what selects its pods, which is
// nothing; its workloads lose nothing when they are rolled out.
func (w *World) Looked() *World {
	if w.s.Survey == nil {
		w.s.Survey = &mesh.Survey{}
		for _, c := range w.s.ControlPlanes {
			w.s.Survey.Services = append(w.s.Survey.Services, c.Namespace+"/"+c.Name)
		}
	}
	w.s.Survey.Selectors = &mesh.Selectors{}
	for i := range w.s.Workloads {
		w.s.Workloads[i].Template.Probed, w.s.Workloads[i].Template.Drains = true, true
	}
	return w
}

// Snapshot is the mesh, its lists sorted, its pods injected as its injectors are now.
func (w *World) Snapshot() mesh.Snapshot {
	s := w.s.Clone()
	for _, wl := range s.Workloads {
		if !w.none[wl.Ref] {
			s.Pods = append(s.Pods, w.pods(s, wl)...)
		}
	}
	sortAll(&s)
	return s
}

func (w *World) pods(s mesh.Snapshot, wl mesh.Workload) []mesh.Pod {
	rev, forced := w.forced[wl.Ref]
	if !forced {
		rev = s.InjectionOf(wl).Revision
	}
	c, _ := s.ControlPlane(rev)
	var pods []mesh.Pod
	for i := range wl.Replicas {
		pods = append(pods, mesh.Pod{
			Namespace: wl.Namespace, Name: fmt.Sprintf("%s-%d", wl.Name, i), Workload: wl.Ref, Labels: wl.TemplateLabels,
			Revision: rev, Version: c.Version, Ready: true,
		})
	}
	return pods
}

func sortAll(s *mesh.Snapshot) {
	slices.SortFunc(s.ControlPlanes, func(a, b mesh.ControlPlane) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Validators, func(a, b mesh.Validator) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.TagServices, func(a, b mesh.TagService) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Namespaces, func(a, b mesh.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Workloads, func(a, b mesh.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Pods, func(a, b mesh.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Releases, func(a, b mesh.Release) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.Sort(s.RoutedServices)
}

func name(ns string) map[string]string { return map[string]string{"kubernetes.io/metadata.name": ns} }

func none() mesh.Owner { return mesh.Owner{Kind: mesh.OwnerNone} }

// ByIstioctl is the mesh as istioctl installs it: nothing of the control plane is
// a release's.
func ByIstioctl(s mesh.Snapshot) mesh.Snapshot {
	s.Releases = slices.DeleteFunc(s.Releases, func(r mesh.Release) bool { return r.Chart != "gateway" })
	theirs := mesh.Owner{Kind: mesh.OwnerIstioctl}
	for i := range s.ControlPlanes {
		s.ControlPlanes[i].Owner = theirs
	}
	for i := range s.Injectors {
		s.Injectors[i].Owner = theirs
	}
	for i := range s.Validators {
		s.Validators[i].Owner = theirs
	}
	for i := range s.CRDs {
		s.CRDs[i].Owner = theirs
	}
	return s
}

// ByGit is the mesh as a GitOps tool installs it: the control plane, what stands
// around it and the labelled namespaces are the tool's, and no release's.
func ByGit(s mesh.Snapshot, owner mesh.Owner) mesh.Snapshot {
	base, _ := s.Base()
	s = ByIstioctl(s)
	for i := range s.ControlPlanes {
		s.ControlPlanes[i].Owner = owner
	}
	for i := range s.Injectors {
		s.Injectors[i].Owner = owner
	}
	for i := range s.Validators {
		s.Validators[i].Owner = owner
	}
	for i := range s.CRDs {
		s.CRDs[i].Owner, s.CRDs[i].Version = owner, base.Version
	}
	for i, n := range s.Namespaces {
		if n.Labelled() {
			s.Namespaces[i].Owner = owner
		}
	}
	return s
}

// WithControlPlane is the mesh with another ready istiod, as the chart installs it.
func WithControlPlane(s mesh.Snapshot, revision, version string) mesh.Snapshot {
	w := &World{s: s.Clone()}
	w.ControlPlane(revision, version)
	sortAll(&w.s)
	return w.s
}
