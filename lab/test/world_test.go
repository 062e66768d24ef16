package test_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/load"
)

// world is a lab with Istio and bookinfo on it, under load.
type world struct {
	t        testing.TB
	lab      *lab.Lab
	serin    string
	cfg      *rest.Config
	kube     kubernetes.Interface
	address  string
	load     *load.Counter
	stop     context.CancelFunc
	sent     int // of the load's requests, counted by tally
	failed   int
	planting int // requests that were lost before the test began

	kubeconfig string // of serin; the lab's when it is empty
}

// newWorld starts a lab with Istio of the given version, by Helm as the default
// revision, and a load of 50 requests a second on new connections.
func newWorld(tb testing.TB, version string, also ...string) *world {
	tb.Helper()
	return newWorldOf(tb, bookinfo.Options{Drain: 5 * time.Second}, version, also...)
}

// newWorldOf is newWorld with a sample of another shape.
func newWorldOf(tb testing.TB, app bookinfo.Options, version string, also ...string) *world {
	tb.Helper()
	return newWorldBy(tb, nil, app, version, also...)
}

// bareWorld is a lab that can run these releases of Istio, with none on it yet.
func bareWorld(tb testing.TB, versions ...string) *world {
	tb.Helper()
	return bareWorldIn(tb, lab.Options{Istio: versions})
}

// bareWorldIn is bareWorld in a lab of another shape.
func bareWorldIn(tb testing.TB, o lab.Options) *world {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs the lab: not in -short")
	}
	o.Dir, o.Log = tb.TempDir(), tb.Output()
	l, err := lab.Start(tb.Context(), o)
	if err != nil {
		tb.Fatalf("starting the lab: %v", err)
	}
	tb.Cleanup(l.Close)
	cfg, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		tb.Fatal(err)
	}
	return &world{t: tb, lab: l, serin: binary(tb), cfg: cfg, kube: kubernetes.NewForConfigOrDie(cfg)}
}

// newWorldBy is newWorldOf with a control plane that another tool than Helm installs.
func newWorldBy(tb testing.TB, plane func(context.Context, *lab.Lab) error, app bookinfo.Options, version string, also ...string) *world {
	tb.Helper()
	return newWorldIn(tb, lab.Options{Istio: append([]string{version}, also...)}, plane, app)
}

// newWorldIn is newWorldBy in a lab of another shape, with the first of its releases.
func newWorldIn(tb testing.TB, o lab.Options, plane func(context.Context, *lab.Lab) error, app bookinfo.Options) *world {
	tb.Helper()
	w := bareWorldIn(tb, o)
	l, cfg, ctx := w.lab, w.cfg, tb.Context()
	setup, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	m := bookinfo.Mesh{Charts: l.ChartRepo(), Version: o.Istio[0], App: app}
	if plane != nil {
		m.Plane = func(ctx context.Context) error { return plane(ctx, l) }
	}
	if err := bookinfo.Install(setup, cfg, m); err != nil {
		tb.Fatalf("installing the mesh: %v", err)
	}
	var err error
	if w.address, err = bookinfo.Address(setup, cfg); err != nil {
		tb.Fatal(err)
	}
	if err := bookinfo.WaitServing(setup, w.address); err != nil {
		tb.Fatal(err)
	}
	loadCtx, stop := context.WithCancel(context.Background())
	w.stop = stop
	tb.Cleanup(stop)
	w.load = load.Run(loadCtx, load.Config{URL: "http://" + w.address + bookinfo.Path, Host: bookinfo.Host, Rate: 50, Fresh: true})
	return w
}

// binary is the serin that make test built, or one built here.
func binary(tb testing.TB) string {
	tb.Helper()
	if b := os.Getenv("SERIN_BIN"); b != "" {
		return b
	}
	b := filepath.Join(tb.TempDir(), "serin")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", b, "./cmd/serin")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building serin: %v\n%s", err, out)
	}
	return b
}

// command is a serin that has not been started.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.serin, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cmp.Or(w.kubeconfig, w.lab.Kubeconfig()))
	return cmd
}

