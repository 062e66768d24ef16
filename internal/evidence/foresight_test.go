package evidence_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/shadow"
)

// prover answers each question with the next of its proofs, the last for ever.
type prover struct {
	proofs []shadow.Proof
	err    error
	takes  time.Duration
	asked  atomic.Int32
}

func (p *prover) Prove(ctx context.Context, _ shadow.Question) (shadow.Proof, error) {
	n := int(p.asked.Add(1))
	if err := clock.Wait(ctx, p.takes); err != nil {
		return shadow.Proof{}, err
	}
	if p.err != nil {
		return shadow.Proof{}, p.err
	}
	return p.proofs[min(n, len(p.proofs))-1], nil
}

func beside() mesh.Snapshot {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	s.ControlPlanes = append(s.ControlPlanes, mesh.ControlPlane{Revision: "1-29-1", Version: "1.29.1", Replicas: 2, Ready: 2})
	return s
}

func moves() evidence.Moves { return evidence.Moves{To: "1-29-1", From: []string{"default"}} }

func configuration(ds ...shadow.Difference) shadow.Proof {
	return shadow.Proof{Configuration: shadow.Report{Workloads: 7, Differences: ds}, Validation: shadow.Validation{Objects: 4}}
}

func TestForesee(t *testing.T) {
	rejected := shadow.Difference{Class: shadow.Dangerous, Kind: shadow.Pods, Op: shadow.Rejected, To: "exceeded quota", Example: shadow.Example{Workload: "default/reviews-v1"}}
	gone := shadow.Difference{Class: shadow.Dangerous, Kind: shadow.Routes, Path: "virtualHosts[]", Op: shadow.Removed, Why: "a host is gone", Workloads: shadow.Count{N: 2, Of: 7}}
	for _, tt := range []struct {
		name  string
		proof shadow.Proof
		want  gate.Foresight
	}{
		{"nothing differs", configuration(), gate.Foresight{Workloads: 7, Objects: 4}},
		{"what a rule explains is counted", configuration(shadow.Difference{Class: shadow.Expected}), gate.Foresight{Workloads: 7, Objects: 4, Expected: 1}},
		{"a host is gone", configuration(gone), gate.Foresight{Workloads: 7, Objects: 4, Found: []gate.Difference{
			{Pattern: "RDS virtualHosts[] removed", What: "RDS virtualHosts[] removed in 2 of 7 workloads (a host is gone)", Dangerous: true},
		}}},
		{"a pod is refused, which nobody can accept", shadow.Proof{Injection: shadow.Report{Differences: []shadow.Difference{rejected}}}, gate.Foresight{Workloads: 7, Found: []gate.Difference{
			{What: "the pod of default/reviews-v1 would be refused (exceeded quota)", Dangerous: true},
		}}},
		{"a workload was not asked about", shadow.Proof{Configuration: shadow.Report{Unasked: []shadow.Unasked{{Workload: "default/reviews-v1", Why: "no proxy"}}}}, gate.Foresight{Workloads: 7, Found: []gate.Difference{
			{What: "default/reviews-v1 was not compared (no proxy)"},
		}}},
		{"one that its own step compares asks nobody", shadow.Proof{Configuration: shadow.Report{Unasked: []shadow.Unasked{{Workload: "default/edge-istio", Why: "not yet its", Later: true}}}}, gate.Foresight{Workloads: 7, Later: 1}},
		{"what it stands on", shadow.Proof{Ground: []shadow.Ground{
			{Class: shadow.Dangerous, About: shadow.Certificates, Said: "another root\n  remedy: one for both"}, {Class: shadow.Unexplained, About: shadow.Space, Said: "no room"},
		}}, gate.Foresight{Workloads: 7, Found: []gate.Difference{
			{What: "certificates: another root", Dangerous: true}, {What: "room: no room"},
		}}},
		{"objects", shadow.Proof{Validation: shadow.Validated([]shadow.Object{
			{Kind: "VirtualService", Namespace: "shop", Name: "a", Denied: "no route"},
			{Kind: "Gateway", Namespace: "shop", Name: "b", Denied: "old", Before: "old"},
			{Kind: "Sidecar", Namespace: "shop", Name: "c", Warnings: []string{"deprecated"}},
		})}, gate.Foresight{Workloads: 7, Objects: 3, Found: []gate.Difference{
			{What: "VirtualService shop/a: no route", Dangerous: true}, {What: "Gateway shop/b: old"},
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &prover{proofs: []shadow.Proof{tt.proof}}
				got, err := evidence.Foresee(t.Context(), p, beside(), moves())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// Late answers are waited for: nothing is decided, and no person is asked. A danger
// goes before them.
func TestForesee_lateAnswersAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := shadow.Ground{Class: shadow.Dangerous, About: shadow.Server, Said: "a pod takes 6s to be admitted"}
		_, err := evidence.Foresee(t.Context(), &prover{proofs: []shadow.Proof{{Ground: []shadow.Ground{late}}}}, beside(), moves())
		if err == nil || !strings.Contains(err.Error(), "answers are late: api-server: a pod takes 6s") {
			t.Errorf("%v", err)
		}
		root := shadow.Ground{Class: shadow.Dangerous, About: shadow.Certificates, Said: "another root"}
		f, err := evidence.Foresee(t.Context(), &prover{proofs: []shadow.Proof{{Ground: []shadow.Ground{late, root}}}}, beside(), moves())
		if err != nil || len(f.Found) != 1 || !f.Found[0].Dangerous {
			t.Errorf("%+v %v", f, err)
		}
	})
}

// An istiod that has just become ready may not know all yet.
func TestForesee_looksAgainBeforeItBelievesADanger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prover{proofs: []shadow.Proof{configuration(shadow.Difference{Class: shadow.Dangerous, Kind: shadow.Routes, Op: shadow.Removed}), configuration()}}
		got, err := evidence.Foresee(t.Context(), p, beside(), moves())
		if err != nil || len(got.Found) > 0 || p.asked.Load() != 2 {
			t.Errorf("%+v %v, asked %d times", got, err, p.asked.Load())
		}
	})
}

