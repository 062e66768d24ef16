package test_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/rehearse"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const theCopy = "default-rehearsal"

// Copies of bookinfo are proven on the new revision while clients send 50 requests
// a second to the originals: none is lost, and none comes to a copy. A missing
// ConfigMap and pods that no one may create are found. Whatever happens, and after
// a kill -9 with a word, nothing is left of it.
func TestRehearse(t *testing.T) {
	nightly(t)
	t.Parallel()
	w := newWorld(t, "1.27.0", "1.29.1")
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", "1-29-1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	w.plant("rehearse-mesh.yaml")
	w.until("the pods of books", func() string {
		d, err := w.kube.AppsV1().Deployments("default").Get(t.Context(), "books", metav1.GetOptions{})
		if err != nil || d.Status.ReadyReplicas != 2 {
			return fmt.Sprint(err, d.Status)
		}
		return ""
	})
	before := settle(w.snapshot())
	strays, end := w.watchEndpoints("default")

	w.as("rehearser", w.role("--rehearse"))
	shown := w.run(0, "rehearse", "default", "-r", "1-29-1", "--dry-run")
	for _, want := range []string{"ClusterIP instead of NodePort", "StatefulSet", "clients come in by it", "ConfigMap shelf names Services of default (key WHERE)"} {
		if !strings.Contains(shown, want) {
			t.Errorf("it does not say %q:\n%s", want, shown)
		}
	}
	if made := w.copyIs(); made != "" {
		t.Errorf("a dry run has made something: %s", made)
	}
	proof := w.run(0, "rehearse", "default", "-r", "1-29-1", "-y", "--keep", "--path", "/productpage", "-o", "json")
	if strings.Contains(proof, "do-not-print-me") || strings.Contains(proof, "ZG8tbm90LXByaW50LW1l") {
		t.Error("a Secret's value is printed")
	}
	var result rehearse.Result
	if err := json.Unmarshal([]byte(proof), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Answers) != 11 { // five ports that speak HTTP, at two paths, and one that does not
		t.Errorf("%d questions: %+v", len(result.Answers), result.Answers)
	}
	w.kubeconfig = ""
	w.aloneAreTheCopies(before)
	if got := strays(); len(got) > 0 {
		t.Errorf("endpoints of the original namespace that are none of its pods: %v", got)
	}
	w.run(0, "rehearse", "--remove", "default")
	w.asBefore(before)

	w.t.Log("fault: a ConfigMap is not there")
	if err := w.kube.CoreV1().ConfigMaps("default").Delete(t.Context(), "shelf", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, said := w.ran("rehearse", "default", "books", "details-v1", "-r", "1-29-1", "-y"); code != 3 || !strings.Contains(said, "ConfigMap shelf is not there") || !strings.Contains(said, "1 of 1 pod ready") {
		t.Errorf("exit code %d", code)
	}
	w.asBefore(before)

	w.t.Log("fault: no pod with the new proxy may be made")
	w.plant("rehearse-faults.yaml")
	w.until("a policy that is in force", func() string {
		if code, said := w.ran("rehearse", "default", "details-v1", "-r", "1-29-1", "-y"); code != 3 || !strings.Contains(said, "this proxy is not on the list") {
			return fmt.Sprintf("exit code %d: %s", code, said)
		}
		return ""
	})
	w.asBefore(before)

	w.killRehearsal(before)
	if got := strays(); len(got) > 0 {
		t.Errorf("endpoints of the original namespace that are none of its pods: %v", got)
	}
	end()
	w.lost()
}

// copyIs says what is there of the copy, nothing if it is gone.
func (w *world) copyIs() string {
	w.t.Helper()
	ns, err := w.kube.CoreV1().Namespaces().Get(w.t.Context(), theCopy, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("namespace %s, %s", theCopy, ns.Status.Phase)
}

func (w *world) asBefore(before string) {
	w.t.Helper()
	if left := w.copyIs(); left != "" {
		w.t.Errorf("left behind: %s", left)
	}
	if d := gocmp.Diff(before, settle(w.snapshot())); d != "" {
		w.t.Errorf("the mesh is not as before (-before +now):\n%s", d)
	}
}

// aloneAreTheCopies wants no client's request to come to a copy, and no proxy but
// the copies' own to know them.
func (w *world) aloneAreTheCopies(before string) {
	w.t.Helper()
	s := w.snapshot()
	knows := map[bool]int{}
	for _, p := range s.Pods {
		clusters, err := w.command("proxy-config", "clusters", p.Name+"."+p.Namespace, "-o", "json").Output()
		if err != nil {
			w.t.Fatal(err)
		}
		told := strings.Contains(string(clusters), "."+theCopy+".svc")
		knows[told]++
		if told != (p.Namespace == theCopy) {
			w.t.Errorf("%s/%s is told of the copies: %v", p.Namespace, p.Name, told)
		}
	}
	if knows[true] != 7 || knows[false] != 9 {
		w.t.Errorf("%d proxies are told of the copies and %d are not, want 7 and 9", knows[true], knows[false])
	}
	was, sent := w.servedByCopies(), w.load.Snapshot().Sent
	w.until("more requests of clients", func() string {
		if n := w.load.Snapshot().Sent - sent; n < 200 {
			_ = clock.Wait(w.t.Context(), 100*1e6)
			return fmt.Sprintf("only %d", n)
		}
		return ""
	})
	is := w.servedByCopies()
	if len(was) != 7 || was["details"] == 0 {
		w.t.Errorf("the counters say nothing: %v", was)
	}
	if d := gocmp.Diff(was, is); d != "" {
		w.t.Errorf("clients' requests came to copies (-was +is):\n%s", d)
	}
	if settle(s) == before {
		w.t.Error("the copies are not in the snapshot: nothing was compared")
	}
}

// servedByCopies are the requests that each copy's proxy has let in.
func (w *world) servedByCopies() map[string]int {
	w.t.Helper()
	g := evidence.New(evidence.Config{REST: w.cfg, Client: w.kube, Now: clock.Now})
	defer g.Close()
	pods, err := w.kube.CoreV1().Pods(theCopy).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, p := range pods.Items {
		page, err := g.Get(w.t.Context(), theCopy, p.Name, 15020, "/stats/prometheus")
		if err != nil {
			w.t.Fatal(err)
		}
		out[p.Labels["app"]+p.Labels["version"]] = 0
		for line := range bytes.Lines(page) {
			var n int
			if i := bytes.LastIndexByte(line, ' '); bytes.HasPrefix(line, []byte("istio_requests_total{")) && bytes.Contains(line, []byte(`reporter="destination"`)) && i > 0 {
				_, _ = fmt.Sscan(string(line[i:]), &n)
			}
			out[p.Labels["app"]+p.Labels["version"]] += n
			if p.Labels["app"] == "details" {
				out["details"] += n
			}
		}
	}
	delete(out, "detailsv1")
	return out
}

// watchEndpoints notes every address that the namespace's Services ever lead to
// and that belongs to a pod of another namespace.
func (w *world) watchEndpoints(namespace string) (strays func() []string, end func()) { //nolint:nonamedreturns // two functions
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	seen, err := w.kube.DiscoveryV1().EndpointSlices(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	found := map[string]bool{}
	go func() {
		for e := range seen.ResultChan() {
			s, ok := e.Object.(*discoveryv1.EndpointSlice)
			if !ok {
				continue
			}
			mu.Lock()
			for _, p := range s.Endpoints {
				if p.TargetRef != nil && p.TargetRef.Namespace != namespace {
					found[s.Name+" "+strings.Join(p.Addresses, ",")] = true
				}
			}
			mu.Unlock()
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(found))
	}, stop
}

// killRehearsal kills serin once the copy is there: precheck says so, and one word
// takes it away.
func (w *world) killRehearsal(before string) {
	w.t.Helper()
	cmd := w.command("rehearse", "default", "details-v1", "-r", "1-29-1", "-y")
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.until("the copy", func() string {
		if w.copyIs() == "" {
			return "it is not there"
		}
		return ""
	})
	if err := cmd.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, said := w.ran("precheck"); !strings.Contains(said, "SRN1325") {
		w.t.Errorf("precheck does not know that a copy was left behind")
	}
	w.run(0, "rehearse", "--remove", "default")
	w.asBefore(before)
}
