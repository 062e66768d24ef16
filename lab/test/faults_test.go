package test_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/lab"
)

// fault is something that goes wrong in the middle of an upgrade.
type fault struct {
	name   string
	args   []string // of plan, besides the usual
	at     string   // part of the line of apply's output at which it happens
	cause  func(w *world)
	code   int    // of apply
	says   string // the cause that the run is held for, or taken back
	mend   func(w *world)
	then   string // resume or rollback, which must end well
	costs  bool   // the fault itself loses requests: an app that fails, say
	nights bool   // only in the long run (SERIN_SWEEP=1)
}

const reviews = "default/reviews-v1"

func faults() []fault {
	undo := []string{"--on-shut", "undo"}
	return []fault{
		{
			name: "the canary's app fails, the policy is undo", args: undo,
			at:    "restart-workloads " + reviews + "  applying",
			cause: func(w *world) { w.fault("fail-app", reviews) },
			code:  5, says: "gate requests is shut", costs: true,
			mend: func(w *world) { w.fault("mend-app", reviews) },
		},
		{
			name:  "the canary's rollout stalls, and goes on",
			args:  []string{"--patience", "8s", "--restarts", "rollout"},
			at:    "move-namespace default  done",
			cause: func(w *world) { w.fault("stall", reviews) },
			code:  4, says: "reviews-v1",
			mend: func(w *world) { w.fault("unstall", reviews) }, then: "resume",
		},
		{
			name:  "somebody writes the labels back",
			at:    "restart-workloads " + reviews + "  applying",
			cause: func(w *world) { w.label("default", `{"istio-injection":"enabled","istio.io/rev":null}`) },
			code:  4, says: "namespace default",
			then: "rollback",
		},
		{
			name: "the new istiods stop pushing", nights: true,
			args:  []string{"--patience", "20s"},
			at:    "install-revision istiod-1-29-1  done",
			cause: func(w *world) { w.istiods("1-29-1", "stop-pushing") },
			code:  4, says: "reviews-v1",
			mend: func(w *world) { w.istiods("1-29-1", "push-again") }, then: "resume",
		},
		{
			// Away while pods are leaving, it would cost requests, whoever asked for the
			// restart: what they answered to is gone, and nobody can tell their callers.
			name: "the API server is away in the middle of Helm's install", nights: true,
			at:    "install-revision istiod-1-29-1  applying",
			cause: func(w *world) { w.fault("apiserver-gone", "10s") },
			code:  0,
		},
		{
			name: "the API server accepts and does not answer", nights: true,
			at:    "install-revision istiod-1-29-1  applying",
			cause: func(w *world) { w.fault("apiserver-pause", "15s") },
			code:  0,
		},
		{
			name: "the new istiods are killed", nights: true,
			at:    "restart-workloads " + reviews + "  applying",
			cause: func(w *world) { w.istiods("1-29-1", "kill-istiod") },
			code:  0,
		},
		{
			name: "the old istiods are killed", nights: true,
			at:    "restart-workloads default/*  applying",
			cause: func(w *world) { w.istiods("default", "kill-istiod") },
			code:  0,
		},
		{
			name: "the new injector is gone", nights: true,
			args:  []string{"--patience", "20s"},
			at:    "install-revision istiod-1-29-1  done",
			cause: func(w *world) { w.istiods("1-29-1", "webhook-gone") },
			code:  4, says: "dry-run",
			mend: func(w *world) { w.istiods("1-29-1", "webhook-back") }, then: "resume",
		},
		{
			name: "a moved proxy rejects what the new istiod sends", nights: true,
			args:  []string{"--patience", "20s"},
			at:    "restart-workloads " + reviews + "  proving",
			cause: func(w *world) { w.rejecting("reviews", "v1") },
			code:  4, says: "rejected CDS",
			mend: func(w *world) { w.replace("reviews", "v1") }, then: "resume",
		},
		{
			name: "labels are written back, and put right", nights: true,
			at:    "restart-workloads " + reviews + "  applying",
			cause: func(w *world) { w.label("default", `{"istio-injection":"enabled","istio.io/rev":null}`) },
			code:  4, says: "namespace default",
			mend: func(w *world) { w.label("default", `{"istio-injection":null,"istio.io/rev":"1-29-1"}`) }, then: "resume",
		},
	}
}

// moved are the pods of a workload that are on the new revision and not leaving.
func (w *world) moved(app, version string) []corev1.Pod {
	w.t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app + ",version=" + version})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || p.Annotations["istio.io/rev"] != "1-29-1"
	})
}

