package node_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/node"
)

func pod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "cart-1", Namespace: "shop", UID: "u1",
			Labels: map[string]string{"app": "cart"}, Annotations: map[string]string{"istio.io/rev": "1-29-1", "a": `say "hi"`},
		},
		Spec:   corev1.PodSpec{NodeName: "n1", ServiceAccountName: "cart"},
		Status: corev1.PodStatus{PodIP: "10.244.0.1", HostIP: "10.99.0.1"},
	}
}

func data(kind, name string) (map[string]string, error) {
	return map[string]map[string]string{
		"ConfigMap/settings": {"colour": "blue", "size": "xl"},
		"Secret/password":    {"word": "sesame"},
	}[kind+"/"+name], nil
}

func field(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func limit(name string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: name}}
}

func TestEnvironment(t *testing.T) {
	yes := true
	c := corev1.Container{
		Name: "main",
		Resources: corev1.ResourceRequirements{
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourceCPU: resource.MustParse("1500m")},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
		},
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "S_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "x"},
			{Name: "EXPANDED", Value: "$(PLAIN)-$$(PLAIN)-$(UNKNOWN)"},
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "HOST", ValueFrom: field("status.hostIP")},
			{Name: "REV", ValueFrom: field("metadata.annotations['istio.io/rev']")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "CPU", ValueFrom: limit("limits.cpu")},
			{Name: "MEM", ValueFrom: limit("limits.memory")},
			{Name: "ASKED", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "requests.cpu", Divisor: resource.MustParse("1m")}}},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}, Key: "word"}}},
			{Name: "ABSENT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "k", Optional: &yes}}},
		},
	}
	got, err := node.Environment(pod(), c, data)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"S_colour": "blue", "S_size": "xl", "PLAIN": "x", "EXPANDED": "x-$(PLAIN)-$(UNKNOWN)", "NAME": "cart-1", "IP": "10.244.0.1",
		"HOST": "10.99.0.1", "REV": "1-29-1", "APP": "cart", "CPU": "2", "MEM": "1073741824", "ASKED": "100", "KEY": "sesame",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("environment (-want +got):\n%s", d)
	}
}

func TestEnvironment_whatIsMissingIsNamed(t *testing.T) {
	for name, e := range map[string]corev1.EnvVar{
		`reading key "k" of ConfigMap "none"`:        {Name: "A", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "k"}}},
		"reading field spec.colour: unknown":         {Name: "A", ValueFrom: field("spec.colour")},
		"resolving A of container main":              {Name: "A", ValueFrom: field("spec.colour")},
		"reading resource cpu: unknown":              {Name: "A", ValueFrom: limit("cpu")},
		`reading key "other" of Secret "password": `: {Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}, Key: "other"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := node.Environment(pod(), corev1.Container{Name: "main", Env: []corev1.EnvVar{e}}, data)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error with %q", err, name)
			}
		})
	}
}

func TestField_mapsAreLinesInOrder(t *testing.T) {
	got, err := node.Field(pod(), "metadata.annotations")
	if want := "a=\"say \\\"hi\\\"\"\nistio.io/rev=\"1-29-1\""; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
