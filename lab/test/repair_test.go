package test_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// serin is killed while a Gateway is frozen, claimed, under its private tag, and its
// run is lost with it: status shows what is left, repair shows what it would do and
// then does it, from what is in the cluster alone; nothing of serin's is left, and
// nobody loses a request. S-27.
func TestS27_repairMendsWhatALostRunLeft(t *testing.T) {
	nightly(t)
	e := newEdges(t)
	before := e.traces()
	tag := mesh.PrivateTag("default", "by-label")
	for _, p := range []part{
		{"frozen", func(g *unstructured.Unstructured, _ *edges) bool {
			return g.GetAnnotations()[mesh.VersionAnnotation] == tag
		}},
		{"claimed", func(_ *unstructured.Unstructured, e *edges) bool { return e.claims(tag, "1-29-1") }},
		{"labelled", func(g *unstructured.Unstructured, _ *edges) bool { return g.GetLabels()[mesh.RevLabel] == tag }},
		{"let go", func(g *unstructured.Unstructured, e *edges) bool {
			return g.GetLabels()[mesh.RevLabel] == tag && e.template(e.t.Context()) == "1-29-1" && !e.claims(tag, "default")
		}},
	} {
		e.killed([]part{p}, "apply", e.plan("1.29.1"), "--approve")
		e.loseRun()
		if out := e.run(0, "status"); !strings.Contains(out, "FROZEN-GATEWAY") || !strings.Contains(out, "serin repair") {
			t.Errorf("%s: status does not show it:\n%s", p.name, out)
		}
		traffic := []string{"--soak", "1s", "--probe-url", "http://" + e.address + bookinfo.Path, "--probe-host", bookinfo.Host}
		if out := e.run(0, append([]string{"repair", "--dry-run"}, traffic...)...); !strings.Contains(out, "return gateway") || !strings.Contains(out, "default/by-label") {
			t.Errorf("%s: it does not show what it would do:\n%s", p.name, out)
		}
		e.run(0, append([]string{"repair"}, traffic...)...)
		e.images("1.27.0")
		if d := cmp.Diff(before, e.traces()); d != "" {
			t.Errorf("%s: left on the Gateways (-before +after):\n%s", p.name, d)
		}
		if out := e.run(0, "status"); strings.Contains(out, "FROZEN-GATEWAY") {
			t.Errorf("%s: status shows it still:\n%s", p.name, out)
		}
		if out := e.run(0, "repair"); !strings.Contains(out, "Nothing to do") {
			t.Errorf("%s: done again:\n%s", p.name, out)
		}
		for name, l := range e.loads {
			if s := l.Snapshot(); s.Failed > 0 {
				t.Errorf("%s: %s lost %d of %d", p.name, name, s.Failed, s.Sent)
			}
		}
	}
	e.lost()
}

// loseRun removes all that is stored of runs, and who held the mesh.
func (e *edges) loseRun() {
	e.t.Helper()
	maps, err := e.kube.CoreV1().ConfigMaps("istio-system").List(e.t.Context(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	n := 0
	for _, c := range maps.Items {
		if !strings.HasPrefix(c.Name, "serin-run-") {
			continue
		}
		if err := e.kube.CoreV1().ConfigMaps("istio-system").Delete(e.t.Context(), c.Name, metav1.DeleteOptions{}); err != nil {
			e.t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		e.t.Error("there was no run to lose")
	}
	if err := e.kube.CoordinationV1().Leases("istio-system").Delete(e.t.Context(), "serin", metav1.DeleteOptions{}); err != nil {
		e.t.Fatal(err)
	}
}