// run runs serin and wants an exit code.
func (w *world) run(code int, args ...string) string {
	w.t.Helper()
	var out, talk bytes.Buffer
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("serin %s: exit code %d (%v), want %d\n%s%s", strings.Join(args, " "), got, err, code, out.String(), talk.String())
	}
	w.t.Logf("serin %s\n%s%s", strings.Join(args, " "), out.String(), talk.String())
	return out.String()
}

// ran runs serin and returns its exit code and all that it said.
func (w *world) ran(args ...string) (int, string) {
	w.t.Helper()
	cmd := w.command(args...)
	out, err := cmd.CombinedOutput()
	w.t.Logf("serin %s: %v\n%s", strings.Join(args, " "), err, out)
	return cmd.ProcessState.ExitCode(), string(out)
}

// plan writes the usual plan file and returns its path.
func (w *world) plan(to string, more ...string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "plan.yaml")
	w.run(0, append([]string{
		"plan", "--to", to, "--charts", w.lab.ChartRepo(), "--soak", "2s", "--min-served", "5",
		"--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host, "-o", file,
	}, more...)...)
	return file
}

// lost ends the load and wants no request to have failed.
func (w *world) lost() {
	w.t.Helper()
	w.stop()
	w.load.Wait()
	s := w.load.Snapshot()
	w.t.Logf("requests: sent %d (%v) failed %d p50 %s p99 %s", s.Sent, s.Kinds, s.Failed, s.P50, s.P99)
	if s.Sent < 100 {
		w.t.Errorf("only %d requests were sent: the test proves nothing", s.Sent)
	}
	for i, f := range s.Failures[min(w.planting, len(s.Failures)):] {
		if i == 5 {
			break
		}
		w.t.Errorf("request lost at %s: %s", f.At.Format(time.TimeOnly), f.Cause)
	}
	if lost := s.Failed - w.planting; lost > 0 {
		w.t.Fatalf("%d of %d requests lost", lost, s.Sent)
	}
}

// planted says that what a mesh was given for a test has reached its proxies: a route
// that comes before its cluster costs requests, and no upgrade has lost them.
func (w *world) planted() {
	w.t.Helper()
	s := w.load.Snapshot()
	w.planting, w.sent, w.failed = s.Failed, s.Sent, s.Failed
	w.t.Logf("what was planted has cost %d requests", w.planting)
}

// snapshot is what serin sees.
func (w *world) snapshot() mesh.Snapshot {
	w.t.Helper()
	var s mesh.Snapshot
	if err := yaml.Unmarshal([]byte(w.run(0, "snapshot")), &s); err != nil {
		w.t.Fatalf("reading the snapshot: %v", err)
	}
	return s
}

// istioctl runs the istioctl of a release against the lab.
func (w *world) istioctl(version string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.lab.Istioctl(version), append(args, "--kubeconfig", w.lab.Kubeconfig())...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("istioctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// settle makes a snapshot comparable: what S-51 lets differ is taken out.
func settle(s mesh.Snapshot) string {
	s = s.Clone()
	s.CRDs = nil
	s.Pods = nil
	for i := range s.Injectors {
		for j := range s.Injectors[i].Webhooks {
			s.Injectors[i].Webhooks[j].CABundle = true
		}
	}
	for i := range s.Validators {
		s.Validators[i].FailurePolicy = ""
	}
	for i := range s.Workloads {
		s.Workloads[i].Ready, s.Workloads[i].Settled = 0, true
		if s.Workloads[i].Budget != nil {
			s.Workloads[i].Budget.DisruptionsAllowed = 0
		}
	}
	for i := range s.Releases {
		if s.Releases[i].Chart == "base" { // CRDs are additive: the chart that brought them stays
			s.Releases[i].Version = ""
		}
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (w *world) namespaceLabels(name string) map[string]string {
	w.t.Helper()
	ns, err := w.kube.CoreV1().Namespaces().Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return ns.Labels
}

// nightly skips a test that takes minutes unless SERIN_SWEEP asks for the long ones.
func nightly(tb testing.TB) {
	tb.Helper()
	if os.Getenv("SERIN_SWEEP") == "" {
		tb.Skip("it takes minutes: SERIN_SWEEP=1 runs it")
	}
}
