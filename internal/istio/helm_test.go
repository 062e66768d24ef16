package istio_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/mesh"
)

// helm is Helm in memory over two charts that render what their values say.
func helm(t *testing.T) (*istio.Helm, *istio.Shelf) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"1.27.0", "1.29.1"} {
		write(t, filepath.Join(dir, "base-"+v), map[string]string{
			"Chart.yaml": chartYAML("base", v), "values.yaml": "defaultRevision: default",
			"templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {rev: '{{ .Values.defaultRevision }}'}\n" +
				"---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gateways.networking.istio.io}\n",
		})
		write(t, filepath.Join(dir, "istiod-"+v), map[string]string{
			"Chart.yaml": chartYAML("istiod", v), "values.yaml": "{shared: ''}",
			"templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'istio-{{ .Values.revision }}{{ .Values.shared }}'}\n",
		})
	}
	return istio.HelmInMemory(istio.NewCharts(dir))
}

func base(version, rev string) mesh.Release {
	return mesh.Release{Namespace: "istio-system", Name: "istio-base", Chart: "base", Version: version, Values: map[string]any{"defaultRevision": rev}}
}

func istiod(rev string) mesh.Release {
	return mesh.Release{Namespace: "istio-system", Name: "istiod-" + rev, Chart: "istiod", Version: "1.29.1", Values: map[string]any{"revision": rev, "n": 2}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInstallTwiceIsOnce(t *testing.T) {
	h, shelf := helm(t)
	must(t, h.Install(t.Context(), istiod("a"), ""))
	must(t, h.Install(t.Context(), istiod("a"), ""))
	if d := cmp.Diff([]string{"deployed"}, shelf.History("istiod-a")); d != "" {
		t.Error("-want +got", d)
	}
	got, ok, err := h.Get(t.Context(), "istio-system", "istiod-a")
	must(t, err)
	if !ok || got.Chart != "istiod" || got.Version != "1.29.1" || got.Values["revision"] != "a" {
		t.Errorf("got %+v", got)
	}
}

func TestInstallAfterAKill(t *testing.T) {
	for _, left := range []string{"pending-install", "failed", "uninstalling"} {
		t.Run(left, func(t *testing.T) {
			h, shelf := helm(t)
			must(t, h.Install(t.Context(), istiod("a"), ""))
			shelf.Kill("istiod-a", left)
			must(t, h.Install(t.Context(), istiod("a"), ""))
			history := shelf.History("istiod-a")
			if len(history) == 0 || history[len(history)-1] != "deployed" {
				t.Errorf("got %v", history)
			}
			must(t, h.Uninstall(t.Context(), "istio-system", "istiod-a"))
			if left := shelf.History("istiod-a"); len(left) > 0 {
				t.Errorf("records are left: %v", left)
			}
		})
	}
}

func TestInstallRefusesWhatIsNotOurs(t *testing.T) {
	h, shelf := helm(t)
	theirs := istiod("a")
	theirs.Values = map[string]any{"revision": "a", "n": 9}
	must(t, h.Install(t.Context(), theirs, ""))
	for _, status := range []string{"deployed", "pending-install", "pending-upgrade"} {
		shelf.Kill("istiod-a", status)
		if err := h.Install(t.Context(), istiod("a"), ""); !errors.Is(err, drive.ErrRefused) {
			t.Errorf("%s: got %v, want a refusal", status, err)
		}
	}
}

func TestInstallRefusesSharedObjects(t *testing.T) {
	h, _ := helm(t)
	must(t, h.Install(t.Context(), istiod("a-b"), ""))
	other := istiod("a")
	other.Values["shared"] = "-b"
	err := h.Install(t.Context(), other, "istiod-a-b")
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "ConfigMap istio-system/istio-a-b (release istiod-a-b)") {
		t.Errorf("got %v", err)
	}
}

func TestUpgradeAfterAKill(t *testing.T) {
	for name, tc := range map[string]struct {
		left    string
		next    mesh.Release
		earlier []mesh.Release
		want    []string
	}{
		"the same again":             {left: "pending-upgrade", next: base("1.29.1", "new"), want: []string{"superseded", "deployed"}},
		"back, knowing the way here": {left: "pending-upgrade", next: base("1.27.0", "old"), earlier: []mesh.Release{base("1.29.1", "new")}, want: []string{"superseded", "deployed"}},
		"after a failure":            {left: "failed", next: base("1.29.1", "new"), want: []string{"superseded", "failed", "deployed"}},
		"nothing was left":           {left: "deployed", next: base("1.29.1", "new"), want: []string{"superseded", "deployed"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, shelf := helm(t)
			must(t, h.Install(t.Context(), base("1.27.0", "default"), ""))
			must(t, h.Upgrade(t.Context(), base("1.29.1", "new")))
			shelf.Kill("istio-base", tc.left)
			must(t, h.Upgrade(t.Context(), tc.next, tc.earlier...))
			if d := cmp.Diff(tc.want, shelf.History("istio-base")); d != "" {
				t.Error("-want +got", d)
			}
			got, _, err := h.Get(t.Context(), "istio-system", "istio-base")
			must(t, err)
			if d := cmp.Diff(tc.next.Values, got.Values); d != "" || got.Version != tc.next.Version {
				t.Error("-want +got", got.Version, d)
			}
		})
	}
}

// A release whose values alone change needs no repository (S-3 by hand: tag set default).
func TestUpgradeAtTheSameVersionNeedsNoCharts(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "base-1.27.0"), map[string]string{
		"Chart.yaml": chartYAML("base", "1.27.0"), "values.yaml": "defaultRevision: default",
		"templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {rev: '{{ .Values.defaultRevision }}'}\n",
	})
	h, shelf := istio.HelmInMemory(istio.NewCharts(dir))
	must(t, h.Install(t.Context(), base("1.27.0", "default"), ""))
	h.Charts(istio.NewCharts(t.TempDir()))
	must(t, h.Upgrade(t.Context(), base("1.27.0", "canary")))
	if m := shelf.Manifest("istio-base"); !strings.Contains(m, "rev: 'canary'") {
		t.Errorf("got %s", m)
	}
	if err := h.Upgrade(t.Context(), base("1.29.1", "canary")); !errors.Is(err, istio.ErrNoChart) {
		t.Errorf("another version is not in storage: got %v", err)
	}
}

