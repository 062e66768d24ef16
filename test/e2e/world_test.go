package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/test/e2e/load"
	"github.com/serin-mesh/serin/test/e2e/sample"
)

// What the tests are told about the cluster. None of it says how it was made.
const (
	kubeconfigEnv = "SERIN_E2E_KUBECONFIG" // of a cluster without Istio
	chartsEnv     = "SERIN_E2E_CHARTS"     // Helm repository or directory; Istio's own when empty
	valuesEnv     = "SERIN_E2E_VALUES"     // file of istiod's values that the cluster's images need
	outEnv        = "SERIN_E2E_OUT"        // directory that the reports are written to
)

var (
	fromFlag     = flag.String("from", "1.27.0", "release of Istio to begin with")
	toFlag       = flag.String("to", "1.29.1", "release of Istio to go to")
	rateFlag     = flag.Int("rate", 100, "requests a second, over all kinds")
	requestsFlag = flag.Int("requests", 0, "requests that an upgrade must have seen: the load goes on until they are sent")
	replicasFlag = flag.Int("replicas", 1, "pods of each service")
	soakFlag     = flag.Duration("soak", 5*time.Second, "how long the gates of a restart stay open")
)

// world is a cluster with Istio and the sample on it.
type world struct {
	t          *testing.T
	kubeconfig string
	charts     string
	serin      string
	cfg        *rest.Config
	kube       kubernetes.Interface
	loader     sample.Loader
	steps      []step // what was done when, since the load began
	mu         sync.Mutex
	typed      int // commands
	onStep     func(name string)
	blind      bool              // plans have no requests of serin's own
	fresh      bool              // every request is on a connection of its own
	rates      map[load.Kind]int // other than the usual ones
	front      string            // host:port of another gateway that the load goes through; serin asks through the sample's own
}

// step is a moment that failures are laid to.
type step struct {
	at   time.Time
	name string
}

// newWorld puts a mesh on the cluster and waits until all kinds of requests are
// answered. It is removed at the end.
func newWorld(t *testing.T, app sample.Options) *world {
	t.Helper()
	w := reached(t)
	var err error
	if w.loader, err = sample.NewLoader(w.cfg); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := sample.Remove(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.describe()
		}
		if err := sample.Remove(context.Background(), w.cfg); err != nil {
			t.Error(err)
		}
	})
	app.Replicas = *replicasFlag
	if err := sample.Install(t.Context(), w.cfg, sample.Mesh{Charts: w.charts, Version: *fromFlag, Values: w.values(), App: app}); err != nil {
		t.Fatal(err)
	}
	if err := w.loader.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("Istio %s and the sample serve after %s", *fromFlag, time.Since(began).Round(time.Second))
	return w
}

