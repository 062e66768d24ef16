package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ContainerdVersion is the release of containerd that a real node runs.
const ContainerdVersion = "2.4.2"

// CoreDNSVersion is the release of CoreDNS that a real node runs.
const CoreDNSVersion = "1.14.6"

// PrometheusVersion is the release of Prometheus that tests scrape with.
const PrometheusVersion = "3.14.0"

// Prometheus returns the program, without the many ways to find targets that take
// minutes to build: those of a file and of a URL are enough. No lab needs it.
func (b *Builder) Prometheus(ctx context.Context) (string, error) {
	dir, err := b.ensure(ctx, target{
		name: "Prometheus", version: PrometheusVersion, key: "prometheus-" + PrometheusVersion, module: "prometheus",
		packages: []string{"github.com/prometheus/prometheus/cmd/prometheus"}, programs: []string{"prometheus"},
		ldflags: "-s -w", tags: "remove_all_sd",
	})
	return filepath.Join(dir, "prometheus"), err
}

// Node returns the program that is kubelet and kube-proxy.
func (b *Builder) Node(ctx context.Context) (string, error) {
	dir, err := b.ensure(ctx, target{
		name: "kubelet and kube-proxy", version: KubeVersion, key: "node-" + KubeVersion, module: "kube",
		packages: []string{"./node"}, programs: []string{"node"}, ldflags: kubeFlags(),
	})
	return filepath.Join(dir, "node"), err
}

// Containerd returns the directory of containerd, its shim and ctr.
func (b *Builder) Containerd(ctx context.Context) (string, error) {
	const pkg = "github.com/containerd/containerd/v2/cmd/"
	programs := []string{"containerd", "containerd-shim-runc-v2", "ctr"}
	t := target{
		name: "containerd", version: ContainerdVersion, key: "containerd-" + ContainerdVersion, module: "containerd",
		programs: programs, ldflags: "-s -w", tags: "no_btrfs,no_zfs",
	}
	for _, p := range programs {
		t.packages = append(t.packages, pkg+p)
	}
	return b.ensure(ctx, t)
}

// CoreDNS returns the program of CoreDNS.
func (b *Builder) CoreDNS(ctx context.Context) (string, error) {
	dir, err := b.ensure(ctx, target{
		name: "CoreDNS", version: CoreDNSVersion, key: "coredns-" + CoreDNSVersion, module: "coredns",
		packages: []string{"."}, programs: []string{"coredns"}, ldflags: "-s -w",
	})
	return filepath.Join(dir, "coredns"), err
}

// Agent returns the pilot-agent of a release and the template of Envoy's
// bootstrap that it reads. The lab itself has no use for them.
func (b *Builder) Agent(ctx context.Context, version string) (agent, bootstrap string, err error) { //nolint:nonamedreturns // two paths: the names tell them apart
	if err := b.known(version); err != nil {
		return "", "", err
	}
	dir, err := b.ensure(ctx, target{
		name: "Istio's agent", version: version, key: "istio-agent-" + version, module: filepath.Join("istio", version),
		packages: []string{"istio.io/istio/pilot/cmd/pilot-agent"}, programs: []string{"pilot-agent"}, ldflags: istioFlags(version),
	})
	if err != nil {
		return "", "", err
	}
	src, err := b.istioSource(ctx, version)
	if err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "pilot-agent"), filepath.Join(src, "tools", "packaging", "common", "envoy_bootstrap.json"), nil
}

// Program builds a command of the caller's own module, statically, into the
// cache under key, anew each time: the compiler's cache makes it quick.
func (b *Builder) Program(ctx context.Context, dir, pkg, key string) (string, error) {
	out := filepath.Join(b.cache, key)
	if err := os.MkdirAll(filepath.Dir(out), 0o750); err != nil {
		return "", fmt.Errorf("building %s: %w", pkg, err)
	}
	if err := b.compile(ctx, dir, []string{"build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg}); err != nil {
		return "", fmt.Errorf("building %s: %w", pkg, err)
	}
	return out, nil
}

func kubeFlags() string {
	const pkg = "k8s.io/component-base/version."
	flags := []string{"-s", "-w"}
	for _, kv := range []string{
		"gitVersion=v" + KubeVersion, "gitMajor=1", "gitMinor=36", "gitCommit=lab", "gitTreeState=clean",
		"buildDate=2026-01-01T00:00:00Z",
	} {
		flags = append(flags, "-X", pkg+kv)
	}
	return strings.Join(flags, " ")
}

func istioFlags(version string) string {
	const pkg = "istio.io/istio/pkg/version."
	return fmt.Sprintf("-s -w -X %sbuildVersion=%s -X %sbuildHub=docker.io/istio -X %sbuildTag=%s", pkg, version, pkg, pkg, version)
}
