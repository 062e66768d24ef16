package test_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/test/walk"
	"github.com/spf13/pflag"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/strvals"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// types does what a person types, with the release's own istioctl, with Helm, and
// with the few words of kubectl that the walk-throughs have. Each waits, as a careful
// person does.
func (w walker) types(line string) {
	w.t.Helper()
	began := time.Now()
	f := strings.Fields(line)
	switch {
	case f[0] == "sample":
		w.must(line, walk.Sample(w.t.Context(), w.kube, f[1:]...))
	case strings.HasPrefix(f[0], "istioctl-"):
		cmd := exec.CommandContext(w.t.Context(), w.lab.Istioctl(strings.TrimPrefix(f[0], "istioctl-")), append(f[1:], "--kubeconfig", w.lab.Kubeconfig())...)
		cmd.Dir = w.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			w.t.Fatalf("%s: %v\n%s", line, err, out)
		}
	case f[0] == "helm":
		w.helmTyped(line, f[1:])
	case strings.HasPrefix(line, "kubectl label namespace "):
		w.labelTyped(f[3], f[4:])
	case strings.HasPrefix(line, "kubectl rollout restart deployment -n "):
		w.restartTyped(f[5])
	default:
		w.t.Fatalf("nobody knows how to type %q", line)
	}
	w.t.Logf("%s (%s)", line, time.Since(began).Round(100*time.Millisecond))
}

func (w walker) must(line string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", line, err)
	}
}

func (w walker) labelTyped(ns string, words []string) {
	w.t.Helper()
	labels := map[string]any{}
	for _, word := range words {
		key, value, set := strings.Cut(word, "=")
		switch {
		case word == "--overwrite":
		case set:
			labels[key] = value
		default:
			labels[strings.TrimSuffix(key, "-")] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	w.must("label", err)
	_, err = w.kube.CoreV1().Namespaces().Patch(w.t.Context(), ns, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-label"})
	w.must("label", err)
}

func (w walker) restartTyped(ns string) {
	w.t.Helper()
	list, err := w.kube.AppsV1().Deployments(ns).List(w.t.Context(), metav1.ListOptions{})
	w.must("restart", err)
	patch := []byte(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"` + time.Now().Format(time.RFC3339Nano) + `"}}}}}`)
	for _, d := range list.Items {
		_, err := w.kube.AppsV1().Deployments(ns).Patch(w.t.Context(), d.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-rollout"})
		w.must("restart", err)
	}
	w.must("restart", walk.Ready(w.t.Context(), w.kube, ns))
}

// helmTyped is helm install, upgrade and uninstall.
func (w walker) helmTyped(line string, args []string) {
	w.t.Helper()
	flags := pflag.NewFlagSet("helm", pflag.ContinueOnError)
	ns := flags.StringP("namespace", "n", "", "")
	version := flags.String("version", "", "")
	file := flags.StringP("values", "f", "", "")
	sets := flags.StringArray("set", nil, "")
	create := flags.Bool("create-namespace", false, "")
	w.must(line, flags.Parse(args))
	if args[0] == "uninstall" {
		un := action.NewUninstall(w.helm(*ns))
		un.WaitStrategy = kube.HookOnlyStrategy
		_, err := un.Run(flags.Arg(1))
		w.must(line, err)
		return
	}
	values := map[string]any{}
	if *file != "" {
		b, err := os.ReadFile(filepath.Join(w.dir, filepath.Clean(*file)))
		w.must(line, err)
		w.must(line, yaml.Unmarshal(b, &values))
	}
	for _, s := range *sets {
		w.must(line, strvals.ParseInto(s, values))
	}
	if *create {
		_, err := w.kube.CoreV1().Namespaces().Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: *ns}}, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			w.must(line, err)
		}
	}
	ch, err := istio.NewCharts(w.lab.ChartRepo()).Load(w.t.Context(), flags.Arg(2), *version)
	w.must(line, err)
	w.must(line, w.helmRelease(args[0], flags.Arg(1), *ns, ch, values))
	w.must(line, walk.Ready(w.t.Context(), w.kube, *ns))
}

func (w walker) helmRelease(verb, name, ns string, ch *v2.Chart, values map[string]any) error {
	w.t.Helper()
	if verb == "upgrade" {
		up := action.NewUpgrade(w.helm(ns))
		up.Namespace, up.WaitStrategy, up.ServerSideApply, up.PostRenderer = ns, kube.HookOnlyStrategy, "auto", laterChart{}
		_, err := up.RunWithContext(w.t.Context(), name, ch, values)
		return err
	}
	in := action.NewInstall(w.helm(ns))
	in.ReleaseName, in.Namespace, in.WaitStrategy = name, ns, kube.HookOnlyStrategy
	in.SkipSchemaValidation = ch.Name() == "gateway"
	_, err := in.RunWithContext(w.t.Context(), ch, values)
	return err
}
