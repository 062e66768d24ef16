package cluster

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// What the tests look at from outside.

func OwnerOf(o metav1.Object) mesh.Owner                      { return ownerOf(o) }
func NamespaceOwner(o metav1.Object) mesh.Owner               { return namespaceOwner(o) }
func ImageVersion(image string) string                        { return imageVersion(image) }
func RevisionOfPod(p *corev1.Pod) string                      { return podOf(p).Revision }
func WorkloadOfDeployment(d *appsv1.Deployment) mesh.Workload { return deploymentOf(d).Workload }
func Masked(values map[string]any) map[string]any             { return mesh.Masked(values) }

// NamespaceResource is what namespaces are called.
func NamespaceResource() schema.GroupVersionResource { return namespaceResource() }

// PlaneKinds are the kinds that are kept of a control plane.
func PlaneKinds() []schema.GroupVersionResource {
	return append(planeKinds(), injectorResource(), validatorResource())
}

// ReleaseOf is decodeRelease.
func ReleaseOf(s *corev1.Secret) (mesh.Release, error) { return decodeRelease(s) }

// RehearsalKinds are what a rehearsal lists.
func RehearsalKinds() []schema.GroupVersionResource { return append(copiedKinds(), leftKinds()...) }

// RouteKinds are what attaches to a Gateway.
func RouteKinds() []schema.GroupVersionResource { return slices.Concat(routeKinds()...) }

// SetPaces lets a test wait less.
func (w *Writer) SetPaces(p Paces) { w.paces = p }

// Unlike are the fields in which two objects differ, but for what is of a release.
func Unlike(a, b *unstructured.Unstructured) []string {
	return unlike(ofNoRelease(a), ofNoRelease(b), "")
}
