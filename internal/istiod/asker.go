package istiod

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-mesh/serin/internal/mesh"
)

// istiod's ports (R§7.1).
const (
	plainPort      = 15010 // xDS, nobody is asked who he is
	securePort     = 15012 // xDS over TLS, with a token
	monitoringPort = 15014 // /debug, to callers from loopback such as a port-forward
	webhookPort    = 15017 // /inject and /validate, no client is asked who he is
)

// patience is how long one question may take.
const patience = 20 * time.Second

// Forwarder opens a connection to a port of a pod.
type Forwarder interface {
	Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
}

// Config is what an Asker needs.
type Config struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Forward   Forwarder
	Namespace string // of the control planes
	Secure    bool   // ask on 15012 even where 15010 is open
}

// Asker asks the istiods of a mesh. It is safe for concurrent use.
type Asker struct {
	Config
}

// New returns an Asker.
func New(c Config) *Asker { return &Asker{c} }

// server is one istiod pod, and the connections to it.
type server struct {
	asker    *Asker
	pod      corev1.Pod
	revision string
	debug    *http.Client
	webhooks *http.Client
}

// servers returns the running istiods of a revision, the ready ones first.
func (a *Asker) servers(ctx context.Context, revision string) ([]*server, error) {
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return nil, fmt.Errorf("listing the istiod pods of %s: %w", a.Namespace, err)
	}
	var out []*server
	for _, pod := range list.Items {
		if of(pod) == revision && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			out = append(out, &server{asker: a, pod: pod, revision: revision})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no istiod of revision %s is running in namespace %s\n  remedy: serin install istiod --revision %s", revision, a.Namespace, revision)
	}
	slices.SortFunc(out, func(x, y *server) int {
		if ready(x.pod) != ready(y.pod) {
			if ready(x.pod) {
				return -1
			}
			return 1
		}
		return strings.Compare(x.pod.Name, y.pod.Name)
	})
	roots, err := a.roots(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range out {
		s.debug = &http.Client{Transport: s.transport(nil)}
		s.webhooks = &http.Client{Transport: s.transport(s.tls(roots))}
	}
	return out, nil
}

func of(istiod corev1.Pod) string {
	if rev := istiod.Labels[mesh.RevLabel]; rev != "" {
		return rev
	}
	return mesh.DefaultRevision
}

func ready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// rootsName is the ConfigMap that istiod keeps in every namespace.
const rootsName = "istio-ca-root-cert"

// roots are the certificates that istiod's own is verified by.
func (a *Asker) roots(ctx context.Context) (*x509.CertPool, error) {
	cm, err := a.Client.CoreV1().ConfigMaps(a.Namespace).Get(ctx, rootsName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the mesh's root certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(cm.Data["root-cert.pem"])) {
		return nil, fmt.Errorf("ConfigMap %s of namespace %s has no certificate", rootsName, a.Namespace)
	}
	return pool, nil
}

func (s *server) tls(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, ServerName: mesh.IstiodName(s.revision) + "." + s.pod.Namespace + ".svc", MinVersion: tls.VersionTLS12}
}

// transport dials the pod whatever host is asked for; the port is what counts.
func (s *server) transport(c *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return s.dial(ctx, addr) }, TLSClientConfig: c,
		MaxConnsPerHost: 2, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}
}

func (s *server) dial(ctx context.Context, addr string) (net.Conn, error) {
	_, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, fmt.Errorf("reading the port of %s: %w", addr, err)
	}
	return s.asker.Forward.Dial(ctx, s.pod.Namespace, s.pod.Name, port)
}

func (s *server) close() {
	s.debug.CloseIdleConnections()
	s.webhooks.CloseIdleConnections()
}

// errAway is the answer of a debug path that knows nothing of what it is asked.
var errAway = errors.New("not known to this istiod")

// get is what a path of the debug port answers.
func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", s.pod.Name, monitoringPort, path), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := s.debug.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w: %.100s", path, errAway, b)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("getting %s of istiod %s: status %s: %.200s", path, s.pod.Name, resp.Status, b)
	}
	return b, nil
}
