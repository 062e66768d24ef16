package sample

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/lab/bookinfo"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Label marks the namespaces that are ours to remove.
const Label = "e2e.serin.dev/sample"

// Mesh is what Install puts on a cluster.
type Mesh struct {
	Charts  string         // Helm repository or directory
	Version string         // of Istio
	Values  map[string]any // of the istiod release: what this cluster's images need
	App     Options
}

// GatewayValues are the values of the gateway's release. The chart's pods would
// be pulled always, and a cluster may have its images from elsewhere.
func GatewayValues() map[string]any {
	port := func(name string, port int64) map[string]any {
		return map[string]any{"name": name, "port": port, "protocol": "TCP", "targetPort": port}
	}
	return map[string]any{
		"imagePullPolicy": "IfNotPresent",
		"autoscaling":     map[string]any{"enabled": false},
		"service":         map[string]any{"type": "ClusterIP", "ports": []any{port("http2", 80), port("tcp", 31400)}},
		"resources":       map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "40Mi"}},
	}
}

// IstiodValues are the values of the istiod release, with the cluster's own over them.
func IstiodValues(own map[string]any) map[string]any {
	small := func(cpu, memory string) map[string]any {
		return map[string]any{"requests": map[string]any{"cpu": cpu, "memory": memory}}
	}
	return merge(map[string]any{
		"pilot":      map[string]any{"resources": small("50m", "128Mi")},
		"global":     map[string]any{"proxy": map[string]any{"resources": small("10m", "40Mi")}},
		"meshConfig": map[string]any{"accessLogFile": "/dev/stdout"},
	}, own)
}

// ReadValues reads the file of the values that a cluster's images need; none when
// there is no file.
func ReadValues(file string) (map[string]any, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, fmt.Errorf("reading istiod's values: %w", err)
	}
	var v map[string]any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("reading istiod's values from %s: %w", file, err)
	}
	return v, nil
}

// merge lays one map over another.
func merge(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	for k, v := range over {
		a, isMap := out[k].(map[string]any)
		b, also := v.(map[string]any)
		if isMap && also {
			out[k] = merge(a, b)
			continue
		}
		out[k] = v
	}
	return out
}

// Install puts the mesh on the cluster and returns when all of it is available.
func Install(ctx context.Context, cfg *rest.Config, m Mesh) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if err := namespaces(ctx, client); err != nil {
		return err
	}
	helm := istio.NewHelm(cfg, istio.NewCharts(m.Charts))
	for _, r := range []mesh.Release{
		{Namespace: System, Name: "istio-base", Chart: "base", Version: m.Version, Values: map[string]any{"defaultRevision": "default"}},
		{Namespace: System, Name: "istiod", Chart: "istiod", Version: m.Version, Values: IstiodValues(m.Values)},
		{Namespace: Gateway, Name: Gateway, Chart: "gateway", Version: m.Version, Values: GatewayValues()},
	} {
		if err := helm.Install(ctx, r, ""); err != nil {
			return fmt.Errorf("installing Istio %s: %w", m.Version, err)
		}
		if r.Name != "istio-base" { // the gateway's pod is injected by istiod, which must be there first
			if err := ready(ctx, cfg, r.Namespace); err != nil {
				return err
			}
		}
	}
	for _, part := range []struct{ file, namespace string }{{"load.yaml", LoadPlace}, {"manifests.yaml", Namespace}} {
		all, err := objects(part.file, m.App)
		if err != nil {
			return err
		}
		if err := bookinfo.Apply(ctx, cfg, all); err != nil {
			return fmt.Errorf("putting the sample on the cluster: %w", err)
		}
	}
	return errors.Join(ready(ctx, cfg, LoadPlace), ready(ctx, cfg, Namespace))
}

func ready(ctx context.Context, cfg *rest.Config, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := bookinfo.WaitReady(ctx, cfg, namespace); err != nil {
		return fmt.Errorf("installing the mesh: %w", err)
	}
	return nil
}

// namespaces makes the namespaces, and refuses those that are somebody else's.
func namespaces(ctx context.Context, client kubernetes.Interface) error {
	labels := map[string]map[string]string{System: {}, Gateway: {}, LoadPlace: {}, Namespace: {"istio-injection": "enabled"}}
	for _, name := range places() {
		l := labels[name]
		l[Label] = "true"
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: l}}
		_, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("installing the mesh: namespace %s is there already\n  remedy: give the tests a cluster without Istio; what an earlier run left is removed by the next", name)
		}
		if err != nil {
			return fmt.Errorf("creating namespace %s: %w", name, err)
		}
	}
	return nil
}

func places() []string { return []string{System, Gateway, LoadPlace, Namespace} }
