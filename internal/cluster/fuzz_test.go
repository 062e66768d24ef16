package cluster_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/cluster"
)

// FuzzPod: whatever is written on a pod, it is a pod of some revision, or of none.
func FuzzPod(f *testing.F) {
	f.Add("sidecar.istio.io/status", `{"revision":"a"}`, `{"discoveryAddress":"istiod-a.istio-system.svc:15012"}`, "docker.io/istio/proxyv2:1.27.0")
	f.Add("serin.dev/detached", `{"deployment":"cart","replicaSet":"cart-1","hash":"1","to":"new","plan":"d","step":3}`, "{", "x@sha256:0")
	f.Add("istio.io/rev", "", "null", "")
	f.Fuzz(func(_ *testing.T, key, value, conf, image string) {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-0", Annotations: map[string]string{key: value}, Labels: map[string]string{key: value}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "istio-proxy", Image: image, Env: []corev1.EnvVar{{Name: "PROXY_CONFIG", Value: conf}}}}},
		}
		_, _ = cluster.RevisionOfPod(p), cluster.ImageVersion(image)
	})
}

// FuzzRelease: whatever is kept as a Helm release, it is one or is an error.
func FuzzRelease(f *testing.F) {
	f.Add([]byte("e30="))
	f.Add([]byte("H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA=="))
	f.Add([]byte("H4sIAAAA"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = cluster.ReleaseOf(&corev1.Secret{Data: map[string][]byte{"release": data}})
	})
}
