package gitops_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/gitops"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func folder(t *testing.T, planFile []byte) map[string]string {
	t.Helper()
	s := meshtest.ByGit(meshtest.Bookinfo("1.27.0").Snapshot(), mesh.Owner{Kind: mesh.OwnerFlux, Name: "flux-system/mesh"})
	p := plan.Build(s, plan.Request{To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}})
	contents := map[int]plan.Content{}
	for _, st := range p.Steps {
		c, ok := plan.ContentOf(st)
		if !ok {
			c.Apply = []map[string]any{plan.Object("v1", "ConfigMap", "istio-system", "b", nil), plan.Object("v1", "ConfigMap", "istio-system", "a", nil)}
			c.Notes = []string{"Mind this."}
		}
		contents[st.Number] = c
	}
	files, err := gitops.Files(p, contents, planFile)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		out[f.Path] = string(f.Data)
	}
	return out
}

func TestS45_aFolderAStep(t *testing.T) {
	files := folder(t, []byte("kind: Plan\n"))
	if d := cmp.Diff(files, folder(t, []byte("kind: Plan\n"))); d != "" {
		t.Errorf("the same plan gives other bytes:\n%s", d)
	}
	for file, want := range map[string]string{
		"plan.yaml":                      "kind: Plan",
		"README.md":                      "| 4 | 04-move-namespace | Flux (resource flux-system/mesh) | namespace default with istio-injection- istio.io/rev=1-29-1 |",
		"04-move-namespace/patch.yaml":   "istio-injection: null",
		"04-move-namespace/README.md":    "`serin verify 4 -f ../plan.yaml`",
		"01-pin-default-tag/README.md":   "- Mind this.",
		"01-pin-default-tag/apply.yaml":  "name: b\n  namespace: istio-system\n---", // in the order in which they come
		"05-restart-workloads/README.md": "nobody declares a restart",
		"02-upgrade-base/README.md":      "Way back: CRDs stay (additive)",
	} {
		if !strings.Contains(files[file], want) {
			t.Errorf("%s: no %q in\n%s", file, want, files[file])
		}
	}
	index, err := gitops.ReadIndex([]byte(files[gitops.IndexFile]))
	if err != nil || len(index.Files) != len(files)-1 {
		t.Errorf("the index has %d files of %d: %v", len(index.Files), len(files)-1, err)
	}
}

func TestS45_aPlanWithASecretIsKeptApart(t *testing.T) {
	files := folder(t, nil)
	if _, there := files[gitops.PlanFile]; there || !strings.Contains(files["README.md"], "The plan itself is not here") {
		t.Errorf("%s", files["README.md"])
	}
}

func TestReadIndex_refusesWhatIsNotSerins(t *testing.T) {
	for name, text := range map[string]string{
		"another kind":           "apiVersion: serin.dev/v1alpha1\nkind: Plan\n",
		"another's":              "kind: Patches\n",
		"a field nobody knows":   "apiVersion: serin.dev/v1alpha1\nkind: Patches\nmore: 1\n",
		"a path that leads out":  "apiVersion: serin.dev/v1alpha1\nkind: Patches\nfiles: [a/../../etc/passwd]\n",
		"a path from the root":   "apiVersion: serin.dev/v1alpha1\nkind: Patches\nfiles: [/etc/passwd]\n",
		"no YAML":                "{",
		"a list":                 "- a\n",
		"a path that is nothing": "apiVersion: serin.dev/v1alpha1\nkind: Patches\nfiles: ['']\n",
	} {
		if i, err := gitops.ReadIndex([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, i)
		}
	}
}
