package cluster

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// templateOf keeps what of a pod template decides how its pods may be replaced.
func templateOf(o metav1.Object, t corev1.PodTemplateSpec) mesh.Template {
	out := mesh.Template{
		AntiAffinity: keepsApart(t.Spec), Spread: slices.ContainsFunc(t.Spec.TopologySpreadConstraints, func(c corev1.TopologySpreadConstraint) bool {
			return c.WhenUnsatisfiable != corev1.ScheduleAnyway
		}),
		Marks: trackingMarks(o, t),
	}
	for _, c := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
		withContainer(&out, c)
	}
	for _, c := range t.Spec.ResourceClaims {
		out.Devices = append(out.Devices, "claim "+c.Name)
	}
	for _, v := range t.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			out.Claims = append(out.Claims, v.PersistentVolumeClaim.ClaimName)
		}
	}
	for _, g := range t.Spec.ReadinessGates {
		out.Gates = append(out.Gates, string(g.ConditionType))
	}
	if c := metav1.GetControllerOfNoCopy(o); c != nil {
		out.MadeBy = c.Kind + " " + c.Name
	}
	slices.Sort(out.Devices)
	out.Devices = slices.Compact(out.Devices)
	return out
}

func withContainer(t *mesh.Template, c corev1.Container) {
	if c.Name != proxyContainer {
		t.Probed = t.Probed || c.ReadinessProbe != nil
		t.Drains = t.Drains || c.Lifecycle != nil && c.Lifecycle.PreStop != nil
	}
	t.HostPorts = t.HostPorts || slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort > 0 })
	t.Devices = append(t.Devices, devices(c.Resources)...)
}

// keepsApart says whether two of its pods must not be neighbours.
func keepsApart(spec corev1.PodSpec) bool {
	a := spec.Affinity
	return a != nil && a.PodAntiAffinity != nil && len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0
}

// devices are resources that a node has a few of.
func devices(r corev1.ResourceRequirements) []string {
	var out []string
	for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
		for name := range list {
			if name != corev1.ResourceCPU && name != corev1.ResourceMemory && name != corev1.ResourceEphemeralStorage {
				out = append(out, string(name))
			}
		}
	}
	for _, c := range r.Claims {
		out = append(out, "claim "+c.Name)
	}
	return out
}

// instanceLabel is Argo CD's mark in its oldest mode, and a label that charts set.
const instanceLabel = "app.kubernetes.io/instance"

// trackingMarks are labels and annotations on the pods by which a GitOps tool takes
// them for its own (S-37). Charts set the label that Argo CD tracks by: it is a
// chart's alone only where Helm itself has installed the workload.
func trackingMarks(o metav1.Object, t corev1.PodTemplateSpec) []string {
	var out []string
	for key := range t.Labels {
		switch {
		case strings.HasPrefix(key, "argocd.argoproj.io/"), strings.HasPrefix(key, "kapp.k14s.io/"),
			strings.Contains(key, ".toolkit.fluxcd.io/"):
			out = append(out, key)
		case key == instanceLabel && ownerOf(o).Kind != mesh.OwnerHelm:
			out = append(out, key)
		}
	}
	for key := range t.Annotations {
		if strings.HasPrefix(key, "argocd.argoproj.io/") || strings.HasPrefix(key, "kapp.k14s.io/") {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// exposureOf says how a Service reaches more than the mesh, or otherwise than by
// endpoints that are ready (S-39); empty where it does not.
func exposureOf(s *corev1.Service) string {
	switch {
	case s.Spec.Type == corev1.ServiceTypeLoadBalancer, s.Spec.Type == corev1.ServiceTypeNodePort:
		return "is of type " + string(s.Spec.Type) + ": its clients are outside of the mesh"
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return "is of type ExternalName"
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		return "is headless: its clients keep addresses for as long as they like"
	case len(s.Spec.ExternalIPs) > 0:
		return "has external addresses: its clients are outside of the mesh"
	case s.Spec.PublishNotReadyAddresses:
		return "publishes addresses that are not ready"
	case s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal:
		return "keeps traffic on its node"
	case s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal:
		return "keeps external traffic on its node"
	}
	return ""
}

// onlyHeadless says whether the Service has no address, and nothing else by which
// clients from elsewhere reach its pods.
func onlyHeadless(s *corev1.Service) bool {
	local := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	return s.Spec.ClusterIP == corev1.ClusterIPNone && (s.Spec.Type == "" || s.Spec.Type == corev1.ServiceTypeClusterIP) && len(s.Spec.ExternalIPs) == 0 && !local
}
