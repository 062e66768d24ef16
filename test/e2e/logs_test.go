package e2e_test

import (
	"bufio"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// A gateway's Envoy writes no access logs where a Telemetry of the whole mesh turns
// them off: it is said, and --telemetry has them written for as long as the command
// runs, which costs no request. S-34.
func TestLogs_ofAGatewayByATelemetry(t *testing.T) {
	w := newWorld(t, sample.Options{Drain: 5 * time.Second})
	w.rates = gatewayRates(*rateFlag)
	telemetries := dynamic.NewForConfigOrDie(w.cfg).Resource(schema.GroupVersionResource{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"})
	_, err := telemetries.Namespace("istio-system").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": map[string]any{"name": "quiet"},
		"spec": map[string]any{"accessLogging": []any{map[string]any{"providers": []any{map[string]any{"name": "envoy"}}, "disabled": true}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := telemetries.Namespace("istio-system").Delete(context.Background(), "quiet", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	w.begin()
	silent := func(ctx context.Context) (bool, error) {
		said := w.run(0, "gateway", "logs", sample.Gateway, "--since", "2s") //nolint:contextcheck // the world has its own
		return strings.Contains(said, "SRN1423") && !strings.Contains(said, sample.Path), ctx.Err()
	}
	if err := wait.PollUntilContextTimeout(t.Context(), time.Second, 30*time.Second, true, silent); err != nil {
		t.Fatalf("waiting for a gateway that writes no access logs, of which it is said: %v", err)
	}
	cmd := w.command("gateway", "logs", sample.Gateway, "--telemetry", "--tail", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	served := regexp.MustCompile(`^default +istio-ingress-\S+ +\[2.*\] "GET ` + sample.Path + ` HTTP/(1\.1|2)" 200 `)
	var shown []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !served.MatchString(lines.Text()) {
			continue
		}
		if shown = append(shown, lines.Text()); len(shown) == 100 {
			t.Logf("after %s a hundred, the first of them: %s", time.Since(began).Round(100*time.Millisecond), shown[0])
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || len(shown) < 100 {
		t.Errorf("%d lines of requests: %v", len(shown), err)
	}
	if left, err := telemetries.List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 1 {
		t.Errorf("%d Telemetries are left, want the mesh's own: %v", len(left.Items), err)
	}
	w.lost(w.end("logs"))
}
