package mesh

import "slices"

// Injection is what happens to a pod when it is created: which revision's
// injector takes it, if any.
type Injection struct {
	Revision  string   `json:"revision,omitempty"`  // empty: nobody injects it, or Conflict
	Tag       string   `json:"tag,omitempty"`       // the tag it goes through; empty when the revision's own injector takes it
	Injectors []string `json:"injectors,omitempty"` // the names of all that match
	Conflict  bool     `json:"conflict,omitempty"`  // injectors of different revisions match: the one called last wins (R§1.2)
}

// None says whether nobody injects the pod.
func (i Injection) None() bool { return len(i.Injectors) == 0 }

// String returns the revision, with the tag that led to it, or what is wrong.
func (i Injection) String() string {
	switch {
	case i.None():
		return "none"
	case i.Conflict:
		return "conflict"
	case i.Tag != "" && i.Tag != i.Revision:
		return i.Revision + " (tag " + i.Tag + ")"
	}
	return i.Revision
}

// Matches says whether a pod with these labels, in a namespace with those, is
// sent to the webhook. Selectors that istioctl deactivated match nothing by themselves.
func (w Webhook) Matches(nsLabels, podLabels map[string]string) bool {
	return w.NamespaceSelector.Matches(nsLabels) && w.ObjectSelector.Matches(podLabels)
}

// InjectorFor returns the injectors that the API server would call for a pod, by
// evaluating the live selectors (R§1.2): labels alone do not say it. An injector
// is returned once, however many of its entries match.
func (s Snapshot) InjectorFor(nsLabels, podLabels map[string]string) []Injector {
	var matches []Injector
	for _, in := range s.Injectors {
		if slices.ContainsFunc(in.Webhooks, func(w Webhook) bool { return w.Matches(nsLabels, podLabels) }) {
			matches = append(matches, in)
		}
	}
	return matches
}

// Injection says what the injectors would make of a pod.
func (s Snapshot) Injection(nsLabels, podLabels map[string]string) Injection {
	var i Injection
	for _, in := range s.InjectorFor(nsLabels, podLabels) {
		if len(i.Injectors) > 0 && in.Revision != i.Revision {
			i.Conflict = true
		}
		if len(i.Injectors) == 0 || i.Tag == "" {
			i.Tag = in.Tag
		}
		i.Revision = in.Revision
		i.Injectors = append(i.Injectors, in.Name)
	}
	if i.Conflict {
		i.Revision, i.Tag = "", ""
	}
	return i
}

// InjectionOf says what the injectors would make of the workload's next pod,
// with the reasons for which a called injector does nothing (R§1.3).
func (s Snapshot) InjectionOf(w Workload) Injection {
	if w.HostNetwork || systemNamespace(w.Namespace) || w.optedOut() {
		return Injection{}
	}
	ns, _ := s.Namespace(w.Namespace)
	return s.Injection(ns.Labels, w.TemplateLabels)
}

// optedOut says whether the template's annotation refuses injection. The webhooks
// do not see it; istiod does, where there is no label of that name (R§1.3).
func (w Workload) optedOut() bool {
	_, labelled := w.TemplateLabels[InjectLabel]
	return !labelled && w.TemplateAnnotations[InjectLabel] == "false"
}

// systemNamespace names the namespaces in which istiod never injects (R§1.3).
func systemNamespace(name string) bool {
	return slices.Contains([]string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}, name)
}

// Labelled says whether the namespace's own labels decide who injects its pods.
// Any value counts: "istio-injection: disabled" decides too (R§1.2).
func (n Namespace) Labelled() bool {
	_, injection := n.Labels[InjectionLabel]
	_, rev := n.Labels[RevLabel]
	return injection || rev
}
