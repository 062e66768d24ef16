package evidence_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/xds"
)

// An istiod that is silent is an answer of its own, and the others' are whole.
func TestConnections_anIstiodThatDoesNotAnswerIsARow(t *testing.T) {
	w := twoRevisions()
	w.listen(t, newIstiod, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			_, _ = rw.Write([]byte("1.29.1-6991a379e1fc-Clean"))
			return
		}
		_, _ = rw.Write([]byte(testdata(t, "syncz-both.json")))
	})
	answers, err := w.gatherer().Connections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != 2 {
		t.Fatalf("%d answers, want one of each running istiod", len(answers))
	}
	canary, old := answers[0], answers[1]
	if old.Istiod.Revision != "default" || !strings.Contains(old.Istiod.Error, "connection refused") || len(old.Connections) != 0 {
		t.Errorf("the silent one: %+v", old)
	}
	if canary.Istiod.Error != "" || canary.Istiod.Version != "1.29.1" || len(canary.Connections) != 3 {
		t.Fatalf("the other: %+v", canary.Istiod)
	}
	states := map[string]xds.State{}
	for _, c := range canary.Connections {
		for _, typ := range c.Types {
			states[c.Name+" "+typ.Name] = typ.State
		}
		if c.Cluster != "Kubernetes" || c.Kind == "" {
			t.Errorf("%s: cluster %q, kind %q", c.Name, c.Cluster, c.Kind)
		}
	}
	for name, want := range map[string]xds.State{
		"details-v1-1 CDS": xds.Synced, "ratings.v1-1 CDS": xds.Stale, "ratings.v1-1 EDS": xds.Stale, "ingress-1 LDS": xds.Failed,
	} {
		if states[name] != want {
			t.Errorf("%s is %q, want %q", name, states[name], want)
		}
	}
}

func TestConnections_withoutAnIstiodIsAnError(t *testing.T) {
	if _, err := newWorld().gatherer().Connections(t.Context()); err == nil || !strings.Contains(err.Error(), "no istiod pod is running") {
		t.Errorf("got %v", err)
	}
}

func TestGet_asksAPortOfAPod(t *testing.T) {
	w := newWorld()
	w.listen(t, "shop/cart-0:15000", says(`{"configs":[]}`))
	got, err := w.gatherer().Get(t.Context(), "shop", "cart-0", 15000, "/config_dump?mask=bootstrap")
	if err != nil || string(got) != `{"configs":[]}` {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := w.gatherer().Get(t.Context(), "shop", "gone", 15000, "/clusters"); err == nil {
		t.Error("a pod that refuses is no error")
	}
}
