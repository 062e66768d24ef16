package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/lab/cluster"
	"github.com/serin-mesh/serin/lab/fabric"
)

// Ports of istiod.
const (
	portHTTP     = 8080
	portXDS      = 15010
	portXDSTLS   = 15012
	portMonitor  = 15014
	portWebhooks = 15017
	portCtrlZ    = 9876
)

// istiodPorts are istiod's ports and the flags that move them to loopback.
func istiodPorts() []struct {
	port int
	flag string
} {
	return []struct {
		port int
		flag string
	}{
		{portHTTP, "--httpAddr"},
		{portXDS, "--grpcAddr"},
		{portXDSTLS, "--secureGRPCAddr"},
		{portMonitor, "--monitoringAddr"},
		{portWebhooks, "--httpsAddr"},
		{portCtrlZ, "--ctrlz_port"},
	}
}

// istiod is the real pilot-discovery of a release.
type istiod struct {
	cmd   cluster.Command
	ports map[int]int // of the pod -> on loopback
	probe *probe

	mu   sync.Mutex
	proc *cluster.Process

	silent  atomic.Bool  // a fault: nothing is sent to proxies
	hookOff atomic.Bool  // a fault: the webhook port refuses
	slow    atomic.Int64 // a fault: each answer comes so much later, whoever asks
}

// makeIstiod prepares an istiod: its files, its kubeconfig, its ports.
func (w *worker) makeIstiod(ctx context.Context, s *slot, pod *corev1.Pod, version string, env map[string]string) (runnable, error) {
	program, err := w.k.opts.Pilot(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("pulling image %s: %w", s.spec.Image, err)
	}
	dir := filepath.Join(w.k.opts.Dir, pod.Namespace+"_"+pod.Name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clearing the pod's directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the pod's directory: %w", err)
	}
	if err := w.mount(ctx, pod, s.spec, dir); err != nil {
		return nil, err
	}
	token, err := w.token(ctx, pod, "", 7*24*time.Hour)
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := cluster.WriteKubeconfig(kubeconfig, w.k.opts.Server, token, w.k.opts.CA); err != nil {
		return nil, fmt.Errorf("writing istiod's kubeconfig: %w", err)
	}
	i := &istiod{ports: map[int]int{}}
	free, err := cluster.FreePorts(ctx, len(istiodPorts()))
	if err != nil {
		return nil, fmt.Errorf("finding ports for istiod: %w", err)
	}
	var args []string
	for _, a := range s.spec.Args {
		args = append(args, expand(a, env))
	}
	args = append(args, "--kubeconfig="+kubeconfig) // the flags below repeat the chart's: the last one counts
	for n, p := range istiodPorts() {
		i.ports[p.port] = free[n]
		at := fmt.Sprintf("127.0.0.1:%d", free[n])
		if p.port == portCtrlZ {
			at = strconv.Itoa(free[n])
		}
		args = append(args, p.flag+"="+at)
	}
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	for _, k := range sortedKeys(env) {
		environ = append(environ, k+"="+env[k])
	}
	i.cmd = cluster.Command{Path: program, Args: args, Env: environ, Dir: dir, Log: s.log}
	i.probe = newProbe(s.spec.ReadinessProbe, i.ask)
	return i, nil
}

// Run implements runnable.
func (i *istiod) Run(ctx context.Context) error {
	p, err := cluster.Run(ctx, i.cmd)
	if err != nil {
		return fmt.Errorf("starting istiod: %w", err)
	}
	i.mu.Lock()
	i.proc = p
	i.mu.Unlock()
	<-p.Done()
	if err := p.Err(); err != nil {
		return fmt.Errorf("running istiod: %w", err)
	}
	return nil
}

func (i *istiod) process() *cluster.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.proc
}

// Terminate implements runnable.
func (i *istiod) Terminate() {
	if p := i.process(); p != nil {
		p.Terminate()
	}
}

// Ready implements runnable.
func (i *istiod) Ready() bool { return i.probe.answer() }

func (i *istiod) ask() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/ready", i.ports[portHTTP]), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Accept implements runnable: the connection goes on to the process.
func (i *istiod) Accept(port int, c net.Conn) bool {
	if port == portWebhooks && i.hookOff.Load() {
		return false
	}
	up := i.dial(port)
	if up == nil {
		return false
	}
	if port == portXDS || port == portXDSTLS {
		up = &hushed{Conn: up, i: i}
	}
	go fabric.Splice(c, &late{Conn: up, i: i})
	return true
}

// acceptLocal is a port-forward: faults of what istiod does for others spare it,
// so that tools see an istiod that is up and sends nothing. Slow it is for all.
func (i *istiod) acceptLocal(port int, c net.Conn) bool {
	up := i.dial(port)
	if up == nil {
		return false
	}
	go fabric.Splice(c, &late{Conn: up, i: i})
	return true
}

// dial connects to the process; nil if nothing listens.
func (i *istiod) dial(port int) net.Conn {
	local, ok := i.ports[port]
	if !ok {
		return nil
	}
	up, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", local))
	if err != nil {
		return nil
	}
	return up
}

// hushed is a connection to an istiod that can be made to say nothing.
type hushed struct {
	net.Conn
	i *istiod
}

// Read waits while the fault lasts, so that what istiod sends is late, not lost.
func (h *hushed) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	for h.i.silent.Load() && err == nil && !h.i.dead() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return n, err
	}
	return n, nil
}

// CloseWrite keeps half-closing possible.
func (h *hushed) CloseWrite() error {
	if t, ok := h.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return h.Close()
}

// late is a connection to an istiod that can be made to answer late.
type late struct {
	net.Conn
	i    *istiod
	last time.Time // when something came
}

// pause is how long nothing has come when what comes next is another answer.
const pause = 20 * time.Millisecond

// Read holds the beginning of an answer back; the rest follows at once.
func (l *late) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if d := time.Duration(l.i.slow.Load()); d > 0 && err == nil && time.Since(l.last) > pause {
		time.Sleep(d)
	}
	l.last = time.Now()
	return n, err
}

// CloseWrite keeps half-closing possible.
func (l *late) CloseWrite() error {
	if t, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return l.Close()
}

func (i *istiod) dead() bool {
	p := i.process()
	return p == nil || p.Exited()
}

// kill is a fault: the process dies as by the kernel's out-of-memory killer.
func (i *istiod) kill() {
	if p := i.process(); p != nil {
		p.Signal(syscall.SIGKILL)
	}
}
