package test_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// moment is when, around one of its writes, serin is killed.
type moment string

const (
	before   moment = "before sending"
	sent     moment = "after sending"      // the API server has done it, serin never hears of it
	answered moment = "after the response" // serin may or may not have read it
)

func moments() []moment { return []moment{sent, before, answered} }

// point is one kill: a write, named by the run's step and phase, and a moment.
type point struct {
	Write string `json:"write"`
	When  moment `json:"when"`
}

// killer stands between serin and the API server. It names serin's writes, and
// kills it around those that choose wants.
type killer struct {
	choose func(write string, since int) moment // since: writes since the last kill; "" lets it pass

	mu     sync.Mutex
	phase  string         // "3/10 Applying", as the run was last stored
	times  map[string]int // a life's writes of one name
	since  int
	total  int
	struck []point
	agents map[string]bool
	victim func()
}

// writes says whether a request changes something: not a dry run, nor a question.
// The Lease's renewals come by the clock; its first writes are not part of the run.
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return changes(r.URL)
	}
	return false
}

func changes(u *url.URL) bool {
	return u.Query().Get("dryRun") == "" && !strings.Contains(u.Path, "authorization.k8s.io") &&
		!strings.Contains(u.Path, "/leases") && !strings.HasSuffix(u.Path, "/portforward")
}

var (
	runID     = regexp.MustCompile(`serin-run-[0-9]{8}-[0-9]{6}(-[0-9]+$)?`)
	helmCount = regexp.MustCompile(`\.v[0-9]+$`)
	stored    = regexp.MustCompile(`(?s)serin\.dev/(phase|step)(?:":"|\x12.)([A-Z][a-z]*(?:ing|one|eld)|[0-9]+/[0-9]+)`) // in JSON or protobuf
)

// strikes names a write and says when to kill serin around it, "" if it may pass.
func (k *killer) strikes(r *http.Request) (moment, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	k.mu.Lock()
	defer k.mu.Unlock()
	path := helmCount.ReplaceAllString(runID.ReplaceAllString(r.URL.Path, "serin-run"), "")
	if strings.Contains(path, "/configmaps") {
		if m := stored.FindAllSubmatch(body, -1); len(m) == 2 { // phase, then step: they are sorted
			k.phase = string(m[1][2]) + " " + string(m[0][2])
		}
	}
	write := k.phase + ": " + r.Method + " " + path
	k.times[write]++
	k.total++
	k.since++
	k.agents[r.UserAgent()] = true
	if n := k.times[write]; n > 1 {
		write += " #" + strconv.Itoa(n)
	}
	m := k.choose(write, k.since)
	if m != "" {
		k.struck = append(k.struck, point{write, m})
		k.since = 0
	}
	return m, nil
}

// over returns a handler in front of the API server.
func (k *killer) over(tb testing.TB, cfg *rest.Config) http.Handler {
	tb.Helper()
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"} // a port-forward takes its connection over
	transport, err := rest.TransportFor(own)
	if err != nil {
		tb.Fatal(err)
	}
	to, err := url.Parse(cfg.Host)
	if err != nil {
		tb.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m moment
		if writes(r) {
			if m, err = k.strikes(r); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		switch m {
		case "":
			proxy.ServeHTTP(w, r)
			return
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
		panic(http.ErrAbortHandler) // it must not take this for an answer in its last instant
	})
}

// kubeconfig leads to a server that wants no credentials.
func kubeconfig(tb testing.TB, server string) string {
	tb.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["lab"] = &clientcmdapi.Cluster{Server: server}
	c.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab"}
	c.CurrentContext = "lab"
	file := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		tb.Fatal(err)
	}
	return file
}

// lives runs a command of serin again and again, as it is killed, until it ends
// by itself. It returns the exit code and what the last life said.
func (k *killer) lives(w *world, args ...string) (int, string) {
	w.t.Helper()
	server := httptest.NewServer(k.over(w.t, w.cfg))
	defer server.Close()
	config := kubeconfig(w.t, server.URL)
	for {
		var out bytes.Buffer
		cmd := exec.CommandContext(w.t.Context(), w.serin, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+config)
		cmd.Stdout, cmd.Stderr = &out, &out
		gone := make(chan struct{})
		k.mu.Lock()
		deaths := len(k.struck)
		k.times, k.victim = map[string]int{}, func() { _ = cmd.Process.Kill(); <-gone }
		k.mu.Unlock()
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		_ = cmd.Wait()
		close(gone)
		k.mu.Lock()
		died := len(k.struck) > deaths
		k.mu.Unlock()
		if !died {
			return cmd.ProcessState.ExitCode(), out.String()
		}
		w.t.Logf("killed %s %s", k.struck[deaths].When, k.struck[deaths].Write)
	}
}

// quick writes a plan that keeps the sweep short: no soak to speak of, no probe.
func (w *world) quick() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "plan.yaml")
	w.run(0, "plan", "--to", "1.29.1", "--charts", w.lab.ChartRepo(), "--soak", "1ms", "--patience", "2m", "--ignore-check", "SRN1060", "-o", file)
	return file
}

// sweep is what is known of the kills, and which come next.
type sweep struct {
	file string
	gap  int    // writes between two kills of one round
	when moment // of this round's kills
	done map[point]bool
	rand *rand.Rand // nil: all there are, in order

	round []point // killed in this round: a life that comes to the same write again passes
}