func TestForesee_nobodyIsLeftToAsk(t *testing.T) {
	got, err := evidence.Foresee(t.Context(), &prover{}, beside(), evidence.Moves{To: "1-29-1", From: []string{"gone"}})
	if err != nil || got.Workloads != 0 || len(got.Found) > 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// Asking may take longer than a look at the gates: it goes on meanwhile, is not
// begun twice, and ends with its Gatherer.
func TestGather_asksTheNewRevisionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prover{proofs: []shadow.Proof{configuration()}, takes: 25 * time.Second}
		g := evidence.New(evidence.Config{Reader: &reader{snapshot: beside()}, Prover: p, Moves: moves(), Now: clock.Now, Forwarder: newNetwork()})
		defer g.Close()
		for n, want := range []bool{false, false, true, true} {
			ev, err := g.Gather(t.Context(), gate.Question{Step: 4}, []gate.Name{gate.Prove})
			if err != nil {
				t.Fatal(err)
			}
			if (ev.Foresight != nil) != want || !want && !strings.Contains(ev.Missing[gate.Prove], "still being asked") {
				t.Errorf("look %d: %+v %v", n+1, ev.Foresight, ev.Missing)
			}
		}
		if n := p.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if err := clock.Wait(t.Context(), 10*25*time.Second); err != nil { // bad news, or good, is old then
			t.Fatal(err)
		}
		if _, err := g.Gather(t.Context(), gate.Question{Step: 4}, []gate.Name{gate.Prove}); err != nil || p.asked.Load() != 2 {
			t.Errorf("asked %d times, %v", p.asked.Load(), err)
		}
	})
}

func TestGather_whoCannotBeAskedIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, p := range map[string]evidence.Prover{"nothing asks": nil, "no istiod": &prover{err: errors.New("no istiod")}} {
			g := evidence.New(evidence.Config{Reader: &reader{snapshot: beside()}, Prover: p, Moves: moves(), Now: clock.Now, Forwarder: newNetwork()})
			ev, err := g.Gather(t.Context(), gate.Question{}, []gate.Name{gate.Prove})
			if err != nil || ev.Foresight != nil || !strings.Contains(ev.Missing[gate.Prove], want) {
				t.Errorf("%+v %v", ev.Missing, err)
			}
			g.Close()
		}
	})
}
