package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/lab/app"
	"github.com/serin-mesh/serin/lab/proxy"
)

// proxyName is the name of the container that injection adds.
const proxyName = "istio-proxy"

// make decides what a container is and makes it. What a kubelet would wait for
// (a ConfigMap to mount) is an error here: the caller tries again.
func (w *worker) make(ctx context.Context, s *slot) (runnable, error) {
	pod := w.view()
	env, err := w.environment(ctx, pod, s.spec)
	if err != nil {
		return nil, err
	}
	if version, ok := pilotVersion(s.spec.Image); ok {
		return w.makeIstiod(ctx, s, pod, version, env)
	}
	if s.spec.Name == proxyName {
		return w.makeProxy(ctx, s, pod, env)
	}
	dial := w.k.opts.Fabric.Namespace(pod.Namespace).DialContext
	if w.hasProxy() {
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			p := w.proxy()
			if p == nil {
				return nil, errors.New("dialing through the proxy: it is not running")
			}
			return p.DialOutbound(ctx, network, address)
		}
	}
	a := app.New(app.Config{Pod: pod, Container: s.spec, Env: env, Dial: dial, Log: s.log})
	if f := w.k.flaw(w.failing); f != (app.Flaw{}) {
		a.Spoil(f)
	}
	return &appContainer{a}, nil
}

// pilotVersion is the release of an image that is istiod.
func pilotVersion(image string) (string, bool) {
	i := strings.LastIndex(image, "/")
	name, tag, ok := strings.Cut(image[i+1:], ":")
	if !ok || name != "pilot" {
		return "", false
	}
	version, _, _ := strings.Cut(tag, "-") // a variant: 1.29.1-distroless
	return version, true
}

func (w *worker) hasProxy() bool {
	return slices.ContainsFunc(w.slots, func(s *slot) bool { return s.spec.Name == proxyName })
}

// proxy is the pod's proxy if it runs.
func (w *worker) proxy() *proxy.Proxy {
	for _, s := range w.slots {
		if s.spec.Name == proxyName {
			if c, ok := s.get().(*proxyContainer); ok {
				return c.Proxy
			}
		}
	}
	return nil
}

func (w *worker) makeProxy(ctx context.Context, s *slot, pod *corev1.Pod, env map[string]string) (runnable, error) {
	if w.k.root(pod.Namespace) == nil {
		return nil, fmt.Errorf("mounting volume istiod-ca-cert: configmap %q not found", rootCA)
	}
	defaults, err := w.meshDefaults(ctx, pod, s.spec)
	if err != nil {
		return nil, err
	}
	env, err = withAgentDefaults(env, defaults)
	if err != nil {
		return nil, err
	}
	p, err := proxy.New(proxy.Config{
		Pod: pod, Env: env, Image: s.spec.Image, Router: slices.Contains(s.spec.Args, "router"),
		Token:  func(ctx context.Context) (string, error) { return w.token(ctx, pod, "istio-ca", 12*time.Hour) },
		RootCA: func() []byte { return w.k.root(pod.Namespace) },
		Net:    w.k.opts.Fabric, App: w.toApp, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("making the proxy: %w", err)
	}
	if host := w.k.loses(pod); host != "" {
		p.Lose(host)
	}
	return &proxyContainer{Proxy: p}, nil
}

// defaultDiscovery is where pilot-agent connects unless it is told otherwise:
// injection leaves the address out of PROXY_CONFIG when it is this one.
const defaultDiscovery = "istiod.istio-system.svc:15012"

// meshFile is where pilot-agent looks for the mesh's configuration: only the
// templates of rendered gateways mount it.
const meshFile = "/etc/istio/config"

// meshDefaults are the defaultConfig of the mesh configuration that the container
// mounts, nil where there is none: so a rendered gateway learns its istiod.
func (w *worker) meshDefaults(ctx context.Context, pod *corev1.Pod, c corev1.Container) (map[string]any, error) {
	name := ""
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name && v.ConfigMap != nil })
		if m.MountPath == meshFile && i >= 0 {
			name = pod.Spec.Volumes[i].ConfigMap.Name
		}
	}
	if name == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	data, err := w.data(ctx, pod.Namespace, "ConfigMap", name)
	if err != nil {
		return nil, err
	}
	var mesh struct {
		DefaultConfig map[string]any `json:"defaultConfig"`
	}
	if err := yaml.Unmarshal([]byte(data["mesh"]), &mesh); err != nil {
		return nil, fmt.Errorf("reading the mesh configuration %s: %w", name, err)
	}
	return mesh.DefaultConfig, nil
}

// withAgentDefaults completes PROXY_CONFIG as pilot-agent does before it reports
// it to istiod: it comes over the mesh's own.
func withAgentDefaults(env map[string]string, defaults map[string]any) (map[string]string, error) {
	conf := map[string]any{}
	maps.Copy(conf, defaults)
	if text := env["PROXY_CONFIG"]; text != "" {
		if err := json.Unmarshal([]byte(text), &conf); err != nil {
			return nil, fmt.Errorf("reading PROXY_CONFIG: %w", err)
		}
	}
	if conf["discoveryAddress"] == nil {
		conf["discoveryAddress"] = defaultDiscovery
	}
	text, err := json.Marshal(conf)
	if err != nil {
		return nil, fmt.Errorf("writing PROXY_CONFIG: %w", err)
	}
	full := maps.Clone(env)
	full["PROXY_CONFIG"] = string(text)
	return full, nil
}

// token asks for a token of the pod's service account, bound to the pod.
func (w *worker) token(ctx context.Context, pod *corev1.Pod, audience string, life time.Duration) (string, error) {
	seconds := int64(life / time.Second)
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	got, err := w.k.opts.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, req, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for a token of %s/%s: %w", pod.Namespace, account, err)
	}
	return got.Status.Token, nil
}

// appContainer is any container that is neither istiod nor a proxy.
type appContainer struct{ *app.App }

// Terminate implements runnable.
func (c *appContainer) Terminate() { c.Stop() }

// Run implements runnable. A SIGKILL does not wait for the app to notice.
func (c *appContainer) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- c.App.Run(ctx) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("running the app: %w", err)
		}
		return nil
	}
}

// proxyContainer is an istio-proxy.
type proxyContainer struct{ *proxy.Proxy }

// Terminate implements runnable.
func (c *proxyContainer) Terminate() { c.Drain() }

// Run implements runnable: as pilot-agent, it ends when its drain is over.
func (c *proxyContainer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		t := time.NewTicker(tick)
		defer t.Stop()
		for !c.Drained() {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
		cancel()
	}()
	if err := c.Proxy.Run(ctx); err != nil {
		return fmt.Errorf("running the proxy: %w", err)
	}
	return nil
}
