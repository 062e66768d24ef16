package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/test/e2e/load"
	"github.com/serin-mesh/serin/test/e2e/sample"
)

// toolsEnv names a directory with helm, kubectl and istioctl-VERSION.
const toolsEnv = "SERIN_E2E_TOOLS"

// Side by side, in one run: the Helm walk-through as it is written down, typed by
// hand, and serin, on the same mesh under the same load. Services stop at SIGTERM,
// as most do; and then again with services that drain. No count is wanted: this
// measures. S-30 says why the walk-through loses what it loses.
func TestByHand_besideSerin(t *testing.T) {
	for _, drain := range []time.Duration{0, 5 * time.Second} {
		t.Run("drain "+drain.String(), func(t *testing.T) {
			var rows []row
			t.Run("by hand", func(t *testing.T) {
				w := newWorld(t, sample.Options{Drain: drain})
				h := w.hand()
				w.begin()
				h.walk()
				rows = append(rows, w.row("by hand"))
			})
			t.Run("serin", func(t *testing.T) {
				w := newWorld(t, sample.Options{Drain: drain})
				// Without its own requests serin goes on where it loses some, as by hand; with
				// them it holds after the first workload whose restart has lost any.
				w.blind = drain == 0
				w.begin()
				w.goOn(w.plan())
				rows = append(rows, w.row("serin"))
				w.on(*toFlag)
			})
			text := table(rows)
			t.Log("\n" + text)
			if dir := os.Getenv(outEnv); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, "by-hand-drain-"+drain.String()+".txt"), []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// row is one way's part of the table.
type row struct {
	way    string
	report load.Report
	took   time.Duration
	typed  int
}

func (w *world) row(way string) row {
	w.t.Helper()
	took, typed := time.Since(w.steps[0].at)-lead, w.typed
	return row{way, w.end(way), took, typed}
}

func table(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-8s %8s %8s %8s %8s %10s\n", "way", "sent", "failed", "cut", "took", "commands")
	for _, r := range rows {
		total, cut := r.report.Total(), 0
		for _, c := range r.report.Counts {
			cut += c.Cut
		}
		fmt.Fprintf(&b, "  %-8s %8d %8d %8d %8s %10d\n", r.way, total.Sent, total.Failed, cut, r.took.Round(time.Second), r.typed)
	}
	return b.String()
}

// hand types commands.
type hand struct {
	*world

	tools string
	dir   string
}

// canary is the revision's name in the walk-through.
const canary = "canary"

func (w *world) hand() *hand {
	w.t.Helper()
	h := &hand{world: w, tools: os.Getenv(toolsEnv), dir: w.t.TempDir()}
	for _, tool := range []string{"helm", "kubectl", "istioctl-" + *toFlag} {
		if _, err := exec.LookPath(h.path(tool)); err != nil {
			w.t.Skipf("the walk-through by hand needs %s: %v\n  remedy: %s=DIRECTORY that has it", tool, err, toolsEnv)
		}
	}
	gateway := sample.GatewayValues()
	beside := maps.Clone(gateway)
	beside["revision"] = canary
	beside["service"] = map[string]any{"type": "None"}
	beside["labels"] = map[string]any{"istio": "ingress", "app": sample.Gateway, canary: "true"}
	istiod := sample.IstiodValues(w.values())
	istiod["revision"] = canary
	for name, v := range map[string]any{"istiod": istiod, "gateway": beside} {
		b, err := yaml.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(h.file(name), b, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return h
}

func (h *hand) file(name string) string { return filepath.Join(h.dir, name+".yaml") }

func (h *hand) path(tool string) string {
	if h.tools == "" {
		return tool
	}
	return filepath.Join(h.tools, tool)
}

// try types a command, and says how it went.
func (h *hand) try(command string, more ...string) (string, error) {
	h.mu.Lock()
	h.typed++
	h.mu.Unlock()
	args := append(strings.Fields(command), more...)
	if args[0] == "helm" && len(args) > 3 && args[1] != "uninstall" {
		args = append(args[:3:3], append(h.chart(args[3]), args[4:]...)...)
	}
	h.t.Logf("$ %s", strings.Join(args, " "))
	cmd := exec.CommandContext(h.t.Context(), h.path(args[0]), args[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.kubeconfig)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sh types a command that must go well.
func (h *hand) sh(command string, more ...string) {
	h.t.Helper()
	if out, err := h.try(command, more...); err != nil {
		h.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// chart is a chart of the new release as helm's arguments.
func (h *hand) chart(name string) []string {
	if strings.Contains(h.charts, "://") {
		return []string{name, "--repo", h.charts, "--version", *toFlag}
	}
	return []string{filepath.Join(h.charts, name+"-"+*toFlag+".tgz")}
}

// look is the time that a careful person looks at what the last command did.
func (h *hand) look(d time.Duration) { <-time.After(d) }

// walk is the walk-through, command by command.
func (h *hand) walk() {
	h.t.Helper()
	h.step("precheck")
	if out, err := h.try("istioctl-" + *toFlag + " x precheck"); err != nil {
		h.t.Logf("precheck: %v\n%s", err, out)
	}
	h.step("base chart")
	base := "helm upgrade istio-base base -n istio-system --set defaultRevision=default"
	if out, err := h.try(base); err != nil {
		h.t.Logf("%v\n%s", err, out)
		h.sh(base + " --force-conflicts")
	}
	h.step("istiod canary")
	h.sh("helm install istiod-canary istiod -n istio-system --wait --timeout 180s -f " + h.file("istiod"))
	h.step("gateway canary")
	h.sh("helm install istio-ingress-canary gateway -n istio-ingress --skip-schema-validation --wait --timeout 180s -f " + h.file("gateway"))
	h.look(5 * time.Second)
	h.step("pin the selector")
	h.sh("kubectl -n bookinfo patch gateways.networking.istio.io bookinfo-gateway --type merge -p", `{"spec":{"selector":{"istio":"ingress","canary":"true"}}}`)
	h.look(10 * time.Second)
	h.step("unpin the selector")
	h.sh("kubectl -n bookinfo patch gateways.networking.istio.io bookinfo-gateway --type json -p", `[{"op":"remove","path":"/spec/selector/canary"}]`)
	h.look(5 * time.Second)
	h.step("scale the old gateway down")
	h.sh("kubectl -n istio-ingress scale deploy istio-ingress --replicas=0")
	h.look(10 * time.Second)
	h.workloads()
	h.step("uninstall the old istiod")
	h.sh("helm uninstall istiod -n istio-system")
	h.look(3 * time.Second)
	h.step("default revision")
	if out, err := h.try("helm upgrade istio-base base -n istio-system --skip-crds --set defaultRevision=canary"); err != nil {
		h.t.Logf("%v\n%s", err, out)
	}
	h.look(5 * time.Second)
}

// workloads moves the namespace, then one workload, then the rest.
func (h *hand) workloads() {
	h.t.Helper()
	h.step("relabel")
	h.sh("kubectl label ns bookinfo istio-injection-")
	h.sh("kubectl label ns bookinfo istio.io/rev=canary")
	h.step("restart details")
	h.sh("kubectl -n bookinfo rollout restart deploy details-v1")
	h.sh("kubectl -n bookinfo rollout status deploy details-v1")
	h.look(5 * time.Second)
	h.step("restart the rest")
	h.sh("kubectl -n bookinfo rollout restart deploy")
	for _, d := range sample.Apps() {
		h.sh("kubectl -n bookinfo rollout status deploy " + d)
	}
	h.look(5 * time.Second)
	h.step("proxy-status")
	h.sh("istioctl-" + *toFlag + " proxy-status --revision canary")
}
