package cluster

import (
	"context"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/mesh"
)

type mwc = admissionv1.MutatingWebhookConfiguration

// ownInjector returns a revision's own injector, never a tag's, nil if there is none.
func (w *Writer) ownInjector(ctx context.Context, rev string) (*mwc, error) {
	return w.injector(ctx, mesh.RevLabel+"="+rev+",!"+mesh.TagLabel)
}

// tagInjector returns a tag's injector, nil if there is none.
func (w *Writer) tagInjector(ctx context.Context, tag string) (*mwc, error) {
	return w.injector(ctx, mesh.TagLabel+"="+tag)
}

func (w *Writer) injector(ctx context.Context, selector string) (*mwc, error) {
	list, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, asking("list", "mutatingwebhookconfigurations", err)
	}
	for i := range list.Items {
		if isInjector(list.Items[i]) {
			return &list.Items[i], nil
		}
	}
	return nil, nil //nolint:nilnil // none is an answer
}

// updateInjector changes an injector in one update, against the newest state: a
// patch would replace the whole list of entries, with what istiod wrote into it.
// change returns whether there is anything to do.
func (w *Writer) updateInjector(ctx context.Context, name string, change func(*mwc) bool) error {
	api := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		c, err := api.Get(ctx, name, reading())
		if err != nil {
			return asking("get", "mutatingwebhookconfigurations "+name, err)
		}
		if !change(c) {
			return nil
		}
		_, err = api.Update(ctx, c, updating())
		return err
	})
	if err != nil {
		return fmt.Errorf("changing injector %s: %w", name, err)
	}
	return nil
}

// bundled waits until every entry of the injector has a CA bundle: without one,
// pods that match it cannot be created (R§1.4).
func (w *Writer) bundled(ctx context.Context, name string) error {
	api := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	src := source[*admissionv1.MutatingWebhookConfigurationList]{
		what: "mutatingwebhookconfigurations", of: w.Kube, opts: named(name), list: api.List, watch: api.Watch,
	}
	return await(ctx, "the CA bundle of injector "+name, src, &mwc{}, func(list []*mwc) (bool, string, error) {
		c, ok := only(list, name)
		if !ok {
			return false, "there is no such injector", nil
		}
		for _, h := range c.Webhooks {
			if len(h.ClientConfig.CABundle) == 0 {
				return false, "its entry " + h.Name + " has none", nil
			}
		}
		return len(c.Webhooks) > 0, "it has no entries", nil
	})
}

// entry is the first of the injector's own entries: all of them call one Service.
func entry(c *mwc) (admissionv1.WebhookClientConfig, bool) {
	for _, h := range c.Webhooks {
		if strings.HasSuffix(h.Name, injectorSuffix) {
			return h.ClientConfig, true
		}
	}
	return admissionv1.WebhookClientConfig{}, false
}

// switchedOff gives every entry selectors that match nothing, as istioctl does it (R§2.3).
func switchedOff(c *mwc) bool {
	if injectorOf(*c).IsOff() {
		return false
	}
	for i := range c.Webhooks {
		c.Webhooks[i].NamespaceSelector, c.Webhooks[i].ObjectSelector = never(), never()
	}
	return true
}

func never() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{mesh.Deactivated: "never-match"}}
}

// switchedOn gives every entry the selectors it had, and nothing else: the CA
// bundle is istiod's (R§14).
func switchedOn(in mesh.Injector) func(*mwc) bool {
	was := map[string]mesh.Webhook{}
	for _, h := range in.Webhooks {
		was[h.Name] = h
	}
	return func(c *mwc) bool {
		changed := false
		for i, h := range c.Webhooks {
			old, ok := was[h.Name]
			if !ok || equality.Semantic.DeepEqual(selectorOf(h.NamespaceSelector), old.NamespaceSelector) && equality.Semantic.DeepEqual(selectorOf(h.ObjectSelector), old.ObjectSelector) {
				continue
			}
			c.Webhooks[i].NamespaceSelector, c.Webhooks[i].ObjectSelector = labelSelector(old.NamespaceSelector), labelSelector(old.ObjectSelector)
			changed = true
		}
		return changed
	}
}
