package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ServiceIP is the cluster IP of the API server's own Service.
const ServiceIP = "10.96.0.1"

// AdvertiseIP is the fictional address of the API server: endpoints may not be
// loopback.
const AdvertiseIP = "10.99.0.254"

// Options say what to run and where.
type Options struct {
	Kube   string // the program that has all four parts
	Dir    string // state: certificates, data, logs
	Egress string // unix socket of the CONNECT proxy into the lab's network
	Log    io.Writer
}

// Cluster is a running control plane.
type Cluster struct {
	opts    Options
	api     string // host:port
	token   string
	etcd    string // URL
	ca      []byte
	apiArgs []string

	mu    sync.Mutex
	parts map[string]*Process
}

// Start runs the control plane and returns when its API server is ready. Its
// processes end with ctx.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{opts: o, parts: map[string]*Process{}}
	if err := c.files(); err != nil {
		return nil, err
	}
	ports, err := FreePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	c.api = fmt.Sprintf("127.0.0.1:%d", ports[0])
	c.etcd = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := c.writeKubeconfig(); err != nil {
		return nil, err
	}
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	if err := c.run(ctx, "etcd",
		"--data-dir", c.file("etcd"), "--listen-client-urls", c.etcd, "--advertise-client-urls", c.etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--unsafe-no-fsync", "--log-level", "warn"); err != nil {
		return nil, err
	}
	c.apiArgs = c.apiServerArgs(ports[0])
	if err := c.run(ctx, "apiserver", c.apiArgs...); err != nil {
		return nil, err
	}
	if err := c.WaitReady(ctx); err != nil {
		return nil, err
	}
	return c, c.runControllers(ctx)
}

func (c *Cluster) apiServerArgs(port int) []string {
	return []string{
		"--etcd-servers", c.etcd, "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(port),
		"--advertise-address", AdvertiseIP,
		"--tls-cert-file", c.file("apiserver.crt"), "--tls-private-key-file", c.file("apiserver.key"),
		"--service-account-key-file", c.file("sa.key"), "--service-account-signing-key-file", c.file("sa.key"),
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range", "10.96.0.0/16", "--token-auth-file", c.file("tokens.csv"),
		"--authorization-mode", "RBAC", "--allow-privileged", "--kubelet-preferred-address-types", "InternalIP",
		"--enable-aggregator-routing", "--egress-selector-config-file", c.file("egress.yaml"),
		"--audit-policy-file", c.file("audit-policy.yaml"), "--audit-log-path", c.file("audit.log"),
		"--audit-log-maxsize", "1000", "--audit-log-mode", "blocking",
		"--max-requests-inflight", "2000", "--max-mutating-requests-inflight", "1000",
		"--shutdown-delay-duration", "0s",
	}
}

func (c *Cluster) runControllers(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		return c.run(ctx, "controller-manager", "--kubeconfig", c.Kubeconfig(), "--service-account-private-key-file", c.file("sa.key"),
			"--root-ca-file", c.file("ca.crt"), "--leader-elect=false", "--secure-port", "0", "--kube-api-qps", "400", "--kube-api-burst", "800",
			"--concurrent-service-endpoint-syncs", "20", "--concurrent-endpoint-syncs", "20")
	})
	g.Go(func() error {
		return c.run(ctx, "scheduler", "--kubeconfig", c.Kubeconfig(), "--leader-elect=false", "--secure-port", "0",
			"--kube-api-qps", "400", "--kube-api-burst", "800")
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("starting the controllers: %w", err)
	}
	return nil
}

func (c *Cluster) run(ctx context.Context, part string, args ...string) error {
	logfile, err := os.OpenFile(c.file(part+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", part, err)
	}
	p, err := Run(ctx, Command{Path: c.opts.Kube, Args: append([]string{part}, args...), Dir: c.opts.Dir, Log: logfile})
	_ = logfile.Close()
	if err != nil {
		return fmt.Errorf("starting %s: %w", part, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts[part] = p
	return nil
}

func (c *Cluster) part(name string) *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts[name]
}

// WaitReady returns when the API server says it is ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	client, err := c.Client("lab", 0)
	if err != nil {
		return err
	}
	var last error
	for started := time.Now(); time.Since(started) < time.Minute; {
		_, last = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if last == nil {
			return nil
		}
		if c.part("apiserver").Exited() {
			return fmt.Errorf("starting apiserver: it ended; see %s", c.file("apiserver.log"))
		}
		wait(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for the API server: %w", ctx.Err())
		}
	}
	return fmt.Errorf("waiting for the API server: %w; see %s", last, c.file("apiserver.log"))
}

// Stop ends the processes: clients of the API server first, then it, then etcd.
func (c *Cluster) Stop() {
	for _, name := range []string{"scheduler", "controller-manager", "apiserver", "etcd"} {
		if p := c.part(name); p != nil {
			p.Kill()
		}
	}
}

// ErrNotRunning is returned for a fault on something that is not there.
var ErrNotRunning = errors.New("not running")

// Pause freezes the API server for d: connections hang.
func (c *Cluster) Pause(ctx context.Context, d time.Duration) error {
	p := c.part("apiserver")
	if p == nil || p.Exited() {
		return fmt.Errorf("pausing the API server: %w", ErrNotRunning)
	}
	if err := p.Freeze(); err != nil {
		return fmt.Errorf("pausing the API server: %w", err)
	}
	wait(ctx, d)
	if err := p.Thaw(); err != nil {
		return fmt.Errorf("resuming the API server: %w", err)
	}
	return nil
}

// Outage kills the API server and starts it again after d: connections are
// refused meanwhile. life bounds the new process, as Start's context did the old.
func (c *Cluster) Outage(life context.Context, d time.Duration) error {
	p := c.part("apiserver")
	if p == nil || p.Exited() {
		return fmt.Errorf("killing the API server: %w", ErrNotRunning)
	}
	p.Kill()
	wait(life, d)
	if err := c.run(life, "apiserver", c.apiArgs...); err != nil {
		return err
	}
	return c.WaitReady(life)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (c *Cluster) file(name string) string { return filepath.Join(c.opts.Dir, name) }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// AuditLog is the path of the API server's audit log.
func (c *Cluster) AuditLog() string { return c.file("audit.log") }

// Server is the API server's URL.
func (c *Cluster) Server() string { return "https://" + c.api }

// API is the API server's loopback address, "host:port".
func (c *Cluster) API() string { return c.api }

// CA is the certificate that the API server's is signed with.
func (c *Cluster) CA() []byte { return c.ca }

// Client returns an administrator's client that calls itself agent, with at most
// qps requests a second, 0 being no limit.
func (c *Cluster) Client(agent string, qps float32) (kubernetes.Interface, error) {
	cfg, err := c.Config(agent, qps)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

// Config is the administrator's client configuration.
func (c *Cluster) Config(agent string, qps float32) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg.UserAgent = agent
	cfg.QPS, cfg.Burst = qps, int(2*qps)
	if qps == 0 {
		cfg.QPS = -1
	}
	return cfg, nil
}

// FreePorts returns loopback ports that are free now.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		open = append(open, l)
		a, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, errors.New("finding a free port: no TCP address")
		}
		ports = append(ports, a.Port)
	}
	return ports, nil
}
