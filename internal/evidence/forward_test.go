package evidence_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/serin-mesh/serin/internal/evidence"
)

// apiServer forwards ports as an API server and a node together do.
type apiServer struct {
	tunnels  bool   // it knows websockets, as from Kubernetes 1.30
	target   string // address that port 15014 leads to; any other port is refused
	upgrades atomic.Int64
	path     atomic.Value
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.path.Store(r.URL.Path)
	if !websocket.IsWebSocketUpgrade(r) {
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		s.upgrades.Add(1)
		streams := make(chan httpstream.Stream, 2)
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, accept(streams))
		s.serve(conn, streams)
		return
	}
	if !s.tunnels {
		http.Error(w, "unable to upgrade: missing upgrade headers", http.StatusBadRequest)
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+" + portforward.PortForwardProtocolV1Name}}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.upgrades.Add(1)
	streams := make(chan httpstream.Stream, 2)
	conn, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("server", ws), accept(streams))
	if err != nil {
		return
	}
	s.serve(conn, streams)
}

func accept(streams chan<- httpstream.Stream) httpstream.NewStreamHandler {
	return func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	}
}

func (s *apiServer) serve(conn httpstream.Connection, streams <-chan httpstream.Stream) {
	defer conn.Close()
	byType := map[string]httpstream.Stream{}
	for len(byType) < 2 {
		select {
		case stream := <-streams:
			byType[stream.Headers().Get(corev1.StreamType)] = stream
		case <-conn.CloseChan():
			return
		}
	}
	errs, data := byType[corev1.StreamTypeError], byType[corev1.StreamTypeData]
	if data.Headers().Get(corev1.PortHeader) != "15014" {
		_, _ = io.WriteString(errs, "dial tcp4 127.0.0.1: connect: connection refused")
		_ = errs.Close()
		_ = data.Close()
		<-conn.CloseChan()
		return
	}
	pod, err := net.Dial("tcp", s.target) //nolint:noctx // the stand-in for a node ends with its connection
	if err != nil {
		return
	}
	defer pod.Close()
	go func() { _, _ = io.Copy(pod, data) }()
	go func() { _, _ = io.Copy(data, pod) }()
	<-conn.CloseChan()
}

// forwarding starts the pod and the API server, and returns the way there.
func forwarding(t *testing.T, s *apiServer) *rest.Config {
	t.Helper()
	pod := httptest.NewServer(says(`[{"proxy":"cart-1.shop","istio_version":"1.27.0"}]`))
	t.Cleanup(pod.Close)
	s.target = pod.Listener.Addr().String()
	api := httptest.NewServer(s)
	t.Cleanup(api.CloseClientConnections)
	return &rest.Config{Host: api.URL + "/k8s/clusters/c-1"} // behind a path, as some proxies put it
}

func TestProxiesOverAPortForward(t *testing.T) {
	for name, tunnels := range map[string]bool{"websocket": true, "SPDY, where websockets are refused": false} {
		t.Run(name, func(t *testing.T) {
			api := &apiServer{tunnels: tunnels}
			w := newWorld(istiod("istiod-7c", "", corev1.PodRunning))
			g := evidence.New(evidence.Config{
				REST: forwarding(t, api), Client: w.client, Reader: w.reader, IstioNamespace: "istio-system",
				Now: func() time.Time { return w.at },
			})
			for range 3 {
				proxies, err := g.Proxies(t.Context())
				if err != nil || len(proxies) != 1 {
					t.Fatal(proxies, err)
				}
			}
			if n := api.upgrades.Load(); n != 1 {
				t.Errorf("%d port-forwards were made for three questions", n)
			}
			if want := "/k8s/clusters/c-1/api/v1/namespaces/istio-system/pods/istiod-7c/portforward"; api.path.Load() != want {
				t.Errorf("asked %s, want %s", api.path.Load(), want)
			}
			g.Close()
		})
	}
}

func TestAPortThatRefusesSaysWhy(t *testing.T) {
	conn, err := evidence.NewForwarder(forwarding(t, &apiServer{tunnels: true})).Dial(t.Context(), "shop", "cart-1", 15020)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	if err == nil || err.Error() != "forwarding to shop/cart-1:15020: dial tcp4 127.0.0.1: connect: connection refused" {
		t.Errorf("got %v", err)
	}
	if conn.RemoteAddr().String() != "shop/cart-1:15020" || conn.SetDeadline(time.Time{}) == nil {
		t.Error("the forward pretends to be what it is not")
	}
}

func TestAForwardThatIsForbiddenSaysSo(t *testing.T) {
	api := httptest.NewServer(status(http.StatusForbidden, `pods "istiod-7c" is forbidden: cannot create resource "pods/portforward"`))
	defer api.Close()
	_, err := evidence.NewForwarder(&rest.Config{Host: api.URL}).Dial(t.Context(), "istio-system", "istiod-7c", 15014)
	if err == nil || !strings.Contains(err.Error(), "port 15014 of istio-system/istiod-7c") || !strings.Contains(err.Error(), "cannot create resource") {
		t.Errorf("got %v", err)
	}
}

func TestAForwardEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{}, 2)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // an API server that takes the connection and says nothing
	}))
	defer api.Close()
	defer api.CloseClientConnections()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := evidence.NewForwarder(&rest.Config{Host: api.URL}).Dial(ctx, "istio-system", "istiod-7c", 15014)
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}
