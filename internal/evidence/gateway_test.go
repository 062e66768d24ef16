package evidence_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// dumped is a gateway's config dump: one listener, and a route to each host.
func dumped(hosts ...string) http.HandlerFunc {
	var routes []string
	for _, h := range hosts {
		routes = append(routes, fmt.Sprintf(`{"domains":[%q],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"c"}}]}`, h))
	}
	return says(`{"configs":[
{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[{"name":"0.0.0.0_80","active_state":{"listener":{"address":{"socket_address":{"address":"0.0.0.0","port_value":80}},"filter_chains":[{"filters":[{"typed_config":{"rds":{"route_config_name":"http.80"}}}]}]}}}]},
{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[{"route_config":{"name":"http.80","virtual_hosts":[` + strings.Join(routes, ",") + `]}}]}]}`)
}

// twoPods are a mesh with an old gateway's ready pod and a new one's held pod.
func twoPods(t *testing.T) (*world, gate.Question) {
	t.Helper()
	old, added := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "old"}, mesh.Ref{Kind: mesh.KindDeployment, Namespace: "edge", Name: "new"}
	w := newWorld()
	w.reader.snapshot = mesh.Snapshot{Pods: []mesh.Pod{
		{Namespace: "edge", Name: "old-0", Workload: old, Ready: true},
		{Namespace: "edge", Name: "gone-0", Workload: old, Ready: true, Leaving: true},
		{Namespace: "edge", Name: "new-0", Workload: added, Held: true},
		{Namespace: "edge", Name: "starting-0", Workload: added},
	}}
	return w, gate.Question{Workloads: []mesh.Ref{added}, Beside: &old}
}

// S-29: what the new pods lack, have besides, or answer otherwise is told; and what
// could not be asked is missing, never good news.
func TestS29_gatewaysAreComparedPodByPod(t *testing.T) {
	both := []gate.Name{gate.SameServing, gate.SameAnswers}
	for _, tt := range []struct {
		name    string
		old     http.HandlerFunc
		new     http.HandlerFunc
		answer  http.HandlerFunc // of the new pod
		change  func(*world, *gate.Question)
		missing string // of the evidence, as it says
		lacks   string
		extra   string
		differ  string
	}{
		{name: "the same", old: dumped("a.example", "b.example"), new: dumped("a.example", "b.example"), answer: says("")},
		{name: "it lacks a route", old: dumped("a.example", "b.example"), new: dumped("a.example"), answer: says(""), lacks: "b.example"},
		{name: "it has one more", old: dumped("a.example"), new: dumped("a.example", "c.example"), answer: says(""), extra: "c.example"},
		{name: "one host answers 404", old: dumped("a.example", "b.example"), new: dumped("a.example", "b.example"), answer: func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "b.example" {
				http.NotFound(w, r)
			}
		}, differ: "http://b.example:80/: 404 Not Found by new-0, 200 OK by old-0"},
		{name: "it does not answer", old: dumped("a.example"), new: dumped("a.example"), differ: "no answer by new-0"},
		{name: "its dump cannot be read", old: dumped("a.example"), answer: says(""), missing: "new-0"},
		{name: "one pod, and another of its own that serves", new: dumped("a.example"), answer: says(""), change: func(w *world, q *gate.Question) {
			w.reader.snapshot.Pods = append(w.reader.snapshot.Pods, mesh.Pod{Namespace: "edge", Name: "old-0", Workload: q.Workloads[0], Ready: true}, mesh.Pod{Namespace: "edge", Name: "unread-0", Workload: q.Workloads[0], Held: true})
			w.reader.snapshot.Pods = w.reader.snapshot.Pods[1:]
			q.Beside, q.Pod = &q.Workloads[0], "new-0"
		}, old: dumped("a.example", "b.example"), lacks: "b.example"},
		{name: "nobody is beside it", change: func(_ *world, q *gate.Question) { q.Beside = nil }, missing: "no gateway to compare with"},
		{name: "the old one has no ready pod", change: func(w *world, _ *gate.Question) { w.reader.snapshot.Pods[0].Ready = false }, missing: "no ready pod to compare with"},
		{name: "no new pod is there", change: func(w *world, _ *gate.Question) { w.reader.snapshot.Pods[2].Held = false }, missing: "no new pod is there yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, q := twoPods(t)
			for key, h := range map[string]http.HandlerFunc{"edge/old-0:15000": tt.old, "edge/new-0:15000": tt.new, "edge/old-0:80": says(""), "edge/new-0:80": tt.answer} {
				if h != nil {
					w.listen(t, key, h)
				}
			}
			if tt.change != nil {
				tt.change(w, &q)
			}
			ev, err := w.gatherer().Gather(t.Context(), q, both)
			if err != nil {
				t.Fatal(err)
			}
			if tt.missing != "" {
				for _, g := range both {
					if v := gate.Judge(g, q, ev); v.State != gate.Unknown || !strings.Contains(v.Reason, tt.missing) {
						t.Errorf("%s is %s: %s", g, v.State, v.Reason)
					}
				}
				return
			}
			if ev.Parity == nil || ev.Answers == nil {
				t.Fatalf("nothing was compared: %+v", ev.Missing)
			}
			found := func(lines []string, want string) bool {
				return want == "" && len(lines) == 0 || want != "" && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) })
			}
			if !found(ev.Parity.Missing, tt.lacks) || !found(ev.Parity.Extra, tt.extra) || !found(ev.Answers.Differ, tt.differ) || ev.Parity.New != 1 || ev.Answers.Asked == 0 {
				t.Errorf("%+v\n%+v", ev.Parity, ev.Answers)
			}
			if w.dials("edge/gone-0:80")+w.dials("edge/starting-0:80") > 0 {
				t.Error("pods that leave, or only start, were asked")
			}
		})
	}
}

