package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/mesh"
)

// page is how many objects one list request returns at most.
const page = 500

// Reader observes a cluster. It never writes.
type Reader struct {
	kube      kubernetes.Interface
	dynamic   dynamic.Interface
	crds      apiextensions.Interface
	namespace string // of Istio
}

// NewReader returns a Reader of the cluster whose control planes live in istioNamespace.
func NewReader(cfg *rest.Config, istioNamespace string) (*Reader, error) {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	crds, err := apiextensions.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Reader{kube: kube, dynamic: dyn, crds: crds, namespace: istioNamespace}, nil
}

// NewReaderFor returns a Reader over clients that exist.
func NewReaderFor(kube kubernetes.Interface, dyn dynamic.Interface, crds apiextensions.Interface, istioNamespace string) *Reader {
	return &Reader{kube: kube, dynamic: dyn, crds: crds, namespace: istioNamespace}
}

// Observe reads every fact the planner may use, everything at once.
func (r *Reader) Observe(ctx context.Context) (mesh.Snapshot, error) {
	s := mesh.Snapshot{IstioNamespace: r.namespace}
	var apps workloads
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, read := range []func(context.Context, *mesh.Snapshot) error{
		r.version, r.injectors, r.validators, r.tagServices, r.namespaces, r.controlPlanes, r.releases, r.istioCRDs, r.singletons,
	} {
		g.Go(func() error { return read(ctx, &s) })
	}
	g.Go(func() error { // both add to Unsupported
		if err := r.unsupported(ctx, &s); err != nil {
			return err
		}
		return r.istioObjects(ctx, &s)
	})
	g.Go(func() error { return r.applications(ctx, &apps) })
	if err := g.Wait(); err != nil {
		return mesh.Snapshot{}, err
	}
	apps.into(&s)
	order(&s)
	return s, nil
}

// listing names what could not be listed, and what permission it takes.
func listing(what string, err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("listing %s: not permitted: the user needs the verb list on %s: %w", what, what, err)
	}
	return fmt.Errorf("listing %s: %w", what, err)
}

func (r *Reader) version(_ context.Context, s *mesh.Snapshot) error {
	v, err := r.kube.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("asking the API server for its version: %w", err)
	}
	s.KubernetesVersion = v.GitVersion
	return nil
}

func (r *Reader) tagServices(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.CoreV1().Services(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: mesh.TagLabel})
	if err != nil {
		return listing("services", err)
	}
	for _, v := range list.Items {
		s.TagServices = append(s.TagServices, mesh.TagService{Name: v.Name, Tag: v.Labels[mesh.TagLabel], Revision: v.Labels[mesh.RevLabel]})
	}
	return nil
}

func (r *Reader) namespaces(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return listing("namespaces", err)
	}
	for _, n := range list.Items {
		s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: n.Name, Labels: n.Labels, Owner: ownerOf(n.ObjectMeta)})
	}
	return nil
}

func (r *Reader) controlPlanes(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.AppsV1().Deployments(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return listing("deployments.apps", err)
	}
	for _, d := range list.Items {
		rev := d.Labels[mesh.RevLabel]
		if rev == "" {
			rev = mesh.DefaultRevision
		}
		c := mesh.ControlPlane{Revision: rev, Namespace: d.Namespace, Name: d.Name, Ready: int(d.Status.ReadyReplicas), Replicas: 1, Owner: ownerOf(d.ObjectMeta)}
		if d.Spec.Replicas != nil {
			c.Replicas = int(*d.Spec.Replicas)
		}
		for _, k := range d.Spec.Template.Spec.Containers {
			if k.Name == "discovery" {
				c.Version = tagOf(k.Image)
			}
		}
		s.ControlPlanes = append(s.ControlPlanes, c)
	}
	return nil
}

func (r *Reader) istioCRDs(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.crds.ApiextensionsV1().CustomResourceDefinitions().List(ctx, metav1.ListOptions{})
	if err != nil {
		return listing("customresourcedefinitions.apiextensions.k8s.io", err)
	}
	for _, c := range list.Items {
		if !strings.HasSuffix(c.Spec.Group, ".istio.io") {
			continue
		}
		out := mesh.CRD{Name: c.Name, StoredVersions: c.Status.StoredVersions, Owner: ownerOf(c.ObjectMeta)}
		for _, v := range c.Spec.Versions {
			if v.Served {
				out.ServedVersions = append(out.ServedVersions, v.Name)
			}
		}
		for _, cond := range c.Status.Conditions {
			if string(cond.Type) == "Established" && string(cond.Status) == "True" {
				out.Established = true
			}
		}
		s.CRDs = append(s.CRDs, out)
	}
	return nil
}

