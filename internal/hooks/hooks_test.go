package hooks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/hooks"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

var about = drive.Occasion{Run: "r1", Step: 5, Kind: "restart-workloads", Target: "shop/cart", From: "default", To: "1-29-1", Version: "1.29.1", Phase: run.Proving}

// clock is one that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ask asks until there is an answer, as a run that polls does.
func ask(t *testing.T, h *hooks.Hooks, kind gate.HookKind) gate.HookAnswer {
	t.Helper()
	for {
		a := h.Ask(t.Context(), kind, about)
		if len(a) != 1 {
			t.Fatalf("%d answers", len(a))
		}
		if a[0].Missing != gate.StillAsked {
			return a[0]
		}
	}
}

func of(t *testing.T, h plan.Hook) *hooks.Hooks {
	t.Helper()
	out := hooks.New([]plan.Hook{h}, true, (&clock{}).Now)
	t.Cleanup(out.Close)
	return out
}

func TestURL_2xxIsYes(t *testing.T) {
	var got map[string]any
	status := http.StatusAccepted
	mux := http.NewServeMux()
	mux.HandleFunc("POST /gate", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v, %s", err, r.Header.Get("Content-Type"))
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		fmt.Fprint(w, "as\n  told")
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	for _, tt := range []struct {
		status int
		yes    bool
		said   string
	}{
		{http.StatusOK, true, "200 OK: as told"},
		{http.StatusAccepted, true, "202 Accepted: as told"},
		{http.StatusForbidden, false, "403 Forbidden: as told"},
		{http.StatusFound, false, "302 Found: as told"},
		{http.StatusInternalServerError, false, "500 Internal Server Error: as told"},
	} {
		status = tt.status
		a := ask(t, of(t, plan.Hook{Name: "mine", Type: gate.WaveHook, URL: s.URL + "/gate"}), gate.WaveHook)
		if d := cmp.Diff(gate.HookAnswer{Name: "mine", Kind: gate.WaveHook, Yes: tt.yes, Said: tt.said}, a); d != "" {
			t.Error(d)
		}
	}
	want := map[string]any{
		"hook": "mine", "type": "wave", "run": "r1", "step": 5.0, "kind": "restart-workloads", "target": "shop/cart",
		"from": "default", "to": "1-29-1", "version": "1.29.1", "phase": "Proving",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// No answer is no yes, and says nothing of the URL, in which there may be a token.
func TestURL_noAnswerIsMissing(t *testing.T) {
	never := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-never:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(never) })
	gone := httptest.NewServer(nil)
	gone.Close()
	for want, url := range map[string]string{"no answer in 50ms": slow.URL, "connection refused": gone.URL} {
		a := ask(t, of(t, plan.Hook{Name: "mine", Type: gate.WaveHook, URL: url + "/?token=s3cret", Timeout: plan.Duration(50 * time.Millisecond)}), gate.WaveHook)
		if a.Yes || !strings.Contains(a.Missing, want) || strings.Contains(fmt.Sprint(a), "s3cret") {
			t.Errorf("%+v, want %s", a, want)
		}
	}
}

func TestCommand_exitCode0IsYes(t *testing.T) {
	for script, want := range map[string]gate.HookAnswer{
		`grep -q '"target":"shop/cart"' && echo " fine"`: {Yes: true, Said: "exit code 0: fine"},
		`echo no; echo s3cret >&2; exit 3`:               {Said: "exit code 3: no"},
		`kill -9 $$`:                                     {Missing: "it was ended by a signal: signal: killed"},
	} {
		want.Name, want.Kind = "mine", gate.WaveHook
		a := ask(t, of(t, plan.Hook{Name: "mine", Type: gate.WaveHook, Command: []string{"sh", "-c", script}}), gate.WaveHook)
		if d := cmp.Diff(want, a); d != "" {
			t.Errorf("%s: %s", script, d)
		}
	}
	a := ask(t, of(t, plan.Hook{Name: "mine", Type: gate.WaveHook, Command: []string{"/there/is/none", "$(touch x)"}}), gate.WaveHook)
	if a.Yes || !strings.Contains(a.Missing, "no such file") {
		t.Errorf("%+v", a)
	}
}

// What others may have written into the cluster is not run.
func TestCommand_isRunOnlyWhereThatIsAllowed(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	h := hooks.New([]plan.Hook{
		{Name: "mine", Type: gate.WaveHook, Command: []string{"touch", mark}},
		{Name: "told", Type: gate.EventHook, Command: []string{"touch", mark}},
	}, false, (&clock{}).Now)
	a := ask(t, h, gate.WaveHook)
	h.Tell(about)
	h.Close()
	if _, err := os.Stat(mark); a.Yes || !strings.Contains(a.Missing, "--hook-commands") || err == nil {
		t.Errorf("%+v, %v", a, err)
	}
}

// An answer stands for seconds, for its own step only.
func TestAsk_anAnswerStandsForItsStep(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
	}))
	t.Cleanup(s.Close)
	c := &clock{}
	h := hooks.New([]plan.Hook{{Name: "mine", Type: gate.WaveHook, URL: s.URL}}, false, c.Now)
	t.Cleanup(h.Close)
	see := func(want int) {
		t.Helper()
		ask(t, h, gate.WaveHook)
		mu.Lock()
		defer mu.Unlock()
		if asked != want {
			t.Errorf("asked %d times, want %d", asked, want)
		}
	}
	see(1)
	c.pass(4 * time.Second)
	see(1)
	c.pass(time.Second)
	see(2)
	about := about
	about.Step++
	if h.Ask(t.Context(), gate.WaveHook, about); asked != 3 {
		t.Errorf("the answer of one step passed for that of another")
	}
}

func TestTell_tellsInOrderAndWaitsForNobody(t *testing.T) {
	var mu sync.Mutex
	var got []string
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-hold
		var o drive.Occasion
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, o.Message)
		w.WriteHeader(http.StatusInternalServerError) // nobody minds
	}))
	t.Cleanup(s.Close)
	h := hooks.New([]plan.Hook{{Name: "mine", Type: gate.EventHook, URL: s.URL}}, false, (&clock{}).Now)
	var want []string
	for i := range 20 {
		o := about
		o.Message = strconv.Itoa(i)
		want = append(want, o.Message)
		h.Tell(o)
	}
	close(hold)
	h.Close()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
