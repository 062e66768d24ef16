//go:build linux

package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/serin-mesh/serin/lab/cluster"
)

// Addresses are the same in every node: each is alone in its network namespace.
const (
	nodeIP     = "10.77.0.1"
	serviceIPs = "10.96.0.0/16"
	apiIP      = "10.96.0.1"
	dnsIP      = "10.96.0.10"
	podIPs     = "10.244.0.0/16"
	apiURL     = "https://" + nodeIP + ":6443"
	etcdURL    = "http://127.0.0.1:2379"
	etcdPeer   = "http://127.0.0.1:2380"
	socket     = "/run/containerd/containerd.sock"
)

// start brings the parts up, each when what it needs is there.
func (w *worker) start(ctx context.Context) error {
	began := time.Now()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"making the network", w.network},
		{"writing the configuration", w.configure},
		{"starting etcd, containerd and the API server", w.controlPlane},
		{"importing the images", w.images},
		{"starting the kubelet and kube-proxy", w.kubelet},
		{"starting CoreDNS", w.addons},
	} {
		w.say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	w.say("%s after %s", readyWord, time.Since(began).Round(time.Second))
	return nil
}

// network makes the namespace's devices. A bridge stands for the node's own
// card: a dummy device is not to be had everywhere.
func (w *worker) network(ctx context.Context) error {
	for _, args := range []string{
		"link set lo up", "link add node0 type bridge", "addr add " + nodeIP + "/24 dev node0", "link set node0 up",
		"route add default via " + nodeIP + " dev node0",
	} {
		if err := run(ctx, "ip", strings.Fields(args)...); err != nil {
			return fmt.Errorf("making the network: %w", err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("forwarding packets: %w", err)
	}
	// without it a pod that calls a Service whose endpoint is on the same bridge gets its answer from the wrong address
	const bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	if _, err := os.Stat(bridged); err != nil {
		_ = run(ctx, "modprobe", "br_netfilter")
	}
	if err := os.WriteFile(bridged, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("filtering bridged packets: %w\n  remedy: modprobe br_netfilter", err)
	}
	return nil
}

// configure writes all that the parts read.
func (w *worker) configure(context.Context) error {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	token := hex.EncodeToString(secret)
	authority, err := cluster.NewAuthority("serin-node")
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	serving, err := authority.Serving(names, net.ParseIP(nodeIP), net.ParseIP(apiIP))
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	key, err := keyPEM(serving.PrivateKey)
	if err != nil {
		return err
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(signer) // the API server takes its public half from no other form
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	sa := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	files := map[string][]byte{
		"pki/ca.crt": authority.CertPEM(), "pki/api.key": key, "pki/sa.key": sa,
		"pki/api.crt":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serving.Certificate[0]}),
		"tokens.csv":        []byte(token + ",admin,admin,system:masters\n"),
		"kubeconfig":        fmt.Appendf(nil, kubeconfig, w.state.file("pki/ca.crt"), apiURL, token),
		"cni/pods.conflist": fmt.Appendf(nil, cniConfig, podIPs),
		"containerd.toml":   fmt.Appendf(nil, containerdConfig, w.state.file("containerd"), "/run/containerd", socket, CNI, w.state.file("cni")),
		"kubelet.yaml":      fmt.Appendf(nil, kubeletConfig, dnsIP, podIPs, socket, group(w.state.Name), w.state.file("log/pods")),
		"values.yaml":       []byte(istiodValues),
	}
	for name, data := range files {
		if err := write(w.state.file(name), data); err != nil {
			return err
		}
	}
	return nil
}

func keyPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (w *worker) controlPlane(ctx context.Context) error {
	w.keep(ctx, "etcd", w.m.Kube, "etcd", "--data-dir", w.state.file("etcd"), "--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", etcdPeer, "--initial-advertise-peer-urls", etcdPeer, "--initial-cluster", "default="+etcdPeer,
		"--unsafe-no-fsync", "--log-level", "warn")
	w.keep(ctx, "containerd", filepath.Join(w.m.Containerd, "containerd"), "--config", w.state.file("containerd.toml"))
	w.keep(ctx, "apiserver", w.m.Kube, "apiserver", "--etcd-servers", etcdURL, "--bind-address", nodeIP, "--advertise-address", nodeIP,
		"--secure-port", "6443", "--tls-cert-file", w.state.file("pki/api.crt"), "--tls-private-key-file", w.state.file("pki/api.key"),
		"--service-account-key-file", w.state.file("pki/sa.key"), "--service-account-signing-key-file", w.state.file("pki/sa.key"),
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local", "--service-cluster-ip-range", serviceIPs,
		"--token-auth-file", w.state.file("tokens.csv"), "--authorization-mode", "RBAC", "--allow-privileged",
		"--kubelet-preferred-address-types", "InternalIP", "--shutdown-delay-duration", "0s")
	client, err := w.client()
	if err != nil {
		return err
	}
	if err := until(ctx, time.Minute, func() error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("waiting for the API server: %w", err)
	}
	w.keep(ctx, "controller-manager", w.m.Kube, "controller-manager", "--kubeconfig", w.state.Kubeconfig(),
		"--service-account-private-key-file", w.state.file("pki/sa.key"), "--root-ca-file", w.state.file("pki/ca.crt"), "--leader-elect=false", "--secure-port", "0",
		// a busy machine's kubelet reports late, and the only node has nobody to give its pods to: they must not all be made unready
		"--node-monitor-grace-period", "10m")
	w.keep(ctx, "scheduler", w.m.Kube, "scheduler", "--kubeconfig", w.state.Kubeconfig(), "--leader-elect=false", "--secure-port", "0")
	return nil
}

func (w *worker) images(ctx context.Context) error {
	ctr := filepath.Join(w.m.Containerd, "ctr")
	if err := until(ctx, time.Minute, func() error { return run(ctx, ctr, "--address", socket, "version") }); err != nil {
		return fmt.Errorf("waiting for containerd: %w", err)
	}
	for _, i := range w.m.Images {
		if err := run(ctx, ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", "--local", i); err != nil {
			return fmt.Errorf("importing %s: %w", filepath.Base(i), err)
		}
	}
	return nil
}

func (w *worker) kubelet(ctx context.Context) error {
	w.keep(ctx, "kubelet", w.m.Node, "kubelet", "--config", w.state.file("kubelet.yaml"), "--kubeconfig", w.state.Kubeconfig(),
		"--root-dir", w.state.file("kubelet"), "--cert-dir", w.state.file("pki"), "--hostname-override", "node", "--node-ip", nodeIP)
	w.keep(ctx, "proxy", w.m.Node, "proxy", "--kubeconfig", w.state.Kubeconfig(), "--hostname-override", "node",
		"--proxy-mode", "nftables", "--conntrack-max-per-core", "0")
	return w.nodeReady(ctx)
}

// keep runs a part and starts it again a second after it ends, as an init system does.
func (w *worker) keep(ctx context.Context, part, program string, args ...string) {
	go func() {
		for ctx.Err() == nil {
			err := w.once(ctx, part, program, args)
			fmt.Fprintf(os.Stderr, "%s %s ended: %v\n", time.Now().UTC().Format(time.TimeOnly), part, err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
}

func (w *worker) once(ctx context.Context, part, program string, args []string) error {
	log, err := os.OpenFile(w.state.file("log/"+part+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening its log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // a part we built
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, w.state.dir
	cmd.Env = append(os.Environ(), "PATH="+w.m.Containerd+":"+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting it: %w", err)
	}
	if err := write(w.state.file(part+".pid"), []byte(strconv.Itoa(cmd.Process.Pid))); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("waiting for it: %w", err)
	}
	return nil
}
