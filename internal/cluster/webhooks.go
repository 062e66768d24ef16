package cluster

import (
	"context"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Entries of Istio's webhooks end like this (R§1.1, R§5).
const (
	injectorSuffix  = "sidecar-injector.istio.io"
	validatorSuffix = "validation.istio.io"
)

func (r *Reader) injectors(ctx context.Context, f *facts) error {
	client := r.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return each(ctx, "mutatingwebhookconfigurations", metav1.ListOptions{LabelSelector: mesh.RevLabel}, client.List, func(l *admissionv1.MutatingWebhookConfigurationList) {
		for _, m := range l.Items {
			if isInjector(m) {
				f.injectors = append(f.injectors, injectorOf(m))
			} else if tag := m.Labels[mesh.TagLabel]; tag != "" {
				f.claims = append(f.claims, mesh.Claim{Name: m.Name, Tag: tag, Revision: m.Labels[mesh.RevLabel]})
			}
		}
	})
}

func (r *Reader) validators(ctx context.Context, f *facts) error {
	client := r.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	return each(ctx, "validatingwebhookconfigurations", metav1.ListOptions{LabelSelector: mesh.RevLabel}, client.List, func(l *admissionv1.ValidatingWebhookConfigurationList) {
		for _, v := range l.Items {
			if isValidator(v) {
				f.validators = append(f.validators, validatorOf(v))
			}
		}
	})
}

// isInjector tells Istio's injectors from a mere claim: a configuration with the
// label and no entries of the injector injects nothing.
func isInjector(m admissionv1.MutatingWebhookConfiguration) bool {
	for _, w := range m.Webhooks {
		if strings.HasSuffix(w.Name, injectorSuffix) {
			return true
		}
	}
	return false
}

func isValidator(v admissionv1.ValidatingWebhookConfiguration) bool {
	for _, w := range v.Webhooks {
		if strings.HasSuffix(w.Name, validatorSuffix) {
			return true
		}
	}
	return false
}

func injectorOf(m admissionv1.MutatingWebhookConfiguration) mesh.Injector {
	in := mesh.Injector{Name: m.Name, Revision: m.Labels[mesh.RevLabel], Tag: m.Labels[mesh.TagLabel], Owner: ownerOf(&m)}
	for _, w := range m.Webhooks {
		if !strings.HasSuffix(w.Name, injectorSuffix) {
			continue
		}
		in.Webhooks = append(in.Webhooks, mesh.Webhook{
			Name: w.Name, Service: calls(w.ClientConfig), CABundle: len(w.ClientConfig.CABundle) > 0,
			NamespaceSelector: selectorOf(w.NamespaceSelector), ObjectSelector: selectorOf(w.ObjectSelector),
		})
	}
	return in
}

func validatorOf(v admissionv1.ValidatingWebhookConfiguration) mesh.Validator {
	out := mesh.Validator{Name: v.Name, Revision: v.Labels[mesh.RevLabel], Tag: v.Labels[mesh.TagLabel], Owner: ownerOf(&v)}
	for _, w := range v.Webhooks {
		if !strings.HasSuffix(w.Name, validatorSuffix) {
			continue
		}
		out.Service = calls(w.ClientConfig)
		if w.FailurePolicy != nil {
			out.FailurePolicy = string(*w.FailurePolicy)
		}
	}
	return out
}

// calls names what a webhook calls: a Service by namespace/name, else the URL.
func calls(c admissionv1.WebhookClientConfig) string {
	switch {
	case c.Service != nil:
		return c.Service.Namespace + "/" + c.Service.Name
	case c.URL != nil:
		return *c.URL
	}
	return ""
}

func selectorOf(s *metav1.LabelSelector) mesh.Selector {
	if s == nil {
		return mesh.Selector{}
	}
	out := mesh.Selector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, mesh.Requirement{Key: e.Key, Operator: string(e.Operator), Values: e.Values})
	}
	return out
}

// labelSelector is the inverse of selectorOf. The API server makes an absent
// selector an empty one, so that nothing is lost.
func labelSelector(s mesh.Selector) *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	return out
}
