package test_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/shadow"
)

// What a shadow was given before the move is what the proxies are given after it:
// only the addresses of pods are others.
func TestDiff_foretellsWhatProxiesAreGiven(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.plant("prove-mesh.yaml")
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", next, "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.until("a mesh that is as expected", func() string {
		if code, said := w.ran("prove", "-r", next); code != 0 {
			return said
		}
		return ""
	})
	c, err := cluster.NewClients(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	asker := istiod.New(istiod.Config{Client: c.Kube, Dynamic: c.Dynamic, Forward: evidence.NewForwarder(w.cfg), Namespace: "istio-system"})
	q, err := shadow.Ask(w.snapshot(), next, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	foretold, err := asker.Foretold(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	w.run(0, "apply", w.plan("1.29.1", "--keep", "--ignore-check", "SRN1057,SRN1305"), "--approve")
	given, err := asker.Given(t.Context(), w.snapshot(), next, q.Workloads)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []shadow.Subject
	for name, config := range foretold {
		subjects = append(subjects, shadow.Subject{Workload: name, Old: config, New: given[name]})
	}
	r := shadow.Compare(subjects, shadow.Sides{Old: shadow.Side{Revision: next, Version: "1.29.1"}, New: shadow.Side{Revision: next, Version: "1.29.1"}}, q.Hosts())
	t.Logf("%d workloads, %d resources", r.Workloads, r.Resources)
	for _, d := range r.Differences {
		t.Logf("%s: %d of %d resources, as in %+v: was %v, is %v", d.Pattern(), d.Resources.N, d.Resources.Of, d.Example, d.From, d.To)
		if d.Kind != shadow.Endpoints && d.Kind != shadow.Names { // both hold pods' addresses
			t.Errorf("%s was not foretold, in %d of %d workloads", d.Pattern(), d.Workloads.N, d.Workloads.Of)
		}
	}
	if r.Workloads != len(q.Workloads) || r.Resources < 100 {
		t.Errorf("%d workloads, %d resources: too little was compared", r.Workloads, r.Resources)
	}
	w.lost()
}
