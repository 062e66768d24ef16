package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Injectors with odd selectors: they are evaluated as the API server would, or
// match nothing, and no question about the mesh panics or writes.
func TestHostileInjectors(t *testing.T) {
	expr := func(key, op string, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOperator(op), Values: values}}}
	}
	for name, tt := range map[string]struct {
		change func(*admissionv1.MutatingWebhookConfiguration)
		next   string // of a plain pod in a namespace labelled istio-injection=enabled
	}{
		"no webhooks":   {func(m *admissionv1.MutatingWebhookConfiguration) { m.Webhooks = nil }, "none"},
		"no labels":     {func(m *admissionv1.MutatingWebhookConfiguration) { m.Labels = nil }, "none"},
		"nil selectors": {func(m *admissionv1.MutatingWebhookConfiguration) { selectors(m, nil, nil) }, "default"},
		"empty selectors": {func(m *admissionv1.MutatingWebhookConfiguration) {
			selectors(m, &metav1.LabelSelector{}, &metav1.LabelSelector{})
		}, "default"},
		"an operator nobody knows": {func(m *admissionv1.MutatingWebhookConfiguration) { selectors(m, expr("a", "Gt", "1"), nil) }, "none"},
		"an empty operator":        {func(m *admissionv1.MutatingWebhookConfiguration) { selectors(m, expr("a", ""), nil) }, "none"},
		"In without values":        {func(m *admissionv1.MutatingWebhookConfiguration) { selectors(m, expr(mesh.InjectionLabel, "In"), nil) }, "none"},
		"NotIn without values": {func(m *admissionv1.MutatingWebhookConfiguration) {
			selectors(m, expr(mesh.InjectionLabel, "NotIn"), nil)
		}, "default"},
		"an empty key": {func(m *admissionv1.MutatingWebhookConfiguration) { selectors(m, expr("", "Exists"), nil) }, "none"},
		"what contradicts itself": {func(m *admissionv1.MutatingWebhookConfiguration) {
			selectors(m, &metav1.LabelSelector{MatchLabels: map[string]string{mesh.InjectionLabel: "enabled"}, MatchExpressions: expr(mesh.InjectionLabel, "DoesNotExist").MatchExpressions}, nil)
		}, "none"},
		"a revision that is not there": {func(m *admissionv1.MutatingWebhookConfiguration) { m.Labels[mesh.RevLabel] = "gone" }, "gone"},
		"an empty revision":            {func(m *admissionv1.MutatingWebhookConfiguration) { m.Labels[mesh.RevLabel] = "" }, ""},
		"a tag with an odd name":       {func(m *admissionv1.MutatingWebhookConfiguration) { m.Labels[mesh.TagLabel] = "../x" }, "default"},
		"no service and no url":        {func(m *admissionv1.MutatingWebhookConfiguration) { client(m, admissionv1.WebhookClientConfig{}) }, "default"},
		"a url": {func(m *admissionv1.MutatingWebhookConfiguration) {
			url := "https://["
			client(m, admissionv1.WebhookClientConfig{URL: &url})
		}, "default"},
		"a service without a path": {func(m *admissionv1.MutatingWebhookConfiguration) {
			client(m, admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{}})
		}, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			in := injector("default", "root")
			tt.change(in)
			w := newWorld(t, namespace(istioSystem), namespace("shop", mesh.InjectionLabel, "enabled"), istiod("default", "1.27.0", 2), in,
				defaultValidator("default"), deployment("shop", "cart", 1, "app", "cart:1"))
			s := observed(t, w)
			ns, _ := s.Namespace("shop")
			i := s.Injection(ns.Labels, nil)
			got := i.Revision
			if i.None() {
				got = "none"
			}
			if got != tt.next {
				t.Errorf("its next pod goes to %q, want %q", got, tt.next)
			}
			questions(t, w, s)
		})
	}
}

func selectors(m *admissionv1.MutatingWebhookConfiguration, namespace, object *metav1.LabelSelector) {
	for i := range m.Webhooks {
		m.Webhooks[i].NamespaceSelector, m.Webhooks[i].ObjectSelector = namespace, object
	}
}

func client(m *admissionv1.MutatingWebhookConfiguration, c admissionv1.WebhookClientConfig) {
	for i := range m.Webhooks {
		m.Webhooks[i].ClientConfig = c
	}
}

