package gate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

func TestS29_gatewaysBesideEachOther(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	same := &gate.Parity{Old: "a", New: 2, Facts: 9}
	for _, tt := range []struct {
		name string
		gate gate.Name
		ev   gate.Evidence
		want gate.State
	}{
		{"the same", gate.SameServing, gate.Evidence{Parity: &gate.Parity{Old: "a", New: 2, Facts: 9}}, gate.Open},
		{"a route is missing", gate.SameServing, gate.Evidence{Parity: &gate.Parity{Old: "a", New: 2, Facts: 9, Missing: []string{"route"}}}, gate.Shut},
		{"it has more", gate.SameServing, gate.Evidence{Parity: &gate.Parity{Old: "a", New: 2, Facts: 9, Extra: []string{"route"}}}, gate.Shut},
		{"the old one serves nothing", gate.SameServing, gate.Evidence{Parity: &gate.Parity{Old: "a", New: 2}}, gate.Unknown},
		{"nothing compared", gate.SameServing, gate.Evidence{}, gate.Unknown},
		{"answers alike", gate.SameAnswers, gate.Evidence{Answers: &gate.Answers{Old: "a", Asked: 3}}, gate.Open},
		{"one host with 404", gate.SameAnswers, gate.Evidence{Answers: &gate.Answers{Old: "a", Asked: 3, Differ: []string{"x: 404"}}}, gate.Shut},
		{"nothing asked", gate.SameAnswers, gate.Evidence{Answers: &gate.Answers{Old: "a"}}, gate.Unknown},
		{"the old one answers nothing", gate.SameAnswers, gate.Evidence{Parity: same, Answers: &gate.Answers{Old: "a", Unanswered: []string{"x: no"}, Mute: []string{"listener :443"}}}, gate.Unknown},
		{"the old one does not answer one of them", gate.SameAnswers, gate.Evidence{Parity: same, Answers: &gate.Answers{Old: "a", Asked: 2, Unanswered: []string{"x: no"}}}, gate.Open},
		{"nothing can be asked", gate.SameAnswers, gate.Evidence{Parity: same, Answers: &gate.Answers{Old: "a", Mute: []string{"listener :443"}}}, gate.Open},
		{"nothing can be asked, and nothing was compared", gate.SameAnswers, gate.Evidence{Answers: &gate.Answers{Old: "a", Mute: []string{"listener :443"}}}, gate.Unknown},
		{"nothing can be asked, and they differ", gate.SameAnswers, gate.Evidence{Parity: &gate.Parity{Old: "a", New: 2, Facts: 9, Missing: []string{"route"}}, Answers: &gate.Answers{Old: "a", Mute: []string{"listener :443"}}}, gate.Shut},
		{"not read", gate.SameAnswers, gate.Evidence{Answers: &gate.Answers{Asked: 3}, Missing: map[gate.Name]string{gate.SameAnswers: "no port-forward"}}, gate.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.ev.Snapshot = s
			v := gate.Judge(tt.gate, gate.Question{}, tt.ev)
			if v.State != tt.want || v.Reason == "" {
				t.Errorf("%+v, want %s", v, tt.want)
			}
			if a := tt.ev.Answers; a != nil && tt.ev.Missing == nil && len(a.Differ) == 0 { // nothing is left out in silence (S-47)
				for _, left := range append(slices.Clone(a.Unanswered), a.Mute...) {
					if (v.State == gate.Open || a.Asked+len(a.Unanswered) == 0) && !strings.Contains(v.Reason, left) {
						t.Errorf("%q is not named: %s", left, v.Reason)
					}
				}
			}
		})
	}
}