func (r *Reader) singletons(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{LabelSelector: "app=ztunnel"})
	if err != nil {
		return listing("daemonsets.apps", err)
	}
	cni, err := r.kube.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=istio-cni-node"})
	if err != nil {
		return listing("daemonsets.apps", err)
	}
	for _, d := range append(list.Items, cni.Items...) {
		v := ""
		if cs := d.Spec.Template.Spec.Containers; len(cs) > 0 {
			v = tagOf(cs[0].Image)
		}
		one := mesh.Singleton{Name: d.Name, Version: v}
		if !slices.Contains(s.Singletons, one) {
			s.Singletons = append(s.Singletons, one)
		}
	}
	return nil
}

// unsupported finds the shapes that serin refuses to run blind (S-19).
func (r *Reader) unsupported(ctx context.Context, s *mesh.Snapshot) error {
	secrets, err := r.kube.CoreV1().Secrets(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: "istio/multiCluster=true"})
	if err != nil {
		return listing("secrets", err)
	}
	for _, x := range secrets.Items {
		s.Unsupported = append(s.Unsupported, mesh.Object{Kind: "Secret", Namespace: x.Namespace, Name: x.Name, Note: "a remote cluster of a multi-cluster mesh"})
	}
	nss, err := r.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: "istio.io/dataplane-mode=ambient"})
	if err != nil {
		return listing("namespaces", err)
	}
	for _, n := range nss.Items {
		s.Unsupported = append(s.Unsupported, mesh.Object{Kind: "Namespace", Name: n.Name, Note: "ambient mode"})
	}
	remote, err := r.kube.CoreV1().Services(r.namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=istiod-remote"})
	if err != nil {
		return listing("services", err)
	}
	for _, x := range remote.Items {
		s.Unsupported = append(s.Unsupported, mesh.Object{Kind: "Service", Namespace: x.Namespace, Name: x.Name, Note: "a control plane outside the cluster"})
	}
	return nil
}

// ownerOf tells the tool an object belongs to by the marks the tools leave (R§11).
func ownerOf(o metav1.ObjectMeta) mesh.Owner {
	switch {
	case o.Annotations["argocd.argoproj.io/tracking-id"] != "" || o.Labels["argocd.argoproj.io/instance"] != "":
		return mesh.Owner{Kind: mesh.OwnerArgoCD, Name: first(o.Labels["argocd.argoproj.io/instance"], o.Annotations["argocd.argoproj.io/tracking-id"])}
	case o.Labels["kustomize.toolkit.fluxcd.io/name"] != "":
		return mesh.Owner{Kind: mesh.OwnerFlux, Name: o.Labels["kustomize.toolkit.fluxcd.io/namespace"] + "/" + o.Labels["kustomize.toolkit.fluxcd.io/name"]}
	case o.Labels["helm.toolkit.fluxcd.io/name"] != "":
		return mesh.Owner{Kind: mesh.OwnerFlux, Name: o.Labels["helm.toolkit.fluxcd.io/namespace"] + "/" + o.Labels["helm.toolkit.fluxcd.io/name"]}
	case slices.ContainsFunc(o.OwnerReferences, func(x metav1.OwnerReference) bool { return strings.HasPrefix(x.APIVersion, "sailoperator.io/") }):
		return mesh.Owner{Kind: mesh.OwnerSail, Name: o.OwnerReferences[0].Name}
	case o.Annotations["meta.helm.sh/release-name"] != "":
		return mesh.Owner{Kind: mesh.OwnerHelm, Name: o.Annotations["meta.helm.sh/release-namespace"] + "/" + o.Annotations["meta.helm.sh/release-name"]}
	case o.Labels["install.operator.istio.io/owning-resource-namespace"] != "":
		return mesh.Owner{Kind: mesh.OwnerIstioctl, Name: o.Labels["install.operator.istio.io/owning-resource"]}
	}
	return mesh.Owner{Kind: mesh.OwnerNone}
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// tagOf returns the tag of an image reference, "" if it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	i := strings.LastIndexByte(image, ':')
	if i < 0 || strings.Contains(image[i:], "/") {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(image[i+1:], "-distroless"), "-debug")
}

// proxyContainer finds istio-proxy among containers and, for native sidecars, init containers (R§1.5).
func proxyContainer(spec corev1.PodSpec) (corev1.Container, bool) {
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		if c.Name == "istio-proxy" {
			return c, true
		}
	}
	return corev1.Container{}, false
}