// S-29: what the old pod does not answer is left out and named, and takes nothing from
// what else is known; where it answers nothing, or nothing can be asked of it, the gates say so.
func TestS29_whatTheOldPodDoesNotAnswer(t *testing.T) {
	const demands = `{"configs":[
{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[{"active_state":{"listener":{"address":{"socket_address":{"port_value":443}},"filter_chains":[
{"filter_chain_match":{"server_names":["a.example"]},"filters":[{"typed_config":{"rds":{"route_config_name":"https.443"}}}],"transport_socket":{"typed_config":{"require_client_certificate":true,"common_tls_context":{"tls_certificate_sds_secret_configs":[{"name":"x"}]}}}},
{"filter_chain_match":{"server_names":["b.example"]},"filters":[{"typed_config":{"cluster":"outbound|443||b"}}]}]}}}]},
{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[{"route_config":{"name":"https.443","virtual_hosts":[{"domains":["a.example"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}}]}]}`
	silent := func(hosts ...string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			if slices.Contains(hosts, r.Host) {
				panic(http.ErrAbortHandler)
			}
		}
	}
	for _, tt := range []struct {
		name             string
		dump, newDump    http.HandlerFunc
		old              http.HandlerFunc // its answers
		new              http.HandlerFunc
		serving, answers gate.State
		says             []string
	}{
		{"one of two hosts", dumped("a.example", "b.example"), nil, silent("b.example"), says(""), gate.Open, gate.Open, []string{"1 request answered as by old-0", "not compared: http://b.example:80/"}},
		{"one of two hosts, and the other is answered otherwise", dumped("a.example", "b.example"), nil, silent("b.example"), http.NotFound, gate.Open, gate.Shut, []string{"http://a.example:80/: 404"}},
		{"any", dumped("a.example", "b.example"), nil, silent("a.example", "b.example"), says(""), gate.Open, gate.Unknown, []string{"old-0 answers nothing", "a.example", "b.example"}},
		{"certificates of clients, and what passes through", says(demands), nil, nil, nil, gate.Open, gate.Open, []string{"nothing can be asked", "a.example demands a client's certificate", "b.example passes on", "serve the same as old-0"}},
		{"the same, and the new one lacks something", says(demands), says(strings.Replace(demands, "b.example", "c.example", 1)), nil, nil, gate.Shut, gate.Shut, []string{"nothing can be asked", "for b.example to outbound"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, q := twoPods(t)
			if tt.newDump == nil {
				tt.newDump = tt.dump
			}
			for key, h := range map[string]http.HandlerFunc{"edge/old-0:15000": tt.dump, "edge/new-0:15000": tt.newDump, "edge/old-0:80": tt.old, "edge/new-0:80": tt.new} {
				if h != nil {
					w.listen(t, key, h)
				}
			}
			ev, err := w.gatherer().Gather(t.Context(), q, []gate.Name{gate.SameServing, gate.SameAnswers})
			if err != nil {
				t.Fatal(err)
			}
			ev.Snapshot.Namespaces = []mesh.Namespace{{Name: "edge"}}
			if v := gate.Judge(gate.SameServing, q, ev); v.State != tt.serving {
				t.Errorf("%+v, want %s", v, tt.serving)
			}
			v := gate.Judge(gate.SameAnswers, q, ev)
			if v.State != tt.answers {
				t.Errorf("%+v, want %s", v, tt.answers)
			}
			for _, want := range tt.says {
				if !strings.Contains(v.Reason, want) {
					t.Errorf("%q is not in %q", want, v.Reason)
				}
			}
			if w.dials("edge/old-0:443") > 0 {
				t.Error("it was asked without a certificate that it demands")
			}
		})
	}
}
