package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// KubeVersion is the release of Kubernetes that the lab runs.
const KubeVersion = "1.36.3"

// SourceEnv names the environment variable that overrides where the build
// modules are.
const SourceEnv = "SERIN_LAB_SOURCE"

// Builder builds what is missing. Make one with New.
type Builder struct {
	cache  string
	source string
	log    io.Writer
}

// Release is a built release of Istio.
type Release struct{ Version, PilotDiscovery, Istioctl string }

// New returns a Builder that keeps its programs under cache, the user's cache
// directory if empty, and reports progress to log.
func New(cache string, log io.Writer) (*Builder, error) {
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding the cache directory: %w", err)
		}
		cache = filepath.Join(dir, "serin", "lab")
	}
	source, err := findSource()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return nil, fmt.Errorf("making the cache directory: %w", err)
	}
	if log == nil {
		log = io.Discard
	}
	return &Builder{cache: cache, source: source, log: log}, nil
}

// Cache is the directory that holds what was built.
func (b *Builder) Cache() string { return b.cache }

// findSource looks for the build modules. They cannot be embedded: go:embed does
// not reach into other modules.
func findSource() (string, error) {
	if dir := os.Getenv(SourceEnv); dir != "" {
		return dir, nil
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Join(filepath.Dir(file), "..", "..", "build")
		if isSource(dir) {
			return dir, nil
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the lab's build modules: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, sub := range []string{"build", "lab/build"} {
			if d := filepath.Join(dir, sub); isSource(d) {
				return d, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("finding the lab's build modules: run inside serin's source, or set %s to its lab/build directory", SourceEnv)
		}
	}
}

func isSource(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "kube", "go.mod"))
	return err == nil
}

// Versions lists the Istio releases that can be built.
func (b *Builder) Versions() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(b.source, "istio"))
	if err != nil {
		return nil, fmt.Errorf("listing the Istio releases: %w", err)
	}
	var versions []string
	for _, e := range entries {
		if e.IsDir() {
			versions = append(versions, e.Name())
		}
	}
	return versions, nil
}

// Kube returns the program that is etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler.
func (b *Builder) Kube(ctx context.Context) (string, error) {
	dir, err := b.ensure(ctx, target{
		name: "Kubernetes", version: KubeVersion, key: "kube-" + KubeVersion, module: "kube",
		packages: []string{"."}, programs: []string{"kube"}, ldflags: kubeFlags(),
	})
	return filepath.Join(dir, "kube"), err
}

// Istio returns the programs of a release of Istio.
func (b *Builder) Istio(ctx context.Context, version string) (Release, error) {
	if err := b.known(version); err != nil {
		return Release{}, err
	}
	dir, err := b.ensure(ctx, target{
		name: "Istio", version: version, key: "istio-" + version, module: filepath.Join("istio", version),
		packages: []string{"istio.io/istio/pilot/cmd/pilot-discovery", "istio.io/istio/istioctl/cmd/istioctl"},
		programs: []string{"pilot-discovery", "istioctl"},
		ldflags:  istioFlags(version),
	})
	return Release{Version: version, PilotDiscovery: filepath.Join(dir, "pilot-discovery"), Istioctl: filepath.Join(dir, "istioctl")}, err
}

func (b *Builder) known(version string) error {
	if _, err := os.Stat(filepath.Join(b.source, "istio", version, "go.mod")); err != nil {
		all, _ := b.Versions()
		return fmt.Errorf("finding Istio %s: the lab can build %s", version, strings.Join(all, ", "))
	}
	return nil
}

// target is a set of programs built together.
type target struct {
	name, version, key, module string
	packages, programs         []string
	ldflags, tags              string
}

// ensure builds t unless it is there. Order: build aside, then rename, so that a
// build that was killed leaves nothing that looks finished.
func (b *Builder) ensure(ctx context.Context, t target) (string, error) {
	dir := filepath.Join(b.cache, t.key)
	if built(dir, t.programs) {
		return dir, nil
	}
	unlock, err := b.lock(ctx, t.name+" "+t.version)
	if err != nil {
		return dir, err
	}
	defer unlock()
	if built(dir, t.programs) { // by the one we waited for
		return dir, nil
	}
	aside, err := os.MkdirTemp(b.cache, ".building-")
	if err != nil {
		return dir, fmt.Errorf("building %s %s: %w", t.name, t.version, err)
	}
	defer func() { _ = os.RemoveAll(aside) }()
	started := time.Now()
	b.say("building %s %s (once; minutes on a cold cache)", t.name, t.version)
	args := append([]string{"build", "-v", "-trimpath", "-tags", t.tags, "-ldflags", t.ldflags, "-o", aside + string(filepath.Separator)}, t.packages...)
	if err := b.compile(ctx, filepath.Join(b.source, t.module), args); err != nil {
		return dir, fmt.Errorf("building %s %s: %w", t.name, t.version, err)
	}
	if err := os.Chmod(aside, 0o755); err != nil { //nolint:gosec // programs, for everybody
		return dir, fmt.Errorf("building %s %s: %w", t.name, t.version, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return dir, fmt.Errorf("building %s %s: %w", t.name, t.version, err)
	}
	if err := os.Rename(aside, dir); err != nil {
		return dir, fmt.Errorf("building %s %s: %w", t.name, t.version, err)
	}
	b.say("built %s %s in %s", t.name, t.version, time.Since(started).Round(time.Second))
	return dir, nil
}

func built(dir string, programs []string) bool {
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			return false
		}
	}
	return true
}

// compile runs go build and counts the packages it has compiled.
func (b *Builder) compile(ctx context.Context, dir string, args []string) error {
	cmd := goCommand(ctx, dir, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("running go build: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running go build: %w", err)
	}
	var tail []string
	n, said := 0, time.Now()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if tail = append(tail, lines.Text()); len(tail) > 20 {
			tail = tail[1:]
		}
		if n++; time.Since(said) > 10*time.Second {
			b.say("  %d modules and packages, now %s", n, lines.Text())
			said = time.Now()
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("running go build in %s: %w\n%s", dir, err, strings.Join(tail, "\n"))
	}
	return nil
}

// goCommand is a go command that needs nothing of the user's settings. The
// committed go.sum is what the sources are checked against; the checksum
// database does not know the modules that Istio's and Kubernetes' nested
// releases are.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the toolchain, on the lab's own modules
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GONOSUMDB=istio.io/*,k8s.io/*")
	return cmd
}

// lock keeps two labs from building at once. It is held by the kernel, so a lab
// that dies does not leave it behind.
func (b *Builder) lock(ctx context.Context, what string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(b.cache, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	told := false
	for {
		err := tryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			_ = f.Close()
			return nil, fmt.Errorf("locking the cache: %w", err)
		}
		if !told {
			b.say("waiting for another lab that is building, to build %s", what)
			told = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("waiting for another lab to build: %w", ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (b *Builder) say(format string, args ...any) {
	var line bytes.Buffer
	fmt.Fprintf(&line, format+"\n", args...)
	_, _ = b.log.Write(line.Bytes())
}

// All builds everything a lab with these releases needs, all that can be built
// if there are none.
func (b *Builder) All(ctx context.Context, versions []string) error {
	if len(versions) == 0 {
		all, err := b.Versions()
		if err != nil {
			return err
		}
		versions = all
	}
	if _, err := b.Kube(ctx); err != nil {
		return err
	}
	for _, v := range versions {
		if _, err := b.Istio(ctx, v); err != nil {
			return err
		}
	}
	_, err := b.Charts(ctx, versions)
	return err
}
