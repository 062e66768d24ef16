package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/mesh"
)

// network is a Forwarder to HTTP servers that stand for ports of pods.
type network struct {
	mu      sync.Mutex
	servers map[string]*httptest.Server // by namespace/pod:port
	dialed  map[string]int
}

func newNetwork() *network {
	return &network{servers: map[string]*httptest.Server{}, dialed: map[string]int{}}
}

// listen serves a port of a pod until the test ends.
func (n *network) listen(t *testing.T, port string, handler http.HandlerFunc) {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[port] = srv
}

func (n *network) Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
	key := fmt.Sprintf("%s/%s:%d", namespace, pod, port)
	n.mu.Lock()
	n.dialed[key]++
	srv := n.servers[key]
	n.mu.Unlock()
	if srv == nil {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", srv.Listener.Addr().String())
}

func (n *network) dials(port string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialed[port]
}

// reader observes a snapshot that does not change, or fails.
type reader struct {
	snapshot mesh.Snapshot
	err      error
	mu       sync.Mutex
	observed int
}

func (r *reader) Observe(context.Context) (mesh.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observed++
	return r.snapshot, r.err
}

// world is a mesh for a Gatherer to look at.
type world struct {
	*network
	reader  *reader
	client  *fake.Clientset
	probers *evidence.Probers
	at      time.Time
}

func newWorld(objects ...runtime.Object) *world {
	return &world{network: newNetwork(), reader: &reader{}, client: fake.NewClientset(objects...), at: time.Unix(1e9, 0)}
}

func (w *world) gatherer() *evidence.Gatherer {
	return evidence.New(evidence.Config{
		Client:         w.client,
		Reader:         w.reader,
		IstioNamespace: "istio-system",
		Probers:        w.probers,
		Now:            func() time.Time { return w.at },
		Forwarder:      w.network,
	})
}

// istiod is an istiod pod of a revision; "" is one without the label.
func istiod(name, revision string, phase corev1.PodPhase) *corev1.Pod {
	labels := map[string]string{"app": "istiod"}
	if revision != "" {
		labels["istio.io/rev"] = revision
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name, Labels: labels},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

func says(body string) http.HandlerFunc { return status(http.StatusOK, body) }
