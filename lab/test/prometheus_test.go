package test_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// prometheus is a real one that scrapes the lab's istiods and proxies.
type prometheus struct {
	url string
	end func()
}

// scrape starts a Prometheus that finds its targets as a user's does, by the pods
// there are, and reaches them through the lab's network.
func (w *world) scrape() prometheus {
	w.t.Helper()
	program, err := w.lab.Prometheus(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	dial := w.lab.Fabric().Namespace("istio-system").DialContext
	way := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:      func(*httputil.ProxyRequest) {}, // the request names its target, as those to a proxy do
		Transport:    &http.Transport{DialContext: dial, DisableKeepAlives: true},
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	})
	w.t.Cleanup(way.Close)
	targets := httptest.NewServer(http.HandlerFunc(w.targets))
	w.t.Cleanup(targets.Close)
	dir := w.t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 2s}\nscrape_configs:\n- {job_name: mesh, metrics_path: /metrics, proxy_url: %q, http_sd_configs: [{url: %q, refresh_interval: 2s}]}\n", way.URL, targets.URL)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	address := free(w.t)
	ctx, end := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Stdout, cmd.Stderr = w.t.Output(), w.t.Output()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop := func() {
		end()
		_ = cmd.Wait()
	}
	w.t.Cleanup(stop)
	return prometheus{url: "http://" + address, end: stop}
}

// free is an address at which nobody listens.
func free(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// targets are the istiods and the pods with a proxy.
func (w *world) targets(rw http.ResponseWriter, r *http.Request) {
	pods, err := w.kube.CoreV1().Pods("").List(r.Context(), metav1.ListOptions{})
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	out := []map[string]any{}
	for _, p := range pods.Items {
		port := "15020"
		if p.Labels["app"] == "istiod" {
			port = "15014"
		} else if p.Annotations["istio.io/rev"] == "" {
			continue
		}
		if p.Status.PodIP != "" && p.Status.Phase == corev1.PodRunning {
			out = append(out, map[string]any{"targets": []string{net.JoinHostPort(p.Status.PodIP, port)}, "labels": map[string]string{"namespace": p.Namespace, "pod": p.Name}})
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(rw).Encode(out); err != nil {
		w.t.Log(err)
	}
}

// knows says what is missing for the Prometheus to know so many proxies.
func (p prometheus) knows(proxies int) string {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + `count(istio_build%7Bcomponent%3D%22proxy%22%7D)%20%2B%200%20*%20count(istio_requests_total)`) //nolint:noctx // a test's own
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	var a struct {
		Data struct {
			Result []struct {
				Value []any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return err.Error()
	}
	if len(a.Data.Result) != 1 || fmt.Sprint(a.Data.Result[0].Value[1]) != strconv.Itoa(proxies) {
		return fmt.Sprintf("it knows %v", a.Data.Result)
	}
	return ""
}

// asking is the plan of a request that names the Prometheus. Its own probe sends little
// and does not mind how long an answer takes, so that what the pods count speaks first.
func (w *world) asking(p prometheus, more string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	request, file := filepath.Join(dir, "request.yaml"), filepath.Join(dir, "plan.yaml")
	text := fmt.Sprintf("to: 1.29.1\nsoak: 5s\npatience: 90s\ncharts: %s\nminServed: 5\nprobe: {url: 'http://%s%s', host: %s, rate: 4, slower: 1000}\nprometheus:\n  url: %s\n%s",
		w.lab.ChartRepo(), w.address, bookinfo.Path, bookinfo.Host, p.url, more)
	if err := os.WriteFile(request, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.run(0, "plan", "-f", request, "-o", file)
	return file
}

// An upgrade is carried through and back with a real Prometheus asked of each step;
// what only the new revision's pods do wrong is known to it, and shuts the gate; one
// that goes away opens nothing. S-47.
func TestPrometheus_isAGate(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	p := w.scrape()
	w.until("a Prometheus that knows the mesh", func() string { return p.knows(7) })
	own := "  queries:\n  - {name: load, query: 'sum(rate(istio_requests_total{reporter=\"destination\"}[$range]))', atLeast: 1}\n"

	code, said := w.ran("apply", w.asking(p, own), "--approve")
	if code != 0 || !strings.Contains(said, "metrics open (istiod-push-errors: is 0") {
		t.Fatalf("exit code %d", code)
	}
	w.run(5, "rollback")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}

	at := "restart-workloads " + reviews + "  applying"
	for _, f := range []struct{ name, fault, how, says string }{
		{"two in a hundred fail", "fail-some", "0.02", "traffic-to-moved: "},
		{"each takes longer", "slow-app", "150ms", "slower: p50"},
	} {
		began := time.Now()
		code, said = w.watched("move-namespace default  applying", func() { w.fault(f.fault, reviews, f.how) }, "apply", w.asking(p, own), "--approve")
		if code != 4 || !strings.Contains(said, "gate metrics is shut") || !strings.Contains(said, f.says) {
			t.Errorf("%s: exit code %d", f.name, code)
		}
		t.Logf("%s: held after %s, %d of the load's requests lost", f.name, time.Since(began).Round(time.Second), w.tally())
		w.fault("mend-app", reviews)
		w.run(5, "rollback")
	}

	code, said = w.watched(at, p.end, "apply", w.asking(p, own), "--approve")
	if code != 4 || !strings.Contains(said, "metrics unknown (Prometheus does not answer") {
		t.Errorf("a Prometheus that goes away: exit code %d", code)
	}
	w.run(5, "rollback")
}

// Without anything but serin's own requests: an answer that comes and goes, from the
// new revision's pods alone, shuts the gate, and the way back mends it. S-47.
func TestProbes_areAGate(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	code, said := w.watched("move-namespace default  applying", func() { w.fault("flap-app", reviews, "2s") }, "apply", w.plan("1.29.1"), "--approve")
	if code != 4 || !strings.Contains(said, "gate requests is shut") {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(said, "nothing is known from before") {
		t.Error("what the pods served before they went was not read")
	}
	t.Logf("%d of the load's requests lost", w.tally())
	w.fault("mend-app", reviews)
	w.run(5, "rollback")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost on the way back", lost)
	}
}
