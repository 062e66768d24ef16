package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// crdResource is that of CustomResourceDefinitions.
func crdResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// custom reads Istio's custom resources. The definitions are found by their
// names, then read one by one: all definitions of a cluster, with their schemas,
// can be tens of megabytes. A kind that is not there has no objects.
func (r *Reader) custom(ctx context.Context, f *facts) error {
	var names []string
	f.resources = map[string]schema.GroupVersionResource{}
	err := r.listed(ctx, crdResource(), metav1.ListOptions{}, func(o metav1.PartialObjectMetadata) {
		f.definitions = append(f.definitions, o.Name)
		if ofIstio(o.Name) || o.Name == gatewayCRD {
			names = append(names, o.Name)
		}
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, name := range names {
		g.Go(func() error {
			crd, err := r.CRDs.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return asking("get", "customresourcedefinitions "+name, err)
			}
			return r.objects(ctx, crd, f, &mu)
		})
	}
	return g.Wait()
}

const gatewayCRD = "gateways.gateway.networking.k8s.io"

// ofIstio says whether a definition's name, plural.group, is in one of Istio's groups.
func ofIstio(name string) bool { return strings.HasSuffix(name, ".istio.io") }

// objects reads of one kind what matters: what is pinned to a revision, what a
// gateway routes to, what serin does not support.
func (r *Reader) objects(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition, f *facts, mu *sync.Mutex) error {
	gvr := schema.GroupVersionResource{Group: crd.Spec.Group, Version: served(crd), Resource: crd.Spec.Names.Plural}
	mu.Lock()
	if ofIstio(crd.Name) {
		f.crds = append(f.crds, crdOf(crd))
	}
	f.resources[crd.Name] = gvr
	mu.Unlock()
	if gvr.Version == "" {
		return nil
	}
	add := func(to *[]mesh.Object, note string) func(metav1.PartialObjectMetadata) {
		return func(o metav1.PartialObjectMetadata) {
			mu.Lock()
			defer mu.Unlock()
			*to = append(*to, mesh.Object{Kind: crd.Spec.Names.Kind, Namespace: o.Namespace, Name: o.Name, Revision: o.Labels[mesh.RevLabel], Note: note})
		}
	}
	switch crd.Name {
	case gatewayCRD:
		return r.gatewayAPIGateways(ctx, gvr, f, mu)
	case "gateways.networking.istio.io":
		if err := r.ownGateways(ctx, gvr, f, mu); err != nil {
			return err
		}
	case "virtualservices.networking.istio.io":
		if err := r.routes(ctx, gvr, f, mu); err != nil {
			return err
		}
	case telemetryCRD:
		if err := r.strays(ctx, gvr, f); err != nil {
			return err
		}
	case "workloadgroups.networking.istio.io":
		if err := r.listed(ctx, gvr, metav1.ListOptions{}, add(&f.machines, "virtual machines have a proxy of their own, which serin does not move")); err != nil {
			return err
		}
	}
	return r.listed(ctx, gvr, metav1.ListOptions{LabelSelector: mesh.RevLabel}, add(&f.pinned, ""))
}

func crdOf(crd *apiextensionsv1.CustomResourceDefinition) mesh.CRD {
	out := mesh.CRD{Name: crd.Name, StoredVersions: crd.Status.StoredVersions, Owner: ownerOf(crd), Established: established(crd)}
	if v, ok := strings.CutPrefix(crd.Labels["helm.sh/chart"], "base-"); ok { // from 1.24 on the chart says so
		out.Version = v
	}
	for _, v := range crd.Spec.Versions {
		if v.Served {
			out.ServedVersions = append(out.ServedVersions, v.Name)
		}
	}
	return out
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.Established {
			return c.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

// served is the version that is stored, if it is served, else the first that is.
func served(crd *apiextensionsv1.CustomResourceDefinition) string {
	first := ""
	for _, v := range crd.Spec.Versions {
		switch {
		case v.Served && v.Storage:
			return v.Name
		case v.Served && first == "":
			first = v.Name
		}
	}
	return first
}

// routes notes the Services that VirtualServices lead to, of a gateway and of the mesh.
func (r *Reader) routes(ctx context.Context, gvr schema.GroupVersionResource, f *facts, mu *sync.Mutex) error {
	return each(ctx, "virtualservices.networking.istio.io", metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for _, v := range l.Items {
			gateways, _, _ := unstructured.NestedStringSlice(v.Object, "spec", "gateways")
			spec, _, _ := unstructured.NestedMap(v.Object, "spec")
			mu.Lock()
			for _, host := range destinations(spec) {
				if throughGateway(gateways) {
					f.routed[serviceOf(host, v.GetNamespace())] = true
				}
				if len(gateways) == 0 || slices.Contains(gateways, "mesh") {
					f.fromMesh[serviceOf(host, v.GetNamespace())] = true
				}
			}
			mu.Unlock()
		}
	})
}

// throughGateway says whether traffic of a gateway uses the routes: without
// gateways a VirtualService is for the mesh.
func throughGateway(gateways []string) bool {
	for _, g := range gateways {
		if g != "mesh" {
			return true
		}
	}
	return false
}

func destinations(spec map[string]any) []string {
	var hosts []string
	for _, protocol := range []string{"http", "tcp", "tls"} {
		rules, _, _ := unstructured.NestedSlice(spec, protocol)
		for _, rule := range rules {
			m, _ := rule.(map[string]any)
			routes, _, _ := unstructured.NestedSlice(m, "route")
			for _, route := range routes {
				dest, _ := route.(map[string]any)
				if host, _, _ := unstructured.NestedString(dest, "destination", "host"); host != "" {
					hosts = append(hosts, host)
				}
			}
		}
	}
	return hosts
}

// serviceOf turns a destination's host into namespace/name: a short name is of
// the VirtualService's own namespace.
func serviceOf(host, namespace string) string {
	parts := strings.Split(host, ".")
	if len(parts) == 1 {
		return namespace + "/" + host
	}
	return parts[1] + "/" + parts[0]
}
