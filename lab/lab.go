package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/serin-mesh/serin/lab/cluster"
	"github.com/serin-mesh/serin/lab/fabric"
	"github.com/serin-mesh/serin/lab/internal/build"
	"github.com/serin-mesh/serin/lab/node"
)

// DefaultDelay is how long an endpoint's change takes to reach the network, about
// what kube-proxy takes.
const DefaultDelay = 200 * time.Millisecond

// Options say which lab to start.
type Options struct {
	Name  string        // of the state directory if Dir is empty; default "default"
	Dir   string        // state; emptied at the start
	Istio []string      // releases to have ready; default all that can be built
	Delay time.Duration // of endpoint changes; default DefaultDelay
	Nodes int           // default 1
	Log   io.Writer     // progress
}

// Lab is a running lab. Make one with Start.
type Lab struct {
	dir      string
	builder  *build.Builder
	releases map[string]build.Release
	cluster  *cluster.Cluster
	fabric   *fabric.Fabric
	kubelet  *node.Kubelet
	charts   string // URL
	sockets  string // directory
	control  string // socket
	started  time.Duration
	log      io.Writer

	life  context.Context //nolint:containedctx // the lab's own life: faults start processes in it
	end   context.CancelFunc
	tidy  []func()
	close sync.Once
}

// StateDir is where the lab of a name keeps its state.
func StateDir(name string) (string, error) {
	if name == "" {
		name = "default"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	return filepath.Join(dir, "serin", "lab", "run", name), nil
}

// Start builds what is missing, then starts a lab. It ends with ctx or Close.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if o.Dir == "" {
		dir, err := StateDir(o.Name)
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	if o.Delay == 0 {
		o.Delay = DefaultDelay
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	l := &Lab{dir: o.Dir, log: &lockedWriter{w: o.Log}, releases: map[string]build.Release{}}
	l.life, l.end = context.WithCancel(ctx)
	if err := l.start(l.life, o); err != nil { //nolint:contextcheck // l.life is made from ctx
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context, o Options) error {
	kube, charts, err := l.build(ctx, &o)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := empty(o.Dir); err != nil {
		return err
	}
	if l.fabric, err = fabric.New(ctx, o.Delay); err != nil {
		return fmt.Errorf("starting the network: %w", err)
	}
	socket, err := l.serveEgress(ctx)
	if err != nil {
		return err
	}
	if l.charts, err = l.serveCharts(ctx, charts, o.Istio); err != nil {
		return err
	}
	l.cluster, err = cluster.Start(ctx, cluster.Options{Kube: kube, Dir: o.Dir, Egress: socket, Log: l.log})
	if err != nil {
		return fmt.Errorf("starting Kubernetes: %w", err)
	}
	if err := l.startNodes(ctx, o); err != nil {
		return err
	}
	if err := l.serveControl(ctx); err != nil {
		return err
	}
	l.started = time.Since(began)
	return nil
}

// build has everything ready that the lab runs.
func (l *Lab) build(ctx context.Context, o *Options) (string, string, error) {
	var err error
	if l.builder, err = build.New("", l.log); err != nil {
		return "", "", fmt.Errorf("preparing to build: %w", err)
	}
	if len(o.Istio) == 0 {
		if o.Istio, err = l.builder.Versions(); err != nil {
			return "", "", fmt.Errorf("preparing to build: %w", err)
		}
	}
	kube, err := l.builder.Kube(ctx)
	if err != nil {
		return "", "", fmt.Errorf("preparing Kubernetes: %w", err)
	}
	for _, v := range o.Istio {
		if l.releases[v], err = l.builder.Istio(ctx, v); err != nil {
			return "", "", fmt.Errorf("preparing Istio: %w", err)
		}
	}
	charts, err := l.builder.Charts(ctx, o.Istio)
	if err != nil {
		return "", "", fmt.Errorf("preparing the charts: %w", err)
	}
	return kube, charts, nil
}

// startNodes connects the network to the API server and starts the kubelets.
func (l *Lab) startNodes(ctx context.Context, o Options) error {
	client, err := l.cluster.Client("serin-lab", 0)
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	if err := l.fabric.Watch(ctx, client); err != nil {
		return fmt.Errorf("starting the network: %w", err)
	}
	if err := l.fabric.Balance(ctx, client, l.say); err != nil {
		return fmt.Errorf("starting the load balancers: %w", err)
	}
	// the API server's own Service answers on the network too
	l.fabric.Attach(cluster.AdvertiseIP, forward{l.cluster.API()})
	authority, err := cluster.NewAuthority("serin-lab-kubelets")
	if err != nil {
		return fmt.Errorf("starting the nodes: %w", err)
	}
	l.kubelet, err = node.Start(ctx, node.Options{
		Nodes: o.Nodes, Client: client, Fabric: l.fabric, Authority: authority, Dir: filepath.Join(o.Dir, "pods"), Log: l.log,
		Server: l.cluster.Server(), CA: l.cluster.CA(), Pilot: l.pilot,
	})
	if err != nil {
		return fmt.Errorf("starting the nodes: %w", err)
	}
	return nil
}

// forward is a PodNet that leads to a loopback address.
type forward struct{ to string }

// Accept implements fabric.PodNet.
func (f forward) Accept(_ int, c net.Conn) bool {
	up, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", f.to)
	if err != nil {
		return false
	}
	go fabric.Splice(c, up)
	return true
}

// pilot is the pilot-discovery of a release that was asked for.
func (l *Lab) pilot(_ context.Context, version string) (string, error) {
	r, ok := l.releases[version]
	if !ok {
		return "", fmt.Errorf("the lab was not started with Istio %s", version)
	}
	return r.PilotDiscovery, nil
}

// serveEgress serves the API server's way into the network. A socket's path is
// short by nature, so it is not in the state directory.
func (l *Lab) serveEgress(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "serin-lab-")
	if err != nil {
		return "", fmt.Errorf("making a directory for sockets: %w", err)
	}
	l.sockets = dir
	l.tidy = append(l.tidy, func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "egress")
	go func() {
		if err := l.fabric.ServeConnect(ctx, socket); err != nil {
			l.say("%v", err)
		}
	}()
	return socket, nil
}

// serveCharts serves the charts as a Helm repository and returns its URL.
func (l *Lab) serveCharts(ctx context.Context, dir string, versions []string) (string, error) {
	index, err := build.Index(dir, versions)
	if err != nil {
		return "", fmt.Errorf("indexing the charts: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("serving the charts: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(index)
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.say("serving the charts: %v", err)
		}
	}()
	go func() { <-ctx.Done(); _ = s.Close() }()
	return "http://" + listener.Addr().String(), nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.cluster.Kubeconfig() }

// ChartRepo is the URL of the Helm repository of Istio's charts.
func (l *Lab) ChartRepo() string { return l.charts }

// AuditLog is the path of the API server's audit log.
func (l *Lab) AuditLog() string { return l.cluster.AuditLog() }

// Fabric is the lab's network.
func (l *Lab) Fabric() *fabric.Fabric { return l.fabric }

// StartTime is how long the lab took to start, builds not counted.
func (l *Lab) StartTime() time.Duration { return l.started }

// Istioctl is the path of the istioctl of a release.
func (l *Lab) Istioctl(version string) string { return l.releases[version].Istioctl }

// Prometheus is the path of a Prometheus, built the first time that a test asks for it.
func (l *Lab) Prometheus(ctx context.Context) (string, error) {
	program, err := l.builder.Prometheus(ctx)
	if err != nil {
		return "", fmt.Errorf("preparing Prometheus: %w", err)
	}
	return program, nil
}

// Close ends the lab and everything that runs in it.
func (l *Lab) Close() {
	l.close.Do(func() {
		if l.kubelet != nil {
			l.kubelet.Stop()
		}
		if l.cluster != nil {
			l.cluster.Stop()
		}
		l.end()
		for _, f := range l.tidy {
			f()
		}
	})
}

func (l *Lab) say(format string, args ...any) { fmt.Fprintf(l.log, format+"\n", args...) }

// empty clears the state directory: a lab starts from nothing.
func empty(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clearing the state directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	return nil
}

// lockedWriter lets the lab's parts share one log.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("writing the log: %w", err)
	}
	return n, nil
}
