package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// A value that looks like a secret would be kept in a run: it is refused by its path,
// never by what it is, in values and in an IstioOperator file.
func TestBuild_refusesValuesThatLookLikeSecrets(t *testing.T) {
	secret := map[string]any{"pilot": map[string]any{
		"env": map[string]any{"BACKEND_PASSWORD": "S3RIN", "PILOT_TRACE_SAMPLING": "1"}, "envVarFrom": []any{map[string]any{"name": "API_TOKEN", "value": "S3RIN"}},
	}}
	for name, r := range map[string]plan.Request{
		"values":              {To: "1.29.1", Values: secret},
		"a file":              {To: "1.29.1", Operator: map[string]any{"spec": map[string]any{"values": secret}}},
		"a single operation":  {To: "1.29.1", Values: secret, Operation: &plan.Operation{Verb: plan.Install, Chart: "istiod", Revision: "canary", From: "default"}},
		"a reference is none": {To: "1.29.1", Values: map[string]any{"global": map[string]any{"imagePullSecrets": []any{"pull"}}}},
	} {
		var got []string
		for _, f := range plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), r).Findings {
			if f.Code == "SRN1085" {
				path, _, _ := strings.Cut(strings.TrimPrefix(f.Reason, "its value "), " ")
				got = append(got, path)
			}
		}
		var want []string
		switch name {
		case "values", "a single operation":
			want = []string{"pilot.env.BACKEND_PASSWORD", "pilot.envVarFrom[0].value"}
		case "a file":
			want = []string{"spec.values.pilot.env.BACKEND_PASSWORD", "spec.values.pilot.envVarFrom[0].value"}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
