package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// What a shadow of each workload was given before the move is what its Envoy has after
// it, by Envoy's own account. The addresses of pods are others by then and are not
// compared; all else that differs fails.
func TestForetold_isWhatEnvoysHave(t *testing.T) {
	w := newWorld(t, sample.Options{Drain: 5 * time.Second})
	revision := strings.ReplaceAll(*toFlag, ".", "-")
	install := []string{"install", "istiod", "--version", *toFlag, "--revision", revision, "--from-revision", "default"}
	if w.charts != "" {
		install = append(install, "--charts", w.charts)
	}
	w.run(0, install...)
	clients, err := cluster.NewClients(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	network := evidence.NewForwarder(w.cfg)
	asker := istiod.New(istiod.Config{Client: clients.Kube, Dynamic: clients.Dynamic, Forward: network, Namespace: "istio-system"})
	q, err := shadow.Ask(w.snapshot(), revision, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	foretold, err := asker.Foretold(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	file := w.plan("--keep")
	w.begin()
	w.run(0, "apply", file, "--approve")
	w.lost(w.end("foretold"))

	after := w.snapshot()
	own := w.tagAddresses(after)
	var subjects []shadow.Subject
	for _, ref := range q.Workloads {
		pods := after.PodsOf(ref)
		if len(pods) == 0 {
			t.Fatalf("%s has no pod", ref)
		}
		old := shadow.Config{}
		for kind, resources := range foretold[ref.String()] {
			if kind == shadow.Endpoints || kind == shadow.Names { // both are pods' addresses
				continue
			}
			old[kind] = map[string]any{}
			for name, body := range resources {
				old[kind][name] = alike(body)
			}
		}
		has := envoyHas(t, network, pods[0])
		maps.DeleteFunc(has[shadow.Listeners], func(name string, _ any) bool {
			ip, _, _ := strings.Cut(name, "_")
			return slices.Contains(own, ip)
		})
		subjects = append(subjects, shadow.Subject{Workload: ref.String(), Old: old, New: has})
	}
	q.Snapshot = after // of which the tag's Service is the control planes' own too
	side := shadow.Side{Revision: revision, Version: *toFlag}
	r := shadow.Compare(subjects, shadow.Sides{Old: side, New: side}, q.Hosts())
	t.Logf("%d workloads, %d resources, %d patterns differ", r.Workloads, r.Resources, len(r.Differences))
	for _, d := range r.Differences {
		t.Errorf("%s: %d of %d resources, in %d of %d workloads, as in %+v: was %v, is %v", d.Pattern(), d.Resources.N, d.Resources.Of, d.Workloads.N, d.Workloads.Of, d.Example, d.From, d.To)
	}
	if r.Workloads != len(q.Workloads) || r.Resources < 20*len(q.Workloads) {
		t.Errorf("%d workloads, %d resources: too little was compared", r.Workloads, r.Resources)
	}
}

// tagAddresses are those of the Services that the move of a tag has made: nobody could
// foretell their listeners, which are named by them.
func (w *world) tagAddresses(s mesh.Snapshot) []string {
	w.t.Helper()
	var out []string
	for _, tag := range s.TagServices {
		svc, err := w.kube.CoreV1().Services(s.IstioNamespace).Get(w.t.Context(), tag.Name, metav1.GetOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, svc.Spec.ClusterIP)
	}
	return out
}

// envoyHas is the configuration that the Envoy of a pod says to have from its istiod.
func envoyHas(t *testing.T, network evidence.Forwarder, p mesh.Pod) shadow.Config {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return network.Dial(ctx, p.Namespace, p.Name, 15000)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://envoy/config_dump", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("asking the Envoy of %s/%s: %v", p.Namespace, p.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var dump struct {
		Configs []map[string]any `json:"configs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&dump); err != nil {
		t.Fatalf("reading what the Envoy of %s/%s has: %v", p.Namespace, p.Name, err)
	}
	out := shadow.Config{}
	for _, section := range []struct {
		kind shadow.Kind
		typ  string
		list string
		path []string
	}{
		{shadow.Clusters, "ClustersConfigDump", "dynamic_active_clusters", []string{"cluster"}},
		{shadow.Listeners, "ListenersConfigDump", "dynamic_listeners", []string{"active_state", "listener"}},
		{shadow.Routes, "RoutesConfigDump", "dynamic_route_configs", []string{"route_config"}},
		{shadow.Extensions, "EcdsConfigDump", "ecds_filters", []string{"ecds_filter"}},
	} {
		for _, c := range dump.Configs {
			if !strings.HasSuffix(fmt.Sprint(c["@type"]), "."+section.typ) {
				continue
			}
			list, _ := c[section.list].([]any)
			for _, e := range list {
				for _, step := range section.path {
					m, _ := e.(map[string]any)
					e = m[step]
				}
				body, ok := alike(e).(map[string]any)
				if !ok {
					t.Fatalf("the Envoy of %s/%s has a %s without %v", p.Namespace, p.Name, section.kind, section.path)
				}
				delete(body, "@type")
				if out[section.kind] == nil {
					out[section.kind] = map[string]any{}
				}
				out[section.kind][fmt.Sprint(body["name"])] = body
			}
		}
	}
	return out
}

// alike writes fields as protobuf's JSON does, which Envoy does not, and numbers as
// numbers, however long they are.
func alike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			parts := strings.Split(key, "_")
			for i, part := range parts[1:] {
				parts[i+1] = strings.ToUpper(part[:min(1, len(part))]) + part[min(1, len(part)):]
			}
			out[strings.Join(parts, "")] = alike(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = alike(e)
		}
		return out
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
	}
	return v
}
