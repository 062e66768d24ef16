package test_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// moment is when, around one of its writes, serin is killed.
type moment string

const (
	before   moment = "before sending"
	sent     moment = "after sending"      // the API server has done it, serin never hears of it
	answered moment = "after the response" // serin may or may not have read it
)

// killer stands between serin and the API server. It counts serin's writes and
// kills it around the n-th.
type killer struct {
	at   int
	when moment

	mu     sync.Mutex
	writes int
	what   string // the write at which it struck
	victim func()
}

// writes says whether a request changes something: not a dry run, nor a question.
// The Lease's renewals come by the clock and would make the count depend on it.
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return r.URL.Query().Get("dryRun") == "" && !strings.Contains(r.URL.Path, "authorization.k8s.io") &&
			!strings.Contains(r.URL.Path, "/leases") && !strings.HasSuffix(r.URL.Path, "/portforward")
	}
	return false
}

// strikes counts a write and says whether it is the one.
func (k *killer) strikes(r *http.Request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes++
	if k.writes != k.at {
		return false
	}
	k.what = r.Method + " " + r.URL.Path
	return true
}

// over returns a handler in front of the API server.
func (k *killer) over(t *testing.T, cfg *rest.Config) http.Handler {
	t.Helper()
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"} // a port-forward takes its connection over
	transport, err := rest.TransportFor(own)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = nil
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !writes(r) || !k.strikes(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		switch k.when {
		case before:
		case sent:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		case answered:
			proxy.ServeHTTP(w, r)
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
		}
		k.victim()
	})
}

// kubeconfig leads to a server that wants no credentials.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["lab"] = &clientcmdapi.Cluster{Server: server}
	c.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab"}
	c.CurrentContext = "lab"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// killed runs serin until it is killed around its n-th write, or ends by itself:
// then there is no n-th, and it returns "".
func (w *world) killed(n int, when moment, args ...string) string {
	w.t.Helper()
	k := &killer{at: n, when: when}
	server := httptest.NewServer(k.over(w.t, w.cfg))
	defer server.Close()
	cmd := exec.CommandContext(w.t.Context(), w.serin, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig(w.t, server.URL))
	k.victim = func() { _ = cmd.Process.Kill() }
	out, err := cmd.CombinedOutput()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.what == "" && err != nil {
		w.t.Fatalf("serin %s: %v after %d writes, none of which was its last\n%s", strings.Join(args, " "), err, k.writes, out)
	}
	return k.what
}

// quick writes a plan that keeps the sweep short: no soak to speak of, no probe.
func (w *world) quick() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "plan.yaml")
	w.run(0, "plan", "--to", "1.29.1", "--charts", w.lab.ChartRepo(), "--soak", "1ms", "--ignore-check", "SRN1060", "-o", file)
	return file
}

// Killed around every write of an upgrade, those inside Helm's install included,
// and started again, it ends all new or exactly as before. S-49, S-51.
//
// A few writes are drawn in each run; SERIN_SWEEP=FILE goes through all of them at
// each of the three moments, notes each in the file, and goes on where it ended.
func TestSweep_killedAroundAnyWrite(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	start := settle(w.snapshot())
	file := os.Getenv("SERIN_SWEEP")
	done := swept(t, file)
	last := 1000 // the upgrade's last write, once it is known
	all := everyPoint()
	if file == "" {
		all = drawn(t)
	}
	for _, p := range all {
		if done[p] || p.N > last {
			continue
		}
		begun := time.Now()
		plan := w.quick()
		what := w.killed(p.N, p.When, "apply", plan, "--approve")
		if what == "" {
			last = p.N - 1
			t.Logf("there are %d writes", last)
			w.run(5, "rollback")
			continue
		}
		end := "as before"
		if p.N%2 == 0 {
			end = "all new, then as before"
			w.run(0, "apply", plan, "--approve")
			w.allNew()
		}
		w.back()
		if d := cmp.Diff(start, settle(w.snapshot())); d != "" {
			t.Fatalf("S-51: killed %s write %d (%s): not as before (-before +after):\n%s", p.When, p.N, what, d)
		}
		if lost := w.tally(); lost > 0 {
			t.Errorf("%d requests lost", lost)
		}
		t.Logf("killed %s write %d (%s): %s, %s", p.When, p.N, what, end, time.Since(begun).Round(time.Second))
		note(t, file, p, what, end)
	}
}

// back takes the run back, if there is one: a kill may have come before the first write.
func (w *world) back() {
	w.t.Helper()
	if strings.Contains(w.run(0, "history"), "1-29-1") {
		if state := w.run(0, "status"); strings.Contains(state, "no upgrade is under way") && !strings.Contains(state, "1.29.1") {
			return
		}
		w.run(5, "rollback")
	}
}

func (w *world) allNew() {
	w.t.Helper()
	s := w.snapshot()
	if len(s.ControlPlanes) != 1 || s.ControlPlanes[0].Version != "1.29.1" {
		w.t.Errorf("control planes: %+v", s.ControlPlanes)
	}
	for _, p := range s.Pods {
		if !p.Leaving && p.Version != "1.29.1" {
			w.t.Errorf("pod %s/%s is on %s %s", p.Namespace, p.Name, p.Revision, p.Version)
		}
	}
}

// point is one kill.
type point struct {
	N    int    `json:"n"`
	When moment `json:"when"`
}

// everyPoint is every kill there may be, a moment after the other.
func everyPoint() []point {
	var out []point
	for _, m := range []moment{sent, before, answered} {
		for n := range 1000 {
			out = append(out, point{n + 1, m})
		}
	}
	return out
}

// drawn are two of them; SERIN_SEED draws the same ones again.
func drawn(t *testing.T) []point {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SERIN_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SERIN_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	return []point{{1 + r.IntN(60), sent}, {1 + r.IntN(60), before}}
}

// swept reads which kills are done already.
func swept(t *testing.T, file string) map[point]bool {
	t.Helper()
	out := map[point]bool{}
	if file == "" {
		return out
	}
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var p point
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		out[p] = true
	}
	return out
}

func note(t *testing.T, file string, p point, what, end string) {
	t.Helper()
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, `{"n":%d,"when":%q,"write":%q,"end":%q}`+"\n", p.N, p.When, what, end); err != nil {
		t.Fatal(err)
	}
}
