package script_test

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/xds"
)

// connections are what the istiods say: all is well but for what a script has written.
func (w world) connections(s mesh.Snapshot) []xds.Answer {
	var out []xds.Answer
	for _, c := range s.ControlPlanes {
		a := xds.Answer{Istiod: xds.Istiod{Namespace: c.Namespace, Pod: c.Name + "-0", Revision: c.Revision, Version: c.Version}}
		if w.read("silent") == c.Revision {
			a.Istiod.Error = "connection refused"
			out = append(out, a)
			continue
		}
		for _, p := range s.Pods {
			if p.Revision == c.Revision && p.Name != w.read("lost") {
				a.Connections = append(a.Connections, w.connection(p))
			}
		}
		out = append(out, a)
	}
	return out
}

func (w world) connection(p mesh.Pod) xds.Connection {
	c := xds.Connection{Namespace: p.Namespace, Name: p.Name, Cluster: "Kubernetes", Kind: "sidecar", Version: p.Version}
	for _, url := range []string{"cluster.v3.Cluster", "endpoint.v3.ClusterLoadAssignment", "listener.v3.Listener", "route.v3.RouteConfiguration"} {
		url = "type.googleapis.com/envoy.config." + url
		c.Types = append(c.Types, xds.Type{URL: url, Name: xds.Short(url), State: xds.Synced, Sent: w.now().Add(-deedTime)})
	}
	if p.Name == w.read("refuses") {
		c.Types[3].State, c.Types[3].Error = xds.Failed, "no such cluster"
	}
	return c
}

// admin answers for the admin port of every proxy.
func (w world) admin(_ context.Context, _ cli.Target, _ cli.Endpoint, path string) ([]byte, error) {
	file, _, _ := strings.Cut(path, "?")
	if text := w.read("envoy" + file); text != "" {
		return []byte(text), nil
	}
	return nil, errors.New("connection refused")
}

// logs are the file of the pod's name, and an access log line of each pod.
func (w world) logs(_ context.Context, _ cli.Target, q cli.LogQuestion) (io.ReadCloser, error) {
	w.dies()
	text := "2026-03-01T12:00:00Z info Envoy proxy is ready\n" + `[2026-03-01T12:00:00.000Z] "GET /productpage HTTP/1.1" 200 - via_upstream` + " " + q.Pod + "\n"
	return io.NopCloser(strings.NewReader(text)), nil
}