// choose kills around a write at the first moment that is not done yet.
func (s *sweep) choose(write string, since int) moment {
	if since < s.gap {
		return ""
	}
	if s.rand != nil {
		if s.rand.IntN(s.gap) > 0 {
			return ""
		}
		return moments()[s.rand.IntN(len(moments()))]
	}
	p := point{write, s.when}
	if s.done[p] || slices.Contains(s.round, p) {
		return ""
	}
	s.round = append(s.round, p)
	return s.when
}

// Killed around every write of an upgrade and of its way back, those inside Helm's
// install included, and started again each time, it ends all new, and then exactly
// as before. S-49, S-51.
//
// A few writes are drawn in each run (SERIN_SEED draws the same ones again).
// SERIN_SWEEP=FILE goes through all of them at each of the three moments, some in
// each round, SERIN_SWEEP_GAP writes apart; notes them in the file when the round
// has ended well, and goes on where it ended.
func TestSweep_killedAroundAnyWrite(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, bookinfo.Options{}, "1.27.0", "1.29.1")
	w.stop()
	start := settle(w.snapshot())
	s := newSweep(t)
	if s.rand != nil {
		w.round(s, start)
		return
	}
	for _, s.when = range moments() {
		for w.round(s, start) > 0 {
			w.olderBase()
		}
	}
}

// round is an upgrade and its way back, with kills; it returns how many there were.
func (w *world) round(s *sweep, start string) int {
	w.t.Helper()
	begun, offset := time.Now(), w.audited()
	s.round = nil
	k := &killer{choose: s.choose, since: s.gap, agents: map[string]bool{}}
	w.thereAndBack(k, start)
	w.t.Logf("round %s: %d writes, killed %d times, %s", s.when, k.total, len(k.struck), time.Since(begun).Round(time.Second))
	s.note(w.t, k.struck)
	if n := w.auditedSince(offset, k.agents); len(k.struck) == 0 && n != k.total {
		w.t.Errorf("the audit log has %d writes of serin, %d were seen on their way", n, k.total)
	}
	return len(k.struck)
}

// thereAndBack wants the mesh all new, and then exactly as before.
func (w *world) thereAndBack(k *killer, start string) {
	w.t.Helper()
	plan := w.quick()
	if code, said := k.lives(w, "apply", plan, "--approve"); code != 0 {
		w.t.Fatalf("apply: exit code %d\n%s", code, said)
	}
	w.allNew()
	deaths := len(k.struck)
	code, said := k.lives(w, "rollback")
	// killed after the run had been stored as rolled back, it finds nothing to do
	if code != 5 && (len(k.struck) == deaths || !strings.Contains(said, "no open run")) {
		w.t.Fatalf("rollback: exit code %d\n%s", code, said)
	}
	if d := cmp.Diff(start, settle(w.snapshot())); d != "" {
		w.t.Fatalf("S-51: not as before (-before +after):\n%s", d)
	}
}

// olderBase gives the base release its old chart again: a rollback leaves it, and
// the next round shall upgrade it once more.
func (w *world) olderBase() {
	w.t.Helper()
	base := mesh.Release{Namespace: "istio-system", Name: "istio-base", Chart: "base", Version: "1.27.0", Values: map[string]any{"defaultRevision": "default"}}
	if err := istio.NewHelm(w.cfg, istio.NewCharts(w.lab.ChartRepo())).Upgrade(w.t.Context(), base); err != nil {
		w.t.Fatal(err)
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
	for _, r := range s.Releases {
		if r.Status != "deployed" {
			w.t.Errorf("release %s is %s", r.Name, r.Status)
		}
	}
}

// audited is how long the audit log is.
func (w *world) audited() int64 {
	w.t.Helper()
	info, err := os.Stat(w.lab.AuditLog())
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Size()
}

// auditedSince counts the writes of some programs in the audit log.
func (w *world) auditedSince(offset int64, agents map[string]bool) int {
	w.t.Helper()
	f, err := os.Open(w.lab.AuditLog())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		w.t.Fatal(err)
	}
	n := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Verb, RequestURI, UserAgent string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.t.Fatalf("reading the audit log: %v", err)
		}
		u, err := url.Parse(e.RequestURI)
		if err != nil {
			w.t.Fatalf("reading the audit log: %v", err)
		}
		switch e.Verb {
		case "create", "update", "patch", "delete":
			if agents[e.UserAgent] && changes(u) {
				n++
			}
		}
	}
	return n
}

// newSweep reads which kills are done already.
func newSweep(tb testing.TB) *sweep {
	tb.Helper()
	s := &sweep{file: os.Getenv("SERIN_SWEEP"), gap: 12, done: map[point]bool{}}
	if n, err := strconv.Atoi(os.Getenv("SERIN_SWEEP_GAP")); err == nil {
		s.gap = n
	}
	if s.file == "" {
		s.gap, s.rand = 15, seeded(tb)
		return s
	}
	b, err := os.ReadFile(s.file)
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var p point
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			tb.Fatalf("reading %s: %v", s.file, err)
		}
		s.done[p] = true
	}
	return s
}

// note keeps the kills of a round that ended well.
func (s *sweep) note(tb testing.TB, kills []point) {
	tb.Helper()
	if s.file == "" {
		return
	}
	f, err := os.OpenFile(s.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range kills {
		s.done[p] = true
		line, err := json.Marshal(p)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := fmt.Fprintf(f, "%s\n", line); err != nil {
			tb.Fatal(err)
		}
	}
}
