package test_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/shadow"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a shadow was given before the move is what the proxies are given after it:
// only the addresses of pods are others, and the Service of the tag has come.
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
	w.planted()
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
	own := w.tagAddresses()
	for name, config := range foretold {
		maps.DeleteFunc(given[name][shadow.Listeners], func(listener string, _ any) bool {
			ip, _, _ := strings.Cut(listener, "_")
			return slices.Contains(own, ip)
		})
		subjects = append(subjects, shadow.Subject{Workload: name, Old: config, New: given[name]})
	}
	q.Snapshot = w.snapshot() // of which the tag's Service is the control planes' own too
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

// tagAddresses are those of the Services that the move of a tag has made: nobody could
// foretell their listeners, which are named by them.
func (w *world) tagAddresses() []string {
	w.t.Helper()
	var out []string
	for _, tag := range w.snapshot().TagServices {
		svc, err := w.kube.CoreV1().Services("istio-system").Get(w.t.Context(), tag.Name, metav1.GetOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, svc.Spec.ClusterIP)
	}
	return out
}