func TestUpgradeRefusesAStrangersAttempt(t *testing.T) {
	h, shelf := helm(t)
	must(t, h.Install(t.Context(), base("1.27.0", "default"), ""))
	must(t, h.Upgrade(t.Context(), base("1.29.1", "theirs")))
	shelf.Kill("istio-base", "pending-upgrade")
	err := h.Upgrade(t.Context(), base("1.29.1", "ours"))
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "helm history istio-base -n istio-system") {
		t.Errorf("got %v", err)
	}
	// What runs is what was deployed, not what somebody has begun.
	got, _, err := h.Get(t.Context(), "istio-system", "istio-base")
	must(t, err)
	if got.Version != "1.27.0" || got.Values["defaultRevision"] != "default" {
		t.Errorf("got %+v", got)
	}
}

func TestForget(t *testing.T) {
	for left, want := range map[string][]string{
		"pending-upgrade": {"deployed"},
		"deployed":        {"superseded", "deployed"},
	} {
		t.Run(left, func(t *testing.T) {
			h, shelf := helm(t)
			must(t, h.Install(t.Context(), base("1.27.0", "default"), ""))
			must(t, h.Upgrade(t.Context(), base("1.29.1", "default")))
			shelf.Kill("istio-base", left)
			must(t, h.Forget(t.Context(), base("1.29.1", "default")))
			if d := cmp.Diff(want, shelf.History("istio-base")); d != "" {
				t.Error("-want +got", d)
			}
		})
	}
}

func TestObjectsAndCRDs(t *testing.T) {
	h, _ := helm(t)
	must(t, h.Install(t.Context(), base("1.27.0", "default"), ""))
	got, err := h.Objects(t.Context(), "istio-system", "istio-base")
	must(t, err)
	want := []mesh.Object{
		{Kind: "ConfigMap", Namespace: "istio-system", Name: "base"},
		{Kind: "CustomResourceDefinition", Name: "gateways.networking.istio.io"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("-want +got", d)
	}
	crds, err := h.CRDs(t.Context(), base("1.29.1", "default"))
	must(t, err)
	if d := cmp.Diff([]string{"gateways.networking.istio.io"}, crds); d != "" {
		t.Error("-want +got", d)
	}
	none, err := h.Objects(t.Context(), "istio-system", "nothing")
	if err != nil || none != nil {
		t.Errorf("got %v, %v", none, err)
	}
	must(t, h.Uninstall(t.Context(), "istio-system", "nothing"))
}
