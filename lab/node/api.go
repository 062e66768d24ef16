package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"

	"github.com/serin-mesh/serin/lab/fabric"
)

// kubeletPort is where a kubelet serves its API.
const kubeletPort = 10250

// serve puts a node's kubelet API on the fabric: logs, port-forward, pods.
func (k *Kubelet) serve(ctx context.Context, name, ip string) error {
	cert, err := k.opts.Authority.Serving([]string{name}, net.ParseIP(ip))
	if err != nil {
		return fmt.Errorf("making the certificate of node %s: %w", name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /pods", k.servePods(name))
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", k.servePortForward)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the lab's kubelet does not do "+r.URL.Path, http.StatusNotImplemented)
	})
	l := fabric.NewListener(ip, kubeletPort)
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: port-forward upgrades
	}
	k.opts.Fabric.Attach(ip, l.Net())
	k.all.Go(func() {
		if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			k.say("node %s: serving its API: %v", name, err)
		}
	})
	go func() {
		<-ctx.Done()
		k.opts.Fabric.Detach(ip)
		_ = s.Close()
	}()
	return nil
}

func (k *Kubelet) servePods(node string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		list := corev1.PodList{}
		k.mu.Lock()
		for _, o := range k.workers {
			if p := o.current(); p.Spec.NodeName == node {
				list.Items = append(list.Items, *p)
			}
		}
		k.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	}
}

func (k *Kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	pod := k.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod not found", http.StatusNotFound)
		return
	}
	for _, s := range pod.slots {
		if s.spec.Name != r.PathValue("container") {
			continue
		}
		w.Header().Set("Content-Type", "text/plain")
		flush := func() {}
		if f, ok := w.(http.Flusher); ok {
			flush = f.Flush
		}
		_ = s.log.Copy(r.Context(), w, query(r), flush)
		return
	}
	for _, c := range pod.current().Spec.InitContainers {
		if c.Name == r.PathValue("container") {
			return // it ran, and said nothing
		}
	}
	http.Error(w, "container not found", http.StatusNotFound)
}

func query(r *http.Request) Query {
	v := r.URL.Query()
	q := Query{Tail: -1, Follow: v.Get("follow") == "true", Timestamps: v.Get("timestamps") == "true"}
	if n, err := strconv.Atoi(v.Get("tailLines")); err == nil {
		q.Tail = n
	}
	if n, err := strconv.ParseInt(v.Get("limitBytes"), 10, 64); err == nil {
		q.Limit = n
	}
	if n, err := strconv.Atoi(v.Get("sinceSeconds")); err == nil {
		q.Since = time.Now().Add(-time.Duration(n) * time.Second)
	}
	if t, err := time.Parse(time.RFC3339, v.Get("sinceTime")); err == nil {
		q.Since = t
	}
	return q
}

func (k *Kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	pod := k.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod not found", http.StatusNotFound)
		return
	}
	opts, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{k, pod}, r.PathValue("pod"), string(pod.current().UID), opts, 4*time.Hour, 30*time.Second, portforward.SupportedProtocols)
}

// forwarder connects port-forward's streams to a pod's localhost.
type forwarder struct {
	k   *Kubelet
	pod *worker
}

// PortForward implements portforward.PortForwarder.
func (f forwarder) PortForward(ctx context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	c, s, err := f.k.opts.Fabric.Pair(ctx)
	if err != nil {
		return fmt.Errorf("forwarding to %s: %w", name, err)
	}
	if !f.pod.acceptLocal(int(port), s) { //nolint:contextcheck // the connection outlives the call
		_ = c.Close()
		_ = s.Close()
		return fmt.Errorf("forwarding to port %d of %s: %w", port, name, fabric.ErrRefused)
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(stream, c)
		_ = stream.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(c, stream)
		if h, ok := c.(interface{ CloseWrite() error }); ok {
			_ = h.CloseWrite()
		}
	})
	both.Wait()
	_ = c.Close()
	return nil
}
