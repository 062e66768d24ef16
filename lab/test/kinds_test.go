package test_test

import "k8s.io/apimachinery/pkg/runtime/schema"

// everyKind are the kinds of which Istio's charts and tools make objects, CRDs apart.
func everyKind() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, of := range []struct {
		group, version string
		resources      []string
	}{
		{"apps", "v1", []string{"deployments", "daemonsets"}},
		{"", "v1", []string{"services", "configmaps", "serviceaccounts"}},
		{"rbac.authorization.k8s.io", "v1", []string{"roles", "rolebindings", "clusterroles", "clusterrolebindings"}},
		{"autoscaling", "v2", []string{"horizontalpodautoscalers"}},
		{"policy", "v1", []string{"poddisruptionbudgets"}},
		{"admissionregistration.k8s.io", "v1", []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}},
	} {
		for _, r := range of.resources {
			out = append(out, schema.GroupVersionResource{Group: of.group, Version: of.version, Resource: r})
		}
	}
	return out
}
