package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// killEnv is a command that kills a part of the cluster's node, named by its last
// argument, with SIGKILL. Where there is none those parts are left alone.
const killEnv = "SERIN_E2E_KILL"

// S-55: whoever is killed in the middle of a wave, the upgrade ends all new, and
// no proxy is ever on another revision than its pod's annotation. Services that
// drain lose nothing where serin is killed. Without an istiod the proxies of its
// revision do not learn that other pods have taken over: when it is away for longer
// than the services drain, that costs requests, whoever restarts them.
func TestKill_inTheMiddleOfAWave(t *testing.T) {
	for _, victim := range []string{"serin", "old istiod", "new istiod", "apiserver", "kubelet"} {
		t.Run(victim, func(t *testing.T) {
			part := victim == "apiserver" || victim == "kubelet"
			if part && os.Getenv(killEnv) == "" {
				t.Skipf("the cluster's own parts cannot be killed here: %s is not set", killEnv)
			}
			w := newWorld(t, sample.Options{Drain: 5 * time.Second})
			file := w.plan()
			w.begin()
			stop := w.guard()
			w.killed(file, victim)
			w.goOn(file)
			mixed := stop()
			r := w.end("killed " + victim)
			w.on(*toFlag)
			for _, m := range mixed {
				t.Errorf("S-55: %s", m)
			}
			if victim == "serin" {
				w.lost(r) // what the others cost is not serin's to save: the report says it
			}
		})
	}
}

// killed applies a plan and kills once, as soon as the wave has begun.
func (w *world) killed(file, victim string) {
	w.t.Helper()
	cmd := w.command("apply", file, "--approve")
	wave, once := make(chan struct{}), sync.Once{}
	w.mu.Lock()
	w.onStep = func(name string) {
		if strings.Contains(name, "restart-workloads "+sample.Namespace+"/*") {
			once.Do(func() { close(wave) })
		}
	}
	w.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		_, err := w.watch(cmd)
		ended <- err
	}()
	select {
	case <-wave:
	case err := <-ended:
		w.t.Fatalf("apply ended before the wave: %v", err)
	}
	<-time.After(2 * time.Second) // pods are being replaced now
	w.step("kill -9 " + victim)
	switch victim {
	case "serin":
		if err := cmd.Process.Kill(); err != nil {
			w.t.Fatal(err)
		}
	case "old istiod":
		w.killIstiods("default")
	case "new istiod":
		w.killIstiods(strings.ReplaceAll(*toFlag, ".", "-"))
	default:
		w.kill(victim)
	}
	err := <-ended
	w.step(fmt.Sprintf("apply ended: %v", err))
	if err == nil && victim == "serin" {
		w.t.Error("serin was not killed: it came to its end first")
	}
}

// kill kills a part of the node, or the processes of a pod, with SIGKILL.
func (w *world) kill(what ...string) {
	w.t.Helper()
	words := append(strings.Fields(os.Getenv(killEnv)), what...)
	if out, err := exec.CommandContext(w.t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
}

// killIstiods kills all istiods of a revision: their processes where that can be
// done, elsewhere their pods with no time to say goodbye.
func (w *world) killIstiods(revision string) {
	w.t.Helper()
	of := metav1.ListOptions{LabelSelector: "app=istiod,istio.io/rev=" + revision}
	if os.Getenv(killEnv) == "" {
		now := int64(0)
		if err := w.kube.CoreV1().Pods(sample.System).DeleteCollection(w.t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &now}, of); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	pods, err := w.kube.CoreV1().Pods(sample.System).List(w.t.Context(), of)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		w.t.Fatalf("there is no istiod of revision %s to kill", revision)
	}
	for _, p := range pods.Items {
		w.kill("--pod", string(p.UID), "pilot-discovery")
	}
}

// guard asks again and again which istiod each proxy is connected to, until it is
// stopped, and returns those on another revision than their pod's.
func (w *world) guard() func() []string {
	done := make(chan struct{})
	var once sync.WaitGroup
	var mixed []string
	asked := 0
	once.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
			bad, ok := w.mixed()
			if mixed = append(mixed, bad...); ok {
				asked++
			}
		}
	})
	return func() []string {
		close(done)
		once.Wait()
		w.t.Logf("which istiod each proxy is connected to was asked %d times", asked)
		if asked < 5 {
			mixed = append(mixed, "it was hardly ever answered which istiod the proxies are connected to")
		}
		return mixed
	}
}

// mixed are the proxies that are connected to an istiod of another revision than
// their pod's annotation; false when nobody could be asked.
func (w *world) mixed() ([]string, bool) {
	cmd := exec.CommandContext(w.t.Context(), w.serin, "proxy-status", "-o", "json")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig)
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	var s struct {
		Proxies []struct{ Name, Istiod, Connected, Actual string }
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return nil, false
	}
	var bad []string
	seen := 0
	for _, p := range s.Proxies {
		if p.Connected == "" || p.Actual == "" {
			continue
		}
		if seen++; p.Connected != p.Actual {
			bad = append(bad, p.Name+" of revision "+p.Actual+" is connected to "+p.Istiod+" of "+p.Connected)
		}
	}
	return bad, seen > 0
}