func TestRolledOut_heldPods(t *testing.T) {
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "istio-ingress", Name: "istio-ingress"}
	with := func(ready, held int) gate.Evidence {
		s := meshtest.Bookinfo("1.27.0").Snapshot()
		for i := range s.Workloads {
			if s.Workloads[i].Ref == ref {
				s.Workloads[i].Replicas = 3
			}
		}
		var pods []mesh.Pod
		for i := range ready + held {
			pods = append(pods, mesh.Pod{Namespace: ref.Namespace, Name: string(rune('a' + i)), Workload: ref, Revision: "1-29-1", Ready: i < ready, Held: i >= ready})
		}
		s.Pods = pods
		return gate.Evidence{Snapshot: s}
	}
	for _, tt := range []struct {
		name        string
		ready, held int
		q           gate.Question
		want        gate.State
		steady      gate.State
	}{
		{"all held, as is asked", 0, 3, gate.Question{Held: true}, gate.Open, gate.Open},
		{"one has come in, none was to", 1, 2, gate.Question{Held: true}, gate.Unknown, gate.Open},
		{"one in of one", 1, 2, gate.Question{Held: true, Opened: 1}, gate.Open, gate.Open},
		{"one is not there", 0, 2, gate.Question{Held: true}, gate.Unknown, gate.Unknown},
		{"none is there", 0, 0, gate.Question{Held: true}, gate.Unknown, gate.Unknown},
		{"held is not ready where nobody asks for it", 0, 3, gate.Question{}, gate.Unknown, gate.Open},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.Workloads, tt.q.Revision = []mesh.Ref{ref}, "1-29-1"
			if v := gate.Judge(gate.RolledOut, tt.q, with(tt.ready, tt.held)); v.State != tt.want {
				t.Errorf("%+v, want %s", v, tt.want)
			}
			if v := gate.Judge(gate.Steady, tt.q, with(tt.ready, tt.held)); v.State != tt.steady { // S-29: as a need, however many are in
				t.Errorf("%+v, want %s", v, tt.steady)
			}
			tt.q.Revision = "1-30-0" // S-28: they are an old one's, or another's
			if v := gate.Judge(gate.Steady, tt.q, with(tt.ready, tt.held)); v.State != gate.Unknown {
				t.Errorf("%+v, want %s", v, gate.Unknown)
			}
		})
	}
}

// S-29: one pod that is to come into the Service again is judged by itself: others that
// are not there, or not well, are not its news; and it is not proven where it is not there.
func TestS29_onePodByItself(t *testing.T) {
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "istio-ingress", Name: "istio-ingress"}
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	for i := range s.Workloads {
		if s.Workloads[i].Ref == ref {
			s.Workloads[i].Replicas = 3
		}
	}
	s.Pods = []mesh.Pod{
		{Namespace: ref.Namespace, Name: "held", Workload: ref, Revision: "1-29-1", Held: true},
		{Namespace: ref.Namespace, Name: "starting", Workload: ref, Revision: "1-29-1"},
		{Namespace: ref.Namespace, Name: "restarted", Workload: ref, Revision: "1-29-1", Held: true, Restarts: 1},
		{Namespace: ref.Namespace, Name: "bare", Workload: ref, Held: true},
		{Namespace: "default", Name: "lost", Workload: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "default", Name: "x"}, Revision: "default", Ready: true},
	}
	ev := gate.Evidence{Snapshot: s}
	for _, name := range []string{"held", "starting", "restarted"} {
		ev.Proxies = append(ev.Proxies, gate.Proxy{Namespace: ref.Namespace, Name: name, Revision: "1-29-1", Version: "1.29.1"})
	}
	for _, tt := range []struct {
		pod             string
		steady, proxies gate.State
	}{
		{"held", gate.Open, gate.Open},
		{"starting", gate.Unknown, gate.Open},
		{"restarted", gate.Open, gate.Shut},
		{"bare", gate.Unknown, gate.Unknown},
		{"gone", gate.Unknown, gate.Unknown},
	} {
		q := gate.Question{Workloads: []mesh.Ref{ref}, Revision: "1-29-1", Version: "1.29.1", Held: true, Pod: tt.pod}
		if v := gate.Judge(gate.Steady, q, ev); v.State != tt.steady {
			t.Errorf("%s: %+v, want %s", tt.pod, v, tt.steady)
		}
		if v := gate.Judge(gate.Proxies, q, ev); v.State != tt.proxies {
			t.Errorf("%s: %+v, want %s", tt.pod, v, tt.proxies)
		}
	}
}