// values are those that the cluster's images need.
func (w *world) values() map[string]any {
	w.t.Helper()
	v, err := sample.ReadValues(os.Getenv(valuesEnv))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// describe says what the cluster looks like when a test has failed.
func (w *world) describe() {
	cmd := exec.CommandContext(context.Background(), "kubectl", "--kubeconfig", w.kubeconfig, "get", "pods", "-A", "-o", "wide")
	if out, err := cmd.CombinedOutput(); err == nil {
		w.t.Logf("pods at the end:\n%s", out)
	}
}

// rates share out a number of requests a second.
func rates(total int) map[load.Kind]int {
	share := func(percent int) int { return max(1, total*percent/100) }
	return map[load.Kind]int{
		load.HTTP1New: share(40), load.HTTP1Kept: share(30), load.HTTP2: share(10), load.DirectNew: share(10), load.DirectKept: share(10),
		load.GRPCStream: 2, load.TCP: 2, load.WebSocket: 2,
	}
}

// begin begins the load.
func (w *world) begin() {
	w.t.Helper()
	cfg, err := w.loader.Addresses(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Rates = rates(*rateFlag)
	if w.fresh {
		cfg.Rates = map[load.Kind]int{load.HTTP1New: max(1, *rateFlag*80/100), load.DirectNew: max(1, *rateFlag*20/100)}
	}
	if w.rates != nil {
		cfg.Rates = w.rates
	}
	cfg.Gateway = cmp.Or(w.front, cfg.Gateway)
	w.mu.Lock()
	w.steps, w.typed = []step{{time.Now(), "before"}}, 0
	w.mu.Unlock()
	if err := w.loader.Start(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
	<-time.After(lead)
}

// lead is how long a load runs before anything is done.
const lead = 3 * time.Second

// step says that something begins.
func (w *world) step(name string) {
	w.mu.Lock()
	w.steps = append(w.steps, step{time.Now(), name})
	tell := w.onStep
	w.mu.Unlock()
	if tell != nil {
		tell(name)
	}
	w.t.Logf("%s %s", time.Now().UTC().Format(time.TimeOnly), name)
}

// end lets the load go on until enough is sent, ends it, and returns what became of it.
func (w *world) end(name string) load.Report {
	w.t.Helper()
	w.step("after")
	<-time.After(3 * time.Second)
	for *requestsFlag > 0 {
		r, err := w.loader.Report(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if r.Total().Sent >= *requestsFlag {
			break
		}
		<-time.After(time.Second)
	}
	r, err := w.loader.Stop(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	text := w.table(name, r)
	w.t.Log("\n" + text)
	w.keep(name, r, text)
	w.account(r)
	return r
}

// account checks the books: each request has one end, and what was answered here
// was answered there.
func (w *world) account(r load.Report) {
	w.t.Helper()
	for _, c := range r.Counts {
		if c.Sent != c.OK+c.Failed+c.Cut {
			w.t.Errorf("%s: of %d sent, %d were answered, %d failed and %d were cut: the books are wrong", c.Kind, c.Sent, c.OK, c.Failed, c.Cut)
		}
		if c.Sent == 0 {
			w.t.Errorf("%s: nothing was sent", c.Kind)
		}
		if served := r.Served["productpage-v1"][c.Kind]; !c.Kind.Held() && served < c.OK {
			w.t.Errorf("%s: %d were answered here, and productpage says it answered %d", c.Kind, c.OK, served)
		}
	}
}

// lost wants no request to have failed.
func (w *world) lost(r load.Report) {
	w.t.Helper()
	for _, c := range r.Counts {
		if c.Failed > 0 {
			w.t.Errorf("%s: %d of %d lost", c.Kind, c.Failed, c.Sent)
		}
	}
}

// table shows a report: by kind, then by step.
func (w *world) table(name string, r load.Report) string {
	var b strings.Builder
	t := r.Total()
	fmt.Fprintf(&b, "%s: requests sent %d  failed %d  in %s\n\n", name, t.Sent, t.Failed, r.To.Sub(r.From).Round(time.Second))
	fmt.Fprintf(&b, "  %-12s %7s %7s %7s %5s %7s %9s %9s  %s\n", "kind", "sent", "ok", "failed", "cut", "resent", "p50 ms", "p99 ms", "answered by productpage")
	for _, c := range r.Counts {
		served := "-"
		if !c.Kind.Held() {
			served = strconv.Itoa(r.Served["productpage-v1"][c.Kind])
		}
		fmt.Fprintf(&b, "  %-12s %7d %7d %7d %5d %7d %9.1f %9.1f  %s\n", c.Kind, c.Sent, c.OK, c.Failed, c.Cut, c.Resent, c.P50, c.P99, served)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&b, "\n  %-8s %-52s %7s %5s\n", "at", "step", "failed", "cut")
	for i, s := range w.steps {
		failed, cut, cause := within(r, s.at, w.steps[i+1:])
		fmt.Fprintf(&b, "  %-8s %-52s %7d %5d  %s\n", s.at.UTC().Format(time.TimeOnly), s.name, failed, cut, cause)
	}
	return b.String()
}

// within counts what was lost from a moment to the next step's.
func within(r load.Report, from time.Time, next []step) (int, int, string) {
	to := r.To.Add(time.Minute)
	if len(next) > 0 {
		to = next[0].at
	}
	in := func(f load.Failure) bool { return !f.At.Before(from) && f.At.Before(to) }
	failed, cut, cause := 0, 0, ""
	for _, c := range r.Counts {
		for _, f := range c.Failures {
			if in(f) {
				if failed++; cause == "" {
					cause = fmt.Sprintf("%s: %.150s", c.Kind, strings.TrimSpace(f.Cause))
				}
			}
		}
		for _, f := range c.Cuts {
			if in(f) {
				cut++
			}
		}
	}
	return failed, cut, cause
}

// keep writes a report where the caller wants it.
func (w *world) keep(name string, r load.Report, text string) {
	dir := os.Getenv(outEnv)
	if dir == "" {
		return
	}
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		w.t.Error(err)
	}
	base := filepath.Join(dir, strings.NewReplacer(" ", "-", "/", "-").Replace(w.t.Name()+" "+name))
	for ext, data := range map[string][]byte{".json": body, ".txt": []byte(text)} {
		if err := os.WriteFile(base+ext, data, 0o600); err != nil {
			w.t.Error(err)
		}
	}
}

// run runs serin and wants an exit code. Each line that begins a step is noted.
func (w *world) run(code int, args ...string) string {
	w.t.Helper()
	cmd := w.command(args...)
	out, err := w.watch(cmd)
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("serin %s: exit code %d (%v), want %d\n%s", strings.Join(args, " "), got, err, code, out)
	}
	return out
}

// goOn applies a plan to its end and does what a person does whose apply has ended
// early: what it says. A run that holds is told to go on.
func (w *world) goOn(file string) {
	w.t.Helper()
	args := []string{"apply", file, "--approve"}
	for range 5 {
		cmd := w.command(args...)
		out, err := w.watch(cmd)
		code := cmd.ProcessState.ExitCode()
		w.step(fmt.Sprintf("serin %s: exit code %d", args[0], code))
		switch code {
		case 0:
			return
		case 4:
			args = []string{"resume"}
		default:
			w.t.Logf("serin %s: %v\n%s", args[0], err, out)
			<-time.After(5 * time.Second)
		}
	}
	w.t.Fatal("the run did not come to its end")
}

// command is a serin that has not been started.
func (w *world) command(args ...string) *exec.Cmd {
	w.mu.Lock()
	w.typed++
	w.mu.Unlock()
	cmd := exec.CommandContext(w.t.Context(), w.serin, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig)
	return cmd
}

// watch runs a serin, follows what it says, and returns all of it.
func (w *world) watch(cmd *exec.Cmd) (string, error) {
	w.t.Helper()
	r, pipe := io.Pipe()
	cmd.Stdout, cmd.Stderr = pipe, pipe
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(r); s.Scan(); {
			all.WriteString(s.Text() + "\n")
			if cmd.Args[1] == "apply" || cmd.Args[1] == "rollback" || cmd.Args[1] == "resume" {
				w.t.Log(s.Text())
			}
			w.note(s.Text())
		}
	}()
	err := cmd.Run()
	_ = pipe.Close()
	<-done
	return all.String(), err
}

// note takes "08:09:10  3/10 install-revision istiod-1-29-1  applying" as a step that begins.
func (w *world) note(line string) {
	fields := strings.Fields(line)
	last := len(fields) - 1
	if last < 3 || !strings.Contains(fields[1], "/") || (fields[last] != "applying" && fields[last] != "undoing") {
		return
	}
	w.step(strings.Join(fields[1:], " "))
}

// plan writes the usual plan file and returns its path.
func (w *world) plan(more ...string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "plan.yaml")
	args := []string{"plan", "--to", *toFlag, "--soak", soakFlag.String(), "--min-served", "5", "--patience", "3m", "-o", file}
	if w.charts != "" {
		args = append(args, "--charts", w.charts)
	}
	if url := w.reachable(); url != "" && !w.blind {
		args = append(args, "--probe-url", url, "--probe-host", sample.Host)
	} else {
		args = append(args, "--ignore-check", "SRN1060") // nothing sends requests: the load does
	}
	w.t.Log("\n" + w.run(0, append(args, more...)...))
	return file
}

// reachable is the sample's gateway's address if it answers here, as it does on a node and
// seldom elsewhere. Without it serin judges by what the proxies served.
func (w *world) reachable() string {
	cfg, err := w.loader.Addresses(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(w.t.Context(), "tcp", cfg.Gateway)
	if err != nil {
		return ""
	}
	_ = c.Close()
	return "http://" + cfg.Gateway + sample.Path
}

// snapshot is what serin sees.
func (w *world) snapshot() mesh.Snapshot {
	w.t.Helper()
	cmd := w.command("snapshot")
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("serin snapshot: %v\n%s", err, talk.String())
	}
	var s mesh.Snapshot
	if err := yaml.Unmarshal(out, &s); err != nil {
		w.t.Fatalf("reading the snapshot: %v", err)
	}
	return s
}

// on wants every pod of the mesh on one release.
func (w *world) on(version string) {
	w.t.Helper()
	s := w.snapshot()
	seen := 0
	for _, p := range s.Pods {
		if p.Leaving {
			continue
		}
		seen++
		if p.Version != version {
			w.t.Errorf("pod %s/%s is on %s %s, want %s", p.Namespace, p.Name, p.Revision, p.Version, version)
		}
	}
	if want := len(sample.Apps())**replicasFlag + 1; seen < want {
		w.t.Errorf("serin sees %d pods with a proxy, want %d", seen, want)
	}
}
