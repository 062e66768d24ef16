package cluster

import (
	"context"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// injectorSuffix ends the name of every entry that injects (R§1.1).
const injectorSuffix = "sidecar-injector.istio.io"

func (r *Reader) injectors(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel})
	if err != nil {
		return listing("mutatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	for _, c := range list.Items {
		in := mesh.Injector{Name: c.Name, Revision: c.Labels[mesh.RevLabel], Tag: c.Labels[mesh.TagLabel], Owner: ownerOf(c.ObjectMeta)}
		for _, w := range c.Webhooks {
			if !strings.HasSuffix(w.Name, injectorSuffix) {
				continue
			}
			in.Webhooks = append(in.Webhooks, mesh.Webhook{
				Name: w.Name, Service: target(w.ClientConfig), CABundle: len(w.ClientConfig.CABundle) > 0,
				NamespaceSelector: selector(w.NamespaceSelector), ObjectSelector: selector(w.ObjectSelector),
			})
		}
		if len(in.Webhooks) > 0 {
			s.Injectors = append(s.Injectors, in)
		}
	}
	return nil
}

func (r *Reader) validators(ctx context.Context, s *mesh.Snapshot) error {
	list, err := r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel})
	if err != nil {
		return listing("validatingwebhookconfigurations.admissionregistration.k8s.io", err)
	}
	for _, c := range list.Items {
		if len(c.Webhooks) == 0 {
			continue
		}
		v := mesh.Validator{
			Name: c.Name, Revision: c.Labels[mesh.RevLabel], Tag: c.Labels[mesh.TagLabel],
			Service: target(c.Webhooks[0].ClientConfig), Owner: ownerOf(c.ObjectMeta),
		}
		if p := c.Webhooks[0].FailurePolicy; p != nil {
			v.FailurePolicy = string(*p)
		}
		s.Validators = append(s.Validators, v)
	}
	return nil
}

func target(c admissionv1.WebhookClientConfig) string {
	if c.Service != nil {
		return c.Service.Namespace + "/" + c.Service.Name
	}
	if c.URL != nil {
		return *c.URL
	}
	return ""
}

func selector(s *metav1.LabelSelector) mesh.Selector {
	if s == nil {
		return mesh.Selector{}
	}
	out := mesh.Selector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, mesh.Requirement{Key: e.Key, Operator: string(e.Operator), Values: e.Values})
	}
	return out
}

// labelSelector is the inverse of selector.
func labelSelector(s mesh.Selector) *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	return out
}
