package bookinfo

import (
	"context"
	"fmt"
	"maps"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Mesh is what Install puts on a cluster.
type Mesh struct {
	Charts  string // Helm repository or directory
	Version string // of Istio
	App     Options
	Values  map[string]any // of the istiod release, over the lab's
	// Plane installs the CRDs and the control plane instead, by another tool than Helm.
	Plane func(context.Context) error
}

// IstiodValues are the values the lab's meshes are installed with: small
// requests, and a mesh configuration of the user's that an upgrade must carry over.
func IstiodValues() map[string]any {
	return map[string]any{
		"pilot": map[string]any{
			"resources": map[string]any{"requests": map[string]any{"cpu": "50m", "memory": "128Mi"}},
		},
		"meshConfig": map[string]any{"accessLogFile": "/dev/stdout"},
	}
}

// GatewayValues are the values of the ingress gateway's release.
func GatewayValues() map[string]any {
	return map[string]any{
		"autoscaling": map[string]any{"enabled": false},
		"resources":   map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "40Mi"}},
	}
}

// Install installs Istio by Helm as the default revision (istio-base, istiod),
// an ingress gateway (istio-ingress) and the sample, and waits until all is available.
func Install(ctx context.Context, cfg *rest.Config, m Mesh) error {
	helm := istio.NewHelm(cfg, istio.NewCharts(m.Charts))
	values := IstiodValues()
	maps.Copy(values, m.Values)
	releases := []mesh.Release{
		{Namespace: "istio-system", Name: "istio-base", Chart: "base", Version: m.Version, Values: map[string]any{"defaultRevision": "default"}},
		{Namespace: "istio-system", Name: "istiod", Chart: "istiod", Version: m.Version, Values: values},
		{Namespace: Gateway, Name: Gateway, Chart: "gateway", Version: m.Version, Values: GatewayValues()},
	}
	for _, ns := range []string{"istio-system", Gateway} {
		if err := namespace(ctx, cfg, ns); err != nil {
			return err
		}
	}
	if m.Plane != nil {
		if err := m.Plane(ctx); err != nil {
			return fmt.Errorf("installing Istio %s: %w", m.Version, err)
		}
		releases = releases[2:]
	}
	for _, r := range releases {
		if err := helm.Install(ctx, r, ""); err != nil {
			return fmt.Errorf("installing Istio %s: %w", m.Version, err)
		}
		if r.Name != "istio-base" { // the gateway's pod is injected by istiod, which must be there first
			if err := WaitReady(ctx, cfg, r.Namespace); err != nil {
				return err
			}
		}
	}
	objects, err := Objects(m.App)
	if err != nil {
		return err
	}
	if err := Apply(ctx, cfg, objects); err != nil {
		return err
	}
	ns := m.App.Namespace
	if ns == "" {
		ns = "default"
	}
	return WaitReady(ctx, cfg, ns)
}

// namespace makes a namespace, as helm install --create-namespace does.
func namespace(ctx context.Context, cfg *rest.Config, name string) error {
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}
