package mesh

import "slices"

// The namespace for which Istio's charts leave the suffix off the names of
// cluster-wide objects (R§1.1).
const suffixless = "istio-system"

// Deactivated is the label that a switched-off injector's selectors ask for and
// that nothing has (R§2.3).
const Deactivated = "istio.io/deactivated"

// RevisionInjector is the injector that the istiod chart renders for a revision (R§1.1).
func RevisionInjector(revision, istioNamespace string) Injector {
	name := "istio-sidecar-injector"
	if revision != DefaultRevision {
		name += "-" + revision
	}
	return Injector{
		Name: suffixed(name, istioNamespace), Revision: revision, Owner: Owner{Kind: OwnerNone},
		Webhooks: entries(revision, istioNamespace+"/"+IstiodName(revision)),
	}
}

// TagInjector is the injector that the istiod chart renders for a tag: it calls the
// revision's own Service, never the tag's (R§1.1).
func TagInjector(tag, revision, istioNamespace string) Injector {
	return Injector{
		Name: suffixed("istio-revision-tag-"+tag, istioNamespace), Revision: revision, Tag: tag, Owner: Owner{Kind: OwnerNone},
		Webhooks: entries(tag, istioNamespace+"/"+IstiodName(revision)),
	}
}

// RevisionValidator is the validator that the istiod chart renders for a revision (R§5).
func RevisionValidator(revision, istioNamespace string) Validator {
	name := "istio-validator"
	if revision != DefaultRevision {
		name += "-" + revision
	}
	return Validator{
		Name: name + "-" + istioNamespace, Revision: revision, Service: istioNamespace + "/" + IstiodName(revision),
		FailurePolicy: "Fail", Owner: Owner{Kind: OwnerNone},
	}
}

// IstiodName is the name of a revision's Deployment and Service.
func IstiodName(revision string) string {
	if revision == DefaultRevision {
		return "istiod"
	}
	return "istiod-" + revision
}

// TagServiceName is the name of a tag's Service.
func TagServiceName(tag string) string { return "istiod-revision-tag-" + tag }

// Off returns the injector switched off, as istioctl does it: every entry asks
// for a label that nothing has (R§2.3).
func (i Injector) Off() Injector {
	never := Selector{MatchLabels: map[string]string{Deactivated: "never-match"}}
	off := i
	off.Webhooks = slices.Clone(i.Webhooks)
	for n := range off.Webhooks {
		off.Webhooks[n].NamespaceSelector, off.Webhooks[n].ObjectSelector = never, never
	}
	return off
}

// IsOff says whether every entry of the injector is switched off.
func (i Injector) IsOff() bool {
	return !slices.ContainsFunc(i.Webhooks, func(w Webhook) bool {
		return w.NamespaceSelector.MatchLabels[Deactivated] == "" && w.ObjectSelector.MatchLabels[Deactivated] == ""
	})
}

// AutoEntry is the entry that "enableNamespacesByDefault" adds to a default injector (R§1.1).
func AutoEntry(service string) Webhook {
	system := Requirement{Key: "kubernetes.io/metadata.name", Operator: "NotIn", Values: []string{
		"kube-system", "kube-public", "kube-node-lease", "local-path-storage",
	}}
	return Webhook{
		Name: "auto.sidecar-injector.istio.io", Service: service, CABundle: true,
		NamespaceSelector: all(absent(InjectionLabel), absent(RevLabel), system),
		ObjectSelector:    all(absent(InjectLabel), absent(RevLabel)),
	}
}

// entries are the webhooks of an injector that answers to a name; the
// default has two more (R§1.1).
func entries(name, service string) []Webhook {
	named := Requirement{Key: RevLabel, Operator: "In", Values: []string{name}}
	notOut := Requirement{Key: InjectLabel, Operator: "NotIn", Values: []string{"false"}}
	hooks := []Webhook{
		{Name: "rev.namespace.", NamespaceSelector: all(named, absent(InjectionLabel)), ObjectSelector: all(notOut)},
		{Name: "rev.object.", NamespaceSelector: all(absent(RevLabel), absent(InjectionLabel)), ObjectSelector: all(notOut, named)},
	}
	if name == DefaultTag { // the unrevisioned injector answers to this name too
		enabled := Requirement{Key: InjectionLabel, Operator: "In", Values: []string{"enabled"}}
		in := Requirement{Key: InjectLabel, Operator: "In", Values: []string{"true"}}
		hooks = append(hooks,
			Webhook{Name: "namespace.", NamespaceSelector: all(enabled), ObjectSelector: all(notOut)},
			Webhook{Name: "object.", NamespaceSelector: all(absent(InjectionLabel), absent(RevLabel)), ObjectSelector: all(in, absent(RevLabel))},
		)
	}
	for i := range hooks {
		hooks[i].Name += "sidecar-injector.istio.io"
		hooks[i].Service, hooks[i].CABundle = service, true
	}
	return hooks
}

func all(rs ...Requirement) Selector { return Selector{MatchExpressions: rs} }

func absent(key string) Requirement { return Requirement{Key: key, Operator: "DoesNotExist"} }

func suffixed(name, istioNamespace string) string {
	if istioNamespace == suffixless {
		return name
	}
	return name + "-" + istioNamespace
}
