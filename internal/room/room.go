// Package room reads what pods ask of a node out of the API's objects, for all who
// compare it with what is free.
package room

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Of is an amount of resources.
func Of(l corev1.ResourceList) mesh.Room {
	return mesh.Room{CPU: l.Cpu().MilliValue(), Memory: l.Memory().Value() >> 20}
}

// Asked is what the scheduler counts for a pod: its containers together, or an init
// container that asks for more, beside the sidecars that started before it.
func Asked(spec corev1.PodSpec) mesh.Room {
	return Of(resource.PodRequests(&corev1.Pod{Spec: spec}, resource.PodResourcesOptions{}))
}
