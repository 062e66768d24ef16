package test_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/evidence"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/demo"
)

// crowd is how many proxies there are besides the sample's; SERIN_PROXIES sets it.
func crowd(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("SERIN_PROXIES"))
	if err != nil {
		return 1000
	}
	return n
}

// "serin status" beside "istioctl proxy-status", each as a process of its own, on
// a mesh of a thousand proxies: wall-clock, and the peak of memory.
//
//	go test ./test -run '^$' -bench Status -benchtime 5x -timeout 40m
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b, "1.27.0")
	w.stop()
	n := crowd(b)
	w.gather(n, 10)
	w.beside(b, n, "crowd", []contender{
		{"serin-status", w.serin, []string{"status"}},
		{"istioctl-proxy-status", w.lab.Istioctl("1.27.0"), []string{"proxy-status"}},
	})
}

// "serin precheck" beside "istioctl x precheck", in the same way: both say
// everything that they have to say.
//
//	go test ./test -run '^$' -bench Precheck -benchtime 5x -timeout 40m
func BenchmarkPrecheck(b *testing.B) {
	w := newWorld(b, "1.27.0", "1.29.1")
	w.stop()
	n := crowd(b)
	w.gather(n, 10)
	theirs := []string{"x", "precheck", "--output-threshold", "Info"}
	w.beside(b, n, "sidecar.istio.io/proxyCPU", []contender{
		{"serin-precheck", w.serin, []string{"precheck", "--to", "1.29.1"}},
		{"istioctl-1.27.0-x-precheck", w.lab.Istioctl("1.27.0"), theirs},
		{"istioctl-1.29.1-x-precheck", w.lab.Istioctl("1.29.1"), theirs},
	})
}

// "serin diff --all" of so many workloads: the new istiod is asked as the shadow of
// each. The new revision has two istiods, each with the limit of its release.
//
//	go test ./test -run '^$' -bench Diff -benchtime 2x -timeout 60m
func BenchmarkDiff(b *testing.B) {
	w := newWorld(b, "1.27.0", "1.29.1")
	w.stop()
	n := crowd(b)
	w.gather(n, n)
	w.run(0, "install", "istiod", "--version", "1.29.1", "--revision", "1-29-1", "--from-revision", "default", "--charts", w.lab.ChartRepo())
	before, began := w.istiodUses(b, next), time.Now()
	w.beside(b, n, fmt.Sprintf("%d workloads", n+7), []contender{
		{"serin-diff", w.serin, []string{"diff", "--all", "-r", "1-29-1"}},
	})
	after := w.istiodUses(b, next)
	b.Logf("at ten shadows a second no less than %s; the new istiods used %.1f s of CPU in %s, and hold %.0f MiB, before %.0f MiB",
		time.Duration(n+7)*time.Second/10, after.cpu-before.cpu, time.Since(began).Round(time.Second), after.memory, before.memory)
}

// uses is what processes have used of a core, in seconds, and hold of memory, in MiB.
type uses struct{ cpu, memory float64 }

// istiodUses is what the istiods of a revision say of themselves, added up.
func (w *world) istiodUses(b *testing.B, revision string) uses {
	b.Helper()
	pods, err := w.kube.CoreV1().Pods("istio-system").List(b.Context(), metav1.ListOptions{LabelSelector: "app=istiod,istio.io/rev=" + revision})
	if err != nil {
		b.Fatal(err)
	}
	var sum uses
	forward := evidence.NewForwarder(w.cfg)
	for _, p := range pods.Items {
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return forward.Dial(ctx, p.Namespace, p.Name, 15014)
		}}}
		resp, err := client.Get("http://istiod/metrics") //nolint:noctx // a benchmark's own end is enough
		if err != nil {
			b.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, text, _ := strings.Cut(lines.Text(), " ")
			value, _ := strconv.ParseFloat(text, 64) // other lines are none of these
			switch name {
			case "process_cpu_seconds_total":
				sum.cpu += value
			case "process_resident_memory_bytes":
				sum.memory += value / (1 << 20)
			}
		}
		_ = resp.Body.Close()
		client.CloseIdleConnections()
	}
	return sum
}

// contender is a program that is measured, each time as a process of its own.
type contender struct {
	name, path string
	args       []string
}

// beside measures programs one after the other: wall-clock, and the peak of
// memory. Each must have said the word that shows that it saw the mesh.
func (w *world) beside(b *testing.B, proxies int, word string, contenders []contender) {
	b.Helper()
	for _, c := range contenders {
		b.Run(fmt.Sprintf("%s/%d", c.name, proxies), func(b *testing.B) {
			peak := int64(0)
			for b.Loop() {
				var out bytes.Buffer
				cmd := exec.CommandContext(b.Context(), c.path, append(c.args, "--kubeconfig", w.lab.Kubeconfig())...)
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				most := demo.Memory(cmd.Process.Pid)
				if err := cmd.Wait(); err != nil {
					b.Fatalf("%v\n%s", err, out.String())
				}
				peak = max(peak, most())
				if !strings.Contains(out.String(), word) {
					b.Fatalf("it does not know the mesh:\n%s", out.String())
				}
			}
			b.ReportMetric(float64(peak>>20), "peak-MiB")
		})
	}
}

// gather makes pods with proxies, in so many Deployments without a Service, and
// waits until each is ready: its proxy then has its configuration.
func (w *world) gather(pods, deployments int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Minute)
	defer cancel()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "crowd", Labels: map[string]string{"istio-injection": "enabled"}}}
	if _, err := w.kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi")}
	for i := range deployments {
		name, replicas := fmt.Sprintf("crowd-%d", i), int32(pods/deployments)
		labels := map[string]string{"app": name}
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "crowd"},
			Spec: appsv1.DeploymentSpec{
				Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
						"sidecar.istio.io/proxyCPU": "1m", "sidecar.istio.io/proxyMemory": "1Mi",
					}},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{
						Name: "app", Image: "docker.io/serin/app:1", Ports: []corev1.ContainerPort{{ContainerPort: 9080}},
						Env: []corev1.EnvVar{{Name: "NAME", Value: name}}, Resources: corev1.ResourceRequirements{Requests: small},
					}}},
				},
			},
		}
		if _, err := w.kube.AppsV1().Deployments("crowd").Create(ctx, d, metav1.CreateOptions{}); err != nil {
			w.t.Fatal(err)
		}
		if (i+1)*pods/deployments%10 != 0 {
			continue
		}
		if err := bookinfo.WaitReady(ctx, w.cfg, "crowd"); err != nil { // a few after the others: all at once starve the machine
			w.t.Fatal(err)
		}
	}
	want := pods / deployments * deployments
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		out, err := exec.CommandContext(ctx, w.lab.Istioctl("1.27.0"), "proxy-status", "--kubeconfig", w.lab.Kubeconfig()).Output()
		return err == nil && strings.Count(string(out), ".crowd ") == want, nil
	})
	if err != nil {
		w.t.Fatalf("waiting for %d proxies: %v", want, err)
	}
}
