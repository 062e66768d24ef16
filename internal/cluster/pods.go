package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/room"
	"github.com/serin-mesh/serin/internal/skew"
)

const proxyContainer = "istio-proxy"

// podFact is what is kept of a pod: of 10,000 pods the objects are let go page by page.
type podFact struct {
	mesh.Pod
	owner metav1.OwnerReference // its controller; Kind is empty for a bare pod
	proxy bool
	plain bool     // its sidecar is a container beside the others, and nothing says that it must be
	alpha []string // its annotations of alpha features, but for those that injection writes
}

func (r *Reader) pods(ctx context.Context, f *facts) error {
	f.requested = map[string]mesh.Room{}
	return each(ctx, "pods", metav1.ListOptions{}, r.Kube.CoreV1().Pods("").List, func(l *corev1.PodList) {
		for i := range l.Items {
			p := &l.Items[i]
			if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue // its containers are gone: it relies on nothing
			}
			f.pods = append(f.pods, podOf(p))
			if p.Spec.NodeName != "" {
				f.requested[p.Spec.NodeName] = f.requested[p.Spec.NodeName].Plus(room.Asked(p.Spec))
			}
		}
	})
}

func (r *Reader) replicaSets(ctx context.Context, f *facts) error {
	f.replicaSets = map[string]metav1.OwnerReference{}
	gvr := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	return r.listed(ctx, gvr, metav1.ListOptions{}, func(o metav1.PartialObjectMetadata) {
		if ref := metav1.GetControllerOfNoCopy(&o); ref != nil {
			f.replicaSets[o.Namespace+"/"+o.Name] = *ref
		}
		if o.Labels[mesh.HashLabel] == "" && o.Labels["rollouts-"+mesh.HashLabel] == "" {
			f.looseSets = append(f.looseSets, types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
		}
	})
}

func podOf(p *corev1.Pod) podFact {
	f := podFact{Pod: mesh.Pod{
		Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Leaving: p.DeletionTimestamp != nil,
	}}
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		f.owner = *ref
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			f.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if m, ok := detachedOf(p); ok { // until it ends it is its Deployment's, whatever the API server says
		f.Detached, f.owner = true, metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: m.Deployment}
	}
	f.Held = held(p)
	c := proxyOf(p.Spec)
	f.alpha = alphaOf(p.Annotations, c != nil)
	// ztunnel's container has the name too; it is no sidecar and has no revision to move (R§10).
	if c == nil || p.Labels["app"] == "ztunnel" {
		return f
	}
	for _, is := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if is.Name == proxyContainer {
			f.Restarts = int(is.RestartCount)
		}
	}
	f.proxy = true
	f.plain = plainSidecar(p)
	f.Version = imageVersion(c.Image)
	f.Revision = revisionOf(p.Annotations, c)
	return f
}

// plainSidecar says whether the pod's sidecar would be native (an init container)
// if it was injected where every node can run it so. Gateways never are.
func plainSidecar(p *corev1.Pod) bool {
	beside := slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == proxyContainer })
	_, decided := p.Annotations["sidecar.istio.io/nativeSidecar"]
	_, managed := p.Labels["gateway.networking.k8s.io/gateway-name"]
	return beside && !decided && !managed && p.Annotations[mesh.TemplatesAnnotation] != "gateway" && p.Labels[mesh.InjectLabel] != "false"
}

// alphaOf are the annotations of alpha features. The injector writes some itself,
// which say nothing about the user (istioctl leaves out the same but for the overrides).
func alphaOf(have map[string]string, injected bool) []string { //nolint:revive // what is left out depends on it
	injectors := []string{
		"proxy.istio.io/overrides", "sidecar.istio.io/interceptionMode", "traffic.sidecar.istio.io/includeInboundPorts",
		"traffic.sidecar.istio.io/excludeInboundPorts", "traffic.sidecar.istio.io/includeOutboundIPRanges",
	}
	var out []string
	for key := range have {
		if skew.Alpha(key) && (!injected || !slices.Contains(injectors, key)) {
			out = append(out, key)
		}
	}
	return out
}

// proxyOf finds the proxy, which is an init container where sidecars are native (R§1.5).
func proxyOf(spec corev1.PodSpec) *corev1.Container {
	for i := range spec.Containers {
		if spec.Containers[i].Name == proxyContainer {
			return &spec.Containers[i]
		}
	}
	for i := range spec.InitContainers {
		if spec.InitContainers[i].Name == proxyContainer {
			return &spec.InitContainers[i]
		}
	}
	return nil
}

// revisionOf says which revision injected the pod: its annotation, else the
// injector's own record, else the istiod that the proxy calls (R§12).
func revisionOf(annotations map[string]string, proxy *corev1.Container) string {
	if rev := annotations[mesh.RevLabel]; rev != "" {
		return rev
	}
	var status struct {
		Revision string `json:"revision"`
	}
	if json.Unmarshal([]byte(annotations["sidecar.istio.io/status"]), &status) == nil && status.Revision != "" {
		return status.Revision
	}
	for _, e := range proxy.Env {
		if e.Name != "PROXY_CONFIG" {
			continue
		}
		var c struct {
			DiscoveryAddress string `json:"discoveryAddress"`
		}
		if json.Unmarshal([]byte(e.Value), &c) == nil {
			return revisionOfHost(c.DiscoveryAddress)
		}
	}
	return ""
}

// revisionOfHost reads "istiod[-rev].ns.svc:15012".
func revisionOfHost(address string) string {
	name, _, _ := strings.Cut(address, ".")
	switch rest, ok := strings.CutPrefix(name, "istiod"); {
	case !ok:
		return ""
	case rest == "":
		return mesh.DefaultRevision
	default:
		return strings.TrimPrefix(rest, "-")
	}
}

// imageVersion is the tag of an image without its flavour; empty when the image
// is named by digest alone.
func imageVersion(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	_, tag, _ := strings.Cut(image, ":")
	for _, flavour := range []string{"-distroless", "-debug", "-default"} {
		tag = strings.TrimSuffix(tag, flavour)
	}
	return strings.TrimPrefix(tag, "v")
}

// topOwner is what owns a pod, or its ReplicaSet where it has one.
func (f *facts) topOwner(p podFact) metav1.OwnerReference {
	if p.owner.Kind == "ReplicaSet" {
		if above, ok := f.replicaSets[p.Namespace+"/"+p.owner.Name]; ok {
			return above
		}
	}
	return p.owner
}

// workload says what a pod belongs to.
func (f *facts) workload(p podFact) mesh.Ref {
	owner := f.topOwner(p)
	ref := mesh.Ref{Namespace: p.Namespace, Name: owner.Name}
	switch {
	case owner.Kind == "":
		ref.Kind, ref.Name = mesh.KindPod, p.Name
	case owner.Kind == "Deployment" && strings.HasPrefix(owner.APIVersion, "apps/"):
		ref.Kind = mesh.KindDeployment
	case owner.Kind == "StatefulSet" && strings.HasPrefix(owner.APIVersion, "apps/"):
		ref.Kind = mesh.KindStatefulSet
	case owner.Kind == "DaemonSet" && strings.HasPrefix(owner.APIVersion, "apps/"):
		ref.Kind = mesh.KindDaemonSet
	case owner.Kind == "Job":
		ref.Kind = mesh.KindJob
	default:
		ref.Kind = mesh.KindOther
	}
	return ref
}
