package test_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/shadow"
)

// A mesh with every kind of Istio object is proven before anything moves: between
// real istiods 1.27.0 and 1.29.1 one pattern differs, and a rule explains it. What
// is planted after that is found, and classed.
func TestProve_whatIsHarmlessPassesAndWhatIsPlantedIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", "1-29-1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.plant("prove-mesh.yaml")
	w.until("a mesh that is as expected", func() string {
		if code, said := w.ran("prove", "-r", "1-29-1"); code != 0 {
			return said
		}
		return ""
	})
	w.run(0, "diff", "--all", "-r", "1-29-1")
	if proxies := w.run(0, "proxy-status"); strings.Contains(proxies, "1-29-1") {
		t.Errorf("a shadow was left behind, or is shown as a proxy:\n%s", proxies)
	}
	w.secureShadows()

	w.plant("prove-faults.yaml")
	var p shadow.Proof
	w.until("every planted fault", func() string {
		out, _ := w.command("prove", "-r", "1-29-1", "-o", "json").Output() // its exit code is the last that comes
		p = shadow.Proof{}
		if err := json.Unmarshal(out, &p); err != nil {
			return err.Error()
		}
		return missing(p)
	})
	if p.Verdict != shadow.Dangerous {
		t.Errorf("verdict %s", p.Verdict)
	}
	w.run(3, "prove", "-r", "1-29-1")
	w.run(3, "diff", "deploy/reviews-v1.default", "-r", "1-29-1")

	// An upgrade stops before its first move, and nothing has moved.
	before := w.namespaceLabels("default")
	if said := w.run(4, "apply", w.plan("1.29.1", "--ignore-check", "SRN1057,SRN1305"), "--approve"); !strings.Contains(said, "gate prove is shut: dangerous: ") {
		t.Errorf("an upgrade went on:\n%s", said)
	}
	if d := cmp.Diff(before, w.namespaceLabels("default")); d != "" {
		t.Error(d)
	}
	w.run(5, "rollback")
}

// missing says which of the planted faults a proof does not know of.
func missing(p shadow.Proof) string {
	for _, f := range []struct{ what, ends, why string }{
		{"an EnvoyFilter for 1.27 only", "httpFilters[shop.guard]", "a filter is gone"},
		{"an AuthorizationPolicy that the new revision does not read", "filters[envoy.filters.network.rbac]", "a filter is gone"},
		{"a VirtualService that the new revision does not read", "virtualHosts[].routes[]", "a route is gone"},
	} {
		if !slices.ContainsFunc(p.Configuration.Differences, func(d shadow.Difference) bool {
			return d.Class == shadow.Dangerous && strings.HasSuffix(d.Path, f.ends) && d.Why == f.why
		}) {
			return f.what + " is not found"
		}
	}
	if !slices.ContainsFunc(p.Injection.Differences, func(d shadow.Difference) bool {
		reason, _ := d.To.(string)
		return d.Class == shadow.Dangerous && d.Op == shadow.Rejected && strings.Contains(reason, "this proxy is not on the list") && d.Workloads.N == 6
	}) {
		return "a policy that refuses the new proxy is not found"
	}
	return ""
}

// secureShadows asks on istiod's TLS port, with tokens of the pods' own accounts.
func (w *world) secureShadows() {
	w.t.Helper()
	c, err := cluster.NewClients(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	q, err := shadow.Ask(w.snapshot(), "1-29-1", "", "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	a := istiod.New(istiod.Config{Client: c.Kube, Dynamic: c.Dynamic, Forward: evidence.NewForwarder(w.cfg), Namespace: "istio-system", Secure: true})
	r, err := a.Configs(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("over TLS: %d workloads, %d resources, %s", r.Workloads, r.Resources, r.Worst())
	if r.Worst() != shadow.Expected || r.Workloads != 7 {
		w.t.Errorf("over TLS: %+v", r)
	}
}
