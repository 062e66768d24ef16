package istio_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/istio"
)

const validators = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: istiod-default-validator
webhooks:
- name: validation.istio.io
  failurePolicy: Ignore
  sideEffects: None
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: istio-reader-service-account
`

func TestFailurePolicyIsLeftToIstiod(t *testing.T) {
	for name, tc := range map[string]struct {
		in      string
		failing []string
		want    string
	}{
		"live with Fail: the field is not Helm's": {
			in: validators, failing: []string{"istiod-default-validator"}, want: strings.Replace(validators, "  failurePolicy: Ignore\n", "", 1),
		},
		"not live, or still Ignore: as the chart has it": {in: validators, want: validators},
		"the user's own Fail stays": {
			in: strings.Replace(validators, "Ignore", "Fail", 1), failing: []string{"istiod-default-validator"}, want: strings.Replace(validators, "Ignore", "Fail", 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := istio.WithoutPolicy(tc.in, tc.failing...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error("-want +got", d)
			}
		})
	}
}
