package lab

import (
	"context"
	"fmt"
	"io"

	"github.com/serin-mesh/serin/lab/internal/build"
)

// Programs are what a cluster with real pods is made of. They are built by the
// same builder and kept in the same cache as the lab's own.
type Programs struct {
	Cache      string // directory of the cache
	Kube       string // etcd, apiserver, controller-manager and scheduler, by first argument
	Node       string // kubelet and proxy, by first argument
	Containerd string // directory of containerd, its shim and ctr
	CoreDNS    string
	Charts     string // directory of Istio's charts as archives
	Istio      map[string]IstioPrograms

	builder *build.Builder
}

// IstioPrograms are the programs of one release of Istio.
type IstioPrograms struct {
	PilotDiscovery, Istioctl, PilotAgent string
	Bootstrap                            string // template of Envoy's bootstrap
}

// BuildPrograms builds what is missing for these releases of Istio.
func BuildPrograms(ctx context.Context, versions []string, log io.Writer) (*Programs, error) {
	b, err := build.New("", log)
	if err != nil {
		return nil, fmt.Errorf("preparing to build: %w", err)
	}
	p := &Programs{Cache: b.Cache(), Istio: map[string]IstioPrograms{}, builder: b}
	for _, part := range []struct {
		into *string
		make func(context.Context) (string, error)
	}{{&p.Kube, b.Kube}, {&p.Node, b.Node}, {&p.Containerd, b.Containerd}, {&p.CoreDNS, b.CoreDNS}} {
		if *part.into, err = part.make(ctx); err != nil {
			return nil, fmt.Errorf("preparing the node's programs: %w", err)
		}
	}
	for _, v := range versions {
		r, err := b.Istio(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("preparing Istio: %w", err)
		}
		agent, bootstrap, err := b.Agent(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("preparing Istio: %w", err)
		}
		p.Istio[v] = IstioPrograms{PilotDiscovery: r.PilotDiscovery, Istioctl: r.Istioctl, PilotAgent: agent, Bootstrap: bootstrap}
	}
	if p.Charts, err = b.Charts(ctx, versions); err != nil {
		return nil, fmt.Errorf("preparing the charts: %w", err)
	}
	return p, nil
}

// Cache is the directory that the programs are kept in.
func Cache() (string, error) {
	b, err := build.New("", io.Discard)
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	return b.Cache(), nil
}

// Program builds a command of another module of this repository into the cache.
func (p *Programs) Program(ctx context.Context, dir, pkg, key string) (string, error) {
	out, err := p.builder.Program(ctx, dir, pkg, key)
	if err != nil {
		return "", fmt.Errorf("building a program: %w", err)
	}
	return out, nil
}

// KubeVersion is the release of Kubernetes that all clusters here run.
const KubeVersion = build.KubeVersion
