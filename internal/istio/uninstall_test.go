package istio_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/istio"
)

// The charts up to 1.28 forgot to keep one definition: Helm would delete it, and
// all that was made of it.
func TestS53_definitionsStayWhateverTheChartForgot(t *testing.T) {
	const kept = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: a\n  annotations:\n    \"helm.sh/resource-policy\": keep\n"
	const forgotten = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: wasmplugins.extensions.istio.io\n"
	const other = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"
	got, err := istio.KeptCRDs(kept + "---\n" + forgotten + "---\n" + other)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got, "helm.sh/resource-policy") != 2 || !strings.Contains(got, "wasmplugins") || !strings.Contains(got, "kind: ConfigMap") {
		t.Errorf("got %s", got)
	}
	same, err := istio.KeptCRDs(kept + "---\n" + other)
	if err != nil || same != kept+"---\n"+other {
		t.Errorf("what needs no mark was changed: %v %s", err, same)
	}
}
