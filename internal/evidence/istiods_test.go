package evidence_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
)

func testdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const oldIstiod, newIstiod = "istio-system/istiod-7c:15014", "istio-system/istiod-1-29-1-5d:15014"

// twoRevisions is a mesh half way: an unrevisioned 1.27.0 and 1-29-1.
func twoRevisions() *world {
	return newWorld(
		istiod("istiod-7c", "", corev1.PodRunning),
		istiod("istiod-1-29-1-5d", "1-29-1", corev1.PodRunning),
		istiod("istiod-gone", "1-26-0", corev1.PodSucceeded),
	)
}

func TestProxiesOfBothLayouts(t *testing.T) {
	want := []gate.Proxy{
		{Namespace: "default", Name: "details-v1-1", Revision: "1-29-1", Istiod: "istiod-1-29-1-5d", Version: "1.29.1"},
		{Namespace: "default", Name: "ratings.v1-1", Revision: "1-29-1", Istiod: "istiod-1-29-1-5d", Version: "1.29.1", Stale: []string{"CDS", "EDS"}},
		{Namespace: "istio-system", Name: "ingress-1", Revision: "1-29-1", Istiod: "istiod-1-29-1-5d", Version: "1.27.0"},
	}
	// Only the layout with resources says why a type was refused, and has the types without fields.
	tests := map[string]func([]gate.Proxy){
		"syncz-fields.json": func([]gate.Proxy) {},
		"syncz-resources.json": func(p []gate.Proxy) {
			p[1].Stale = []string{"CDS", "EDS", "SDS"}
			p[2].Rejected = []string{"LDS: Error adding/updating listener(s) 0.0.0.0_8080: duplicate address"}
			p[2].Stale = []string{"istio.io/unheard-of"}
		},
		// What 1.27 and 1.29 really send is both.
		"syncz-both.json": func(p []gate.Proxy) {
			p[2].Rejected = []string{"LDS: Error adding/updating listener(s) 0.0.0.0_8080: duplicate address"}
		},
	}
	for file, differs := range tests {
		t.Run(file, func(t *testing.T) {
			w := newWorld(istiod("istiod-1-29-1-5d", "1-29-1", corev1.PodRunning))
			w.listen(t, newIstiod, says(testdata(t, file)))
			got, err := w.gatherer().Proxies(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wanted := append([]gate.Proxy(nil), want...)
			differs(wanted)
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnIstiodThatIsSilentIsNamedAndTheOthersStillCount(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc // nil: refuses
		says    string
	}{
		"refused":       {says: "connection refused"},
		"forbidden":     {handler: status(403, "no"), says: "403 Forbidden"},
		"not a list":    {handler: says(`{"error":"x"}`), says: "want a list of proxies"},
		"cut short":     {handler: says(`[{"proxy":"a.b"}`), says: "unexpected EOF"},
		"half a proxy":  {handler: says(`[{"proxy":"a.b"},{"pro`), says: "reading proxy 2"},
		"empty":         {handler: says(""), says: "EOF"},
		"no namespace":  {handler: says(`[{"proxy":"lonely"}]`), says: `"lonely"`},
		"wrong element": {handler: says(`[3]`), says: "reading proxy 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := twoRevisions()
			w.listen(t, newIstiod, says(`[{"proxy":"cart-1.shop","istio_version":"1.29.1"}]`))
			if test.handler != nil {
				w.listen(t, oldIstiod, test.handler)
			}
			proxies, err := w.gatherer().Proxies(t.Context())
			if err == nil || !strings.Contains(err.Error(), "asking istiod istiod-7c: ") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v does not name the istiod and say %q", err, test.says)
			}
			if len(proxies) != 1 || proxies[0].Name != "cart-1" {
				t.Errorf("got %+v, want the proxy of the istiod that answered", proxies)
			}
			ev, err := w.gatherer().Gather(t.Context(), gate.Question{}, []gate.Name{gate.Proxies})
			if err != nil || len(ev.Proxies) != 1 || !strings.Contains(ev.Missing[gate.Proxies], "istiod-7c") {
				t.Errorf("gathered %+v, %v", ev, err)
			}
		})
	}
}

func TestAnIstiodWithNoProxiesIsNoError(t *testing.T) {
	w := newWorld(istiod("istiod-7c", "default", corev1.PodRunning))
	w.listen(t, oldIstiod, says("[]"))
	if got, err := w.gatherer().Proxies(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNoIstiodAtAllIsAnError(t *testing.T) {
	w := newWorld(istiod("istiod-7c", "", corev1.PodPending))
	if _, err := w.gatherer().Proxies(t.Context()); err == nil || !strings.Contains(err.Error(), "istio-system") {
		t.Errorf("got %v: an empty list would read as a mesh without proxies", err)
	}
}

func TestOnePortForwardIsKeptForEachIstiod(t *testing.T) {
	w := twoRevisions()
	w.listen(t, newIstiod, says(`[]`))
	w.listen(t, oldIstiod, says(`[]`))
	g := w.gatherer()
	for range 5 {
		if _, err := g.Proxies(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.dials(newIstiod) != 1 || w.dials(oldIstiod) != 1 {
		t.Errorf("dialed %d and %d times, want once each", w.dials(newIstiod), w.dials(oldIstiod))
	}
	w.servers[oldIstiod].CloseClientConnections()
	if _, err := g.Proxies(t.Context()); err != nil {
		t.Errorf("after a forward broke: %v", err)
	}
	if w.dials(newIstiod) != 1 || w.dials(oldIstiod) != 2 {
		t.Errorf("dialed %d and %d times, want the broken one once more", w.dials(newIstiod), w.dials(oldIstiod))
	}
	g.Close()
	if _, err := g.Proxies(t.Context()); err != nil || w.dials(newIstiod) != 2 {
		t.Errorf("after Close: %v, dialed %d times", err, w.dials(newIstiod))
	}
}

func TestAProxyThatReconnected(t *testing.T) {
	entry := func(version, at, sent string) string {
		return `[{"proxy":"cart-1.shop","istio_version":"` + version + `","resources":{"type.googleapis.com/envoy.config.cluster.v3.Cluster":` +
			`{"sent":"` + sent + `","acked":"n","sentTime":"` + at + `"}}}]`
	}
	t.Run("to another replica: the newer counts", func(t *testing.T) {
		w := newWorld(istiod("istiod-a", "1-29-1", corev1.PodRunning), istiod("istiod-b", "1-29-1", corev1.PodRunning))
		w.listen(t, "istio-system/istiod-a:15014", says(entry("1.29.1", "2026-01-01T00:00:00Z", "dead")))
		w.listen(t, "istio-system/istiod-b:15014", says(entry("1.29.1", "2026-01-01T00:00:01Z", "n")))
		got, err := w.gatherer().Proxies(t.Context())
		want := []gate.Proxy{{Namespace: "shop", Name: "cart-1", Revision: "1-29-1", Istiod: "istiod-b", Version: "1.29.1"}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("to another revision: both are shown", func(t *testing.T) {
		w := twoRevisions()
		w.listen(t, oldIstiod, says(entry("1.27.0", "2026-01-01T00:00:00Z", "n")))
		w.listen(t, newIstiod, says(entry("1.29.1", "2026-01-01T00:00:01Z", "n")))
		got, err := w.gatherer().Proxies(t.Context())
		if err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		if pods := evidence.ByPod(got); len(pods) != 1 || len(pods["shop/cart-1"]) != 2 {
			t.Errorf("by pod: %+v", pods)
		}
	})
}

func TestIstioctlIsNoProxy(t *testing.T) {
	w := newWorld(istiod("istiod-7c", "", corev1.PodRunning))
	w.listen(t, oldIstiod, says(`[{"proxy":"istioctl.istio-system","resources":{"istio.io/debug/syncz":{"sent":"1"}}}]`))
	if got, err := w.gatherer().Proxies(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

// S-10: a shadow asks in the name of a pod that is elsewhere. It is nobody's proxy.
func TestAShadowIsNoProxy(t *testing.T) {
	w := newWorld(istiod("istiod-7c", "", corev1.PodRunning))
	w.listen(t, oldIstiod, says(`[
		{"proxy":"cart-1.shop","resources":{"type.googleapis.com/serin.dev.Shadow":{},"type.googleapis.com/envoy.config.cluster.v3.Cluster":{"sent":"1"}}},
		{"proxy":"cart-2.shop","resources":{"type.googleapis.com/envoy.config.cluster.v3.Cluster":{"sent":"1","acked":"1"}}}]`))
	got, err := w.gatherer().Proxies(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "cart-2" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestVersions(t *testing.T) {
	w := twoRevisions()
	var asked atomic.Value
	w.listen(t, oldIstiod, func(rw http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path)
		_, _ = rw.Write([]byte("1.27.0-7359d8be2504-Clean"))
	})
	w.listen(t, newIstiod, says("1.29-alpha.0-6991a379e1fc-Clean\n"))
	got, err := w.gatherer().Versions(t.Context())
	want := []evidence.Istiod{
		{Pod: "istiod-1-29-1-5d", Revision: "1-29-1", Version: "1.29-alpha.0"},
		{Pod: "istiod-7c", Revision: "default", Version: "1.27.0"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || asked.Load() != "/version" {
		t.Error(err, asked.Load(), diff)
	}
	w.listen(t, oldIstiod, says("<html>"))
	if got, err := w.gatherer().Versions(t.Context()); err == nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}