// rejecting makes the proxies of moved pods reject clusters, and makes istiod send some.
func (w *world) rejecting(app, version string) {
	w.t.Helper()
	pods := w.moved(app, version)
	if len(pods) == 0 {
		w.t.Errorf("%s-%s has no pod on the new revision", app, version)
	}
	for _, p := range pods {
		w.fault("reject", p.Namespace+"/"+p.Name, "type.googleapis.com/envoy.config.cluster.v3.Cluster")
	}
	nudge := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "nudge"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	if _, err := w.kube.CoreV1().Services("default").Create(w.t.Context(), nudge, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = w.kube.CoreV1().Services("default").Delete(context.Background(), nudge.Name, metav1.DeleteOptions{})
	})
}

// replace deletes the moved pods of a workload, whose Deployment makes new ones.
func (w *world) replace(app, version string) {
	w.t.Helper()
	for _, p := range w.moved(app, version) {
		if err := w.kube.CoreV1().Pods(p.Namespace).Delete(w.t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Each fault happens in the middle of an upgrade under load: the run holds or
// takes everything back, says why, and goes on once it is mended. No request is
// lost but those that the fault itself costs. S-10, S-46, S-47, S-48.
func TestFaults(t *testing.T) {
	w := newWorld(t, "1.27.0", "1.29.1")
	before := settle(w.snapshot())
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			if f.nights && os.Getenv("SERIN_SWEEP") == "" {
				t.Skip("SERIN_SWEEP=1 runs it")
			}
			outer := w.t
			w.t = t
			defer func() { w.t = outer }()
			defer func() {
				if t.Failed() { // the next one shall begin as this one did
					_ = w.command("rollback").Run()
				}
			}()
			f.happens(w)
			if lost := w.tally(); lost > 0 && !f.costs {
				t.Errorf("%d requests lost", lost)
			}
			if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
				t.Fatalf("S-51: not as before (-before +after):\n%s", d)
			}
		})
	}
}

// happens carries the upgrade through the fault to its end, and back to the start.
func (f fault) happens(w *world) {
	w.t.Helper()
	file := w.plan("1.29.1", f.args...)
	code, said := w.watched(f.at, func() { f.cause(w) }, "apply", file, "--approve")
	if code != f.code || !strings.Contains(said, f.says) {
		w.t.Fatalf("exit code %d, want %d and %q in\n%s", code, f.code, f.says, said)
	}
	if f.mend != nil {
		f.mend(w)
	}
	switch {
	case f.code == 5: // it is taken back already
		return
	case f.then == "resume":
		w.run(0, "resume")
	}
	w.run(5, "rollback")
}

// watched runs serin, does something once a line of its output holds a text, and
// returns the exit code and all that was said.
func (w *world) watched(at string, do func(), args ...string) (int, string) {
	w.t.Helper()
	cmd := w.command(args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	var said bytes.Buffer
	var talk bytes.Buffer
	cmd.Stderr = &talk
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	done := false
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		if !done && strings.Contains(lines.Text(), at) {
			done = true
			do()
		}
	}
	_ = cmd.Wait()
	w.t.Logf("serin %s\n%s%s", strings.Join(args, " "), said.String(), talk.String())
	if !done {
		w.t.Errorf("it never said %q", at)
	}
	return cmd.ProcessState.ExitCode(), said.String() + talk.String()
}

func (w *world) fault(name string, args ...string) {
	w.t.Helper()
	if err := w.lab.Fault(w.t.Context(), lab.Fault{Name: name, Args: args}); err != nil {
		w.t.Fatal(err)
	}
}

// istiods does something to each istiod of a revision.
func (w *world) istiods(revision, fault string, args ...string) {
	w.t.Helper()
	pods, err := w.kube.CoreV1().Pods("istio-system").List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=istiod,istio.io/rev=" + revision})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			w.fault(fault, append([]string{p.Namespace + "/" + p.Name}, args...)...)
		}
	}
}

func (w *world) label(namespace, labels string) {
	w.t.Helper()
	patch := []byte(`{"metadata":{"labels":` + labels + `}}`)
	if _, err := w.kube.CoreV1().Namespaces().Patch(w.t.Context(), namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// tally counts what was lost since the last one.
func (w *world) tally() int {
	w.t.Helper()
	s := w.load.Snapshot()
	sent, failed := s.Sent-w.sent, s.Failed-w.failed
	w.sent, w.failed = s.Sent, s.Failed
	w.t.Logf("requests: sent %d failed %d", sent, failed)
	for _, f := range s.Failures[max(0, len(s.Failures)-min(failed, 3)):] {
		w.t.Logf("lost at %s: %s", f.At.Format(time.TimeOnly), f.Cause)
	}
	return failed
}
