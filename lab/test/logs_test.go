package test_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

const logTelemetry = "serin-logs-" + bookinfo.Gateway

func (w *world) telemetries(namespace string) dynamic.ResourceInterface {
	return dynamic.NewForConfigOrDie(w.cfg).Resource(schema.GroupVersionResource{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"}).Namespace(namespace)
}

// spoken is what a process writes, read while it does.
type spoken struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logging is a gateway logs that runs.
type logging struct {
	*exec.Cmd

	out, talk spoken
	ended     chan error
}

func (w *world) logging(args ...string) *logging {
	w.t.Helper()
	l := &logging{Cmd: w.command(append([]string{"gateway", "logs", bookinfo.Gateway}, args...)...), ended: make(chan error, 1)}
	l.Stdout, l.Stderr = &l.out, &l.talk
	if err := l.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { l.ended <- l.Wait() }()
	return l
}

// served are the lines of a gateway's pods of a revision: which it is, the pod, and
// the request that it served.
func served(rev, pod string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^` + rev + ` +` + pod + `-[0-9a-z-]+ +\[2.*\] "GET /productpage HTTP/1.1" 200 `)
}

// both waits until the lines of the old gateway and of the new one have shown.
func (l *logging) both(t *testing.T) {
	t.Helper()
	shown := false
	defer func() {
		if !shown {
			t.Logf("%s\n%s", l.out.String(), l.talk.String())
		}
	}()
	eventually(t, "lines of both gateways", func() bool {
		out := l.out.String()
		shown = served("default", "istio-ingress").MatchString(out) && served("1-29-1", "istio-ingress-1-29-1").MatchString(out)
		return shown
	})
}

// gone waits for the command's end, and wants nothing of it to be left.
func (w *world) gone(l *logging, code int) {
	w.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(time.Minute):
		w.t.Fatalf("it does not end:\n%s", l.talk.String())
	}
	if got := l.ProcessState.ExitCode(); got != code {
		w.t.Errorf("exit code %d, want %d:\n%s", got, code, l.talk.String())
	}
	if _, err := w.telemetries(bookinfo.Gateway).Get(w.t.Context(), logTelemetry, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		w.t.Errorf("its Telemetry is there: %v\n%s", err, l.talk.String())
	}
}

// half brings a second gateway at the new revision beside the first, and lets one of
// its pods in.
func (w *world) half() {
	w.t.Helper()
	traffic := []string{"--soak", "1s", "--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host}
	w.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--charts", w.lab.ChartRepo(), "--from-revision", "default", "-y")
	w.run(0, append([]string{"gateway", "add", bookinfo.Gateway, "--revision", "1-29-1", "--charts", w.lab.ChartRepo()}, traffic...)...)
	w.run(0, append([]string{"gateway", "shift", secondGateway, "--to", "1"}, traffic...)...)
}

// turnOff has the root namespace's Telemetry turn access logs off, in spite of what
// the mesh's configuration says.
func (w *world) turnOff() {
	w.t.Helper()
	_, err := w.telemetries("istio-system").Create(w.t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": map[string]any{"name": "quiet"},
		"spec": map[string]any{"accessLogging": []any{map[string]any{"providers": []any{map[string]any{"name": "envoy"}}, "disabled": true}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t.(*testing.T), "the gateways to write nothing any more", func() bool {
		out, err := w.command("gateway", "logs", bookinfo.Gateway, "--since", "1s").Output()
		return err == nil && len(out) == 0
	})
}

// While a second gateway is half in, the access logs show which one serves. Where a
// Telemetry of the root namespace turns them off it is said; --telemetry has them
// written while it runs, and however it ends nothing is left; what a kill leaves is
// shown and mended; and a Telemetry of others is never touched. S-34.
func TestS34_gatewayLogsShowWhoServes(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	l := w.logging("-f", "--tail", "0")
	w.half() // the second one's pod comes while somebody looks
	l.both(t)
	if err := l.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	w.gone(l, 0)

	w.turnOff()
	code, out := w.ran("gateway", "logs", bookinfo.Gateway, "--since", "1s")
	if code != 0 || !strings.Contains(out, "SRN1423 access logs are missing on revision default, 1-29-1: Telemetry istio-system/quiet turns them off") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	looks, writes := w.role("--read-only"), w.role()
	w.as("viewer", looks)
	if code, out := w.ran("gateway", "logs", bookinfo.Gateway, "--telemetry"); code != 3 || !strings.Contains(out, "missing on telemetries.telemetry.istio.io: create, delete, patch") {
		t.Errorf("who may only look: exit code %d\n%s", code, out)
	}
	w.as("upgrader", writes)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		l := w.logging("--telemetry", "--tail", "0")
		l.both(t)
		made, err := w.telemetries(bookinfo.Gateway).Get(t.Context(), logTelemetry, metav1.GetOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, l.talk.String())
		}
		svc, err := w.kube.CoreV1().Services(bookinfo.Gateway).Get(t.Context(), bookinfo.Gateway, metav1.GetOptions{})
		if got, _, _ := unstructured.NestedStringMap(made.Object, "spec", "selector", "matchLabels"); err != nil || len(got) == 0 || !mapsEqual(got, svc.Spec.Selector) {
			t.Errorf("it selects %v, the Service %v: %v", got, svc.Spec.Selector, err)
		}
		if s == syscall.SIGINT {
			if code, out := w.ran("gateway", "logs", bookinfo.Gateway, "--telemetry"); code != 3 || !strings.Contains(out, "SRN1420") {
				t.Errorf("a second one beside it: exit code %d\n%s", code, out)
			}
			if out := w.run(0, "status"); !strings.Contains(out, "it goes when its command ends") {
				t.Errorf("status does not show it:\n%s", out)
			}
		}
		if err := l.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		w.gone(l, 0)
	}
	w.closedPipe(t)
	w.strays(t)

	made, err := w.telemetries(bookinfo.Gateway).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": map[string]any{"name": "theirs"},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"istio": "ingress"}}, "tracing": []any{map[string]any{"disableSpanReporting": true}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	code, out = w.ran("gateway", "logs", bookinfo.Gateway, "--telemetry")
	if code != 3 || !strings.Contains(out, "SRN1420 Telemetry istio-ingress/theirs: it selects these pods already") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if now, err := w.telemetries(bookinfo.Gateway).Get(t.Context(), "theirs", metav1.GetOptions{}); err != nil || now.GetResourceVersion() != made.GetResourceVersion() {
		t.Errorf("theirs is not as it was: %v", err)
	}
	if list, err := w.telemetries("").List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Errorf("%d Telemetries at the end, want the two that are not serin's: %v", len(list.Items), err)
	}
	w.lost()
}

func mapsEqual(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// closedPipe ends who reads the lines, as head does.
func (w *world) closedPipe(t *testing.T) {
	t.Helper()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := &logging{Cmd: w.command("gateway", "logs", bookinfo.Gateway, "--telemetry", "--tail", "0"), ended: make(chan error, 1)}
	l.Stdout, l.Stderr = pipe, &l.talk
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	_ = pipe.Close()
	go func() { l.ended <- l.Wait() }()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil && err != io.EOF || !strings.Contains(line, "productpage") {
		t.Errorf("%q %v", line, err)
	}
	_ = r.Close()
	w.gone(l, 0)
}

// strays kills the command, twice: what is left is shown, and removed by a repair, and
// by the next one.
func (w *world) strays(t *testing.T) {
	t.Helper()
	kill := func() {
		l := w.logging("--telemetry", "--tail", "0")
		l.both(t)
		if err := l.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-l.ended
		if out := w.run(0, "repair"); !strings.Contains(out, "Nothing to do") { // it may run still, for all that anybody knows
			t.Errorf("repaired at once:\n%s", out)
		}
		past := time.Now().Add(-time.Second).UTC().Format(time.RFC3339) // two minutes later
		_, err := w.telemetries(bookinfo.Gateway).Patch(t.Context(), logTelemetry, types.MergePatchType, []byte(`{"metadata":{"annotations":{"serin.dev/until":"`+past+`"}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if out := w.run(0, "status"); !strings.Contains(out, "its command was killed: serin repair") {
			t.Errorf("status does not show it:\n%s", out)
		}
	}
	kill()
	w.run(0, "repair")
	if _, err := w.telemetries(bookinfo.Gateway).Get(t.Context(), logTelemetry, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it was not repaired: %v", err)
	}
	kill()
	l := w.logging("--telemetry", "--tail", "0")
	l.both(t)
	if !strings.Contains(l.talk.String(), "which was left by ") {
		t.Errorf("it does not say what it has removed:\n%s", l.talk.String())
	}
	if err := l.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	w.gone(l, 0)
}

// A drained gateway's release is renewed at the new revision and brought back, under
// load, while a second one serves: its Service keeps its identity, addresses and node
// ports, and nothing is lost. S-31, S-32.
func TestGatewayRenew(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.scaleIngress("2")
	w.busy()
	before := w.service(t.Context())
	b := w.watchBehind(bookinfo.Gateway, bookinfo.Gateway)
	w.half()
	traffic := []string{"--soak", "1s", "--probe-url", "http://" + w.address + bookinfo.Path, "--probe-host", bookinfo.Host}
	gateway := func(code int, args ...string) string {
		return w.run(code, append(append([]string{"gateway"}, args...), traffic...)...)
	}
	gateway(3, "renew", bookinfo.Gateway, "--revision", "1-29-1", "--charts", w.lab.ChartRepo()) // it serves
	gateway(0, "shift", secondGateway, "--to", "100%")
	gateway(0, "drain", bookinfo.Gateway)
	w.moveDefault()
	gateway(0, "renew", bookinfo.Gateway, "--revision", "1-29-1", "--charts", w.lab.ChartRepo())
	if now := w.service(t.Context()); now != before {
		t.Errorf("renewed, its Service is %s, was %s", now, before)
	}
	found := false
	for _, r := range w.snapshot().Releases {
		if r.Name == bookinfo.Gateway {
			found = true
			if r.Version != "1.29.1" || r.Status != "deployed" {
				t.Errorf("helm list would say %s %s-%s %s", r.Name, r.Chart, r.Version, r.Status)
			}
		}
	}
	if !found {
		t.Error("its release is not there")
	}
	gateway(0, "restore", bookinfo.Gateway, "--revision", "1-29-1")
	gateway(0, "remove", secondGateway, "-y")
	eventually(t, "the pods of "+secondGateway+" to have ended", func() bool { return len(w.counted(secondGateway)) == 0 })
	for _, g := range w.snapshot().Gateways() {
		if g.Ref.Name != bookinfo.Gateway || g.Ready != 2 || len(g.Revisions) != 1 || g.Revisions[0] != "1-29-1" {
			t.Errorf("at the end: %+v", g)
		}
	}
	if now := w.service(t.Context()); now != before {
		t.Errorf("at the end its Service is %s, was %s", now, before)
	}
	if least, in := b.least(secondGateway); !in || least < 2 {
		t.Errorf("ready behind the Service at every instant: at least %d, want 2 (the new ones were in: %v)", least, in)
	}
	w.kinds()
	w.lost()
}

// moveDefault has what follows the default, the gateway's next pods among it, go to
// the new revision.
func (w *world) moveDefault() {
	w.t.Helper()
	w.run(0, "tag", "set", "default", "--revision", "1-29-1", "-y")
}

// service is what clients know the ingress gateway by.
func (w *world) service(ctx context.Context) string {
	w.t.Helper()
	s, err := w.kube.CoreV1().Services(bookinfo.Gateway).Get(ctx, bookinfo.Gateway, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var ports []string
	for _, p := range s.Spec.Ports {
		ports = append(ports, p.Name+":"+p.TargetPort.String()+":"+strings.TrimSpace(p.String()))
	}
	return string(s.UID) + " " + strings.Join(s.Spec.ClusterIPs, ",") + " " + string(s.Spec.Type) + " " + strings.Join(ports, ";")
}