// questions asks all that is asked of a snapshot.
func questions(t *testing.T, w *world, s mesh.Snapshot) {
	t.Helper()
	_, _ = s.Orphans(), s.Differences(s)
	for _, rev := range append(s.Revisions(), "", "gone") {
		_ = s.References(rev)
	}
	for _, o := range []*plan.Operation{
		nil,
		{Verb: plan.TagSet, Tags: []string{"prod"}, Revision: "default"},
		{Verb: plan.TagRepair},
		{Verb: plan.TagRemove, Tags: []string{"../x"}},
		{Verb: plan.Move, To: "default", Namespaces: []string{"shop"}},
		{Verb: plan.Roll},
		{Verb: plan.Uninstall, Revision: "default"},
	} {
		p := plan.Build(s, plan.Request{To: "1.29.1", Operation: o})
		if len(p.Steps) == 0 && len(p.Findings) == 0 && o == nil {
			t.Errorf("neither a plan nor a reason: %+v", o)
		}
	}
	if wrote := writes(w); len(wrote) > 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

// Pods with broken annotations: who injected them is known, or is not, and is
// never guessed from the label.
func TestHostilePods(t *testing.T) {
	status, env := "sidecar.istio.io/status", func(v string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[1].Env = []corev1.EnvVar{{Name: "PROXY_CONFIG", Value: v}} }
	}
	note := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[key] = value }
	}
	for name, tt := range map[string]struct {
		change       func(*corev1.Pod)
		rev, version string
	}{
		"nothing says it":              {func(*corev1.Pod) {}, "", "1.27.0"},
		"no annotations at all":        {func(p *corev1.Pod) { p.Annotations = nil }, "", "1.27.0"},
		"a status that is no JSON":     {note(status, "{"), "", "1.27.0"},
		"a status that is a list":      {note(status, "[]"), "", "1.27.0"},
		"a status that is null":        {note(status, "null"), "", "1.27.0"},
		"a revision that is a number":  {note(status, `{"revision": 7}`), "", "1.27.0"},
		"a revision that is an object": {note(status, `{"revision": {"a": 1}}`), "", "1.27.0"},
		"a status that is deep":        {note(status, strings.Repeat("[", 20000)), "", "1.27.0"},
		"a status that is right":       {note(status, `{"revision": "canary"}`), "canary", "1.27.0"},
		"a label is no proof":          {func(p *corev1.Pod) { p.Labels[mesh.RevLabel] = "canary" }, "", "1.27.0"},
		"a proxy config that is none":  {env("x"), "", "1.27.0"},
		"an address that is none":      {env(`{"discoveryAddress": "[::"}`), "", "1.27.0"},
		"an address of another":        {env(`{"discoveryAddress": "pilot.x.svc:1"}`), "", "1.27.0"},
		"an address of a revision":     {env(`{"discoveryAddress": "istiod-canary.istio-system.svc:15012"}`), "canary", "1.27.0"},
		"an address of the default":    {env(`{"discoveryAddress": "istiod.istio-system.svc:15012"}`), "default", "1.27.0"},
		"an address that is a number":  {env(`{"discoveryAddress": 15012}`), "", "1.27.0"},
		"no image":                     {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "" }, "", ""},
		"an image by digest":           {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "a/proxyv2@sha256:1" }, "", ""},
		"an image that is only marks":  {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "/:@" }, "", ""},
		"an image that was not filled": {func(p *corev1.Pod) { p.Spec.Containers[1].Image = "auto" }, "", ""},
		"an owner that is not there":   {func(p *corev1.Pod) { p.OwnerReferences = controller("ReplicaSet", "apps/v1", "gone") }, "", "1.27.0"},
		"an owner of no kind":          {func(p *corev1.Pod) { p.OwnerReferences = controller("", "", "") }, "", "1.27.0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod("x", "", "1.27.0", nil)
			tt.change(p)
			w := newWorld(t, namespace(istioSystem), namespace("shop"), istiod("default", "1.27.0", 2), injector("default", "root"), p)
			s := observed(t, w)
			if len(s.Pods) != 1 || s.Pods[0].Revision != tt.rev || s.Pods[0].Version != tt.version {
				t.Errorf("got %s, want revision %q version %q", fmt.Sprint(s.Pods), tt.rev, tt.version)
			}
			questions(t, w, s)
		})
	}
}
