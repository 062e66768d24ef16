package room_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/room"
)

func TestAsked(t *testing.T) {
	asks := func(cpu, memory string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}}}
	}
	sidecar := asks("100m", "128Mi")
	always := corev1.ContainerRestartPolicyAlways
	sidecar.RestartPolicy = &always
	for _, tc := range []struct {
		name string
		spec corev1.PodSpec
		want mesh.Room
	}{
		{"nothing", corev1.PodSpec{Containers: []corev1.Container{{}}}, mesh.Room{}},
		{"containers together", corev1.PodSpec{Containers: []corev1.Container{asks("1", "1Gi"), asks("10m", "0.5Gi")}}, mesh.Room{CPU: 1010, Memory: 1536}},
		{"a native sidecar stays", corev1.PodSpec{InitContainers: []corev1.Container{sidecar}, Containers: []corev1.Container{asks("1", "1Gi")}}, mesh.Room{CPU: 1100, Memory: 1152}},
		{
			"an init container asks for more, beside the sidecar before it",
			corev1.PodSpec{InitContainers: []corev1.Container{sidecar, asks("2", "64Mi")}, Containers: []corev1.Container{asks("1", "1Gi")}},
			mesh.Room{CPU: 2100, Memory: 1152},
		},
		{
			"the runtime's overhead",
			corev1.PodSpec{Containers: []corev1.Container{asks("1", "1Gi")}, Overhead: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}},
			mesh.Room{CPU: 1050, Memory: 1024},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := room.Asked(tc.spec); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
