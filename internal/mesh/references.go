package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// References lists what still relies on a revision or names it, without the
// revision's own objects: while there is any, the revision must not go (S-54).
// A label that names a tag is not a reference to the revision of the same name.
func (s Snapshot) References(revision string) []Object {
	out := s.pointerReferences(revision)
	out = append(out, s.labelReferences(revision)...)
	out = append(out, s.releaseReferences(revision)...)
	for _, p := range s.Pods {
		if p.Revision == revision {
			note := "its proxy is connected to it"
			if p.Leaving {
				note = "its proxy is connected to it until it has gone"
			}
			out = append(out, Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, Revision: revision, Note: note})
		}
	}
	for _, o := range s.PinnedObjects {
		if o.Revision == revision {
			o.Note = "only this revision reads it"
			out = append(out, o)
		}
	}
	for _, g := range s.ManagedGateways {
		if s.GatewayRevision(g) == revision {
			g.Note = "this revision deploys it"
			out = append(out, g)
		}
	}
	for _, o := range s.Unsupported {
		if o.Revision == revision {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Leaving says whether an object is a pod that is being deleted: it goes by itself.
func (s Snapshot) Leaving(o Object) bool {
	return o.Kind == "Pod" && slices.ContainsFunc(s.Pods, func(p Pod) bool { return p.Leaving && p.Namespace == o.Namespace && p.Name == o.Name })
}

// GatewayRevision says which revision deploys a managed Gateway: by its own
// label, else its namespace's, else the default (R§9.3).
func (s Snapshot) GatewayRevision(g Object) string {
	label := s.gatewayLabel(g.Revision, g.Namespace)
	if by := s.claimants(label); len(by) == 1 {
		return by[0]
	}
	return s.Resolve(label)
}

// gatewayLabel is what a Gateway of the Gateway API follows: a revision or a tag.
func (s Snapshot) gatewayLabel(own, namespace string) string {
	ns, _ := s.Namespace(namespace)
	return cmp.Or(own, ns.Labels[RevLabel], DefaultTag)
}

// pointerReferences are the tags, tag Services and validators that lead to the
// revision, and other revisions' injectors that call its Service.
func (s Snapshot) pointerReferences(revision string) []Object {
	host := s.host(revision)
	out := s.injectorReferences(revision, host)
	for _, t := range s.TagServices {
		if t.Revision == revision {
			out = append(out, Object{Kind: "Service", Namespace: s.IstioNamespace, Name: t.Name, Revision: revision, Note: "tag " + t.Tag + " selects its pods"})
		}
	}
	for _, v := range s.Validators {
		own := v.Revision == revision && v.tag() == ""
		if !own && (v.Revision == revision || host != "" && v.Service == host) {
			out = append(out, Object{Kind: "ValidatingWebhookConfiguration", Name: v.Name, Revision: revision, Note: "calls its Service"})
		}
	}
	return out
}

func (s Snapshot) injectorReferences(revision, host string) []Object {
	var out []Object
	for _, in := range s.Injectors {
		call := slices.ContainsFunc(in.Webhooks, func(w Webhook) bool { return host != "" && w.Service == host })
		switch {
		case in.Tag != "" && (in.Revision == revision || call):
			out = append(out, Object{Kind: "Tag", Name: in.Tag, Revision: revision, Note: "its injector " + in.Name + " calls it"})
		case in.Revision != revision && call:
			out = append(out, Object{Kind: "MutatingWebhookConfiguration", Name: in.Name, Revision: revision, Note: "calls its Service"})
		}
	}
	return out
}

// host is the Service of the revision's istiod, as webhooks name it.
func (s Snapshot) host(revision string) string {
	c, ok := s.ControlPlane(revision)
	if !ok {
		return ""
	}
	return c.Namespace + "/" + c.Name
}

// labelReferences are the namespaces and pod templates that the revision would
// inject, or whose label names it and nothing else.
func (s Snapshot) labelReferences(revision string) []Object {
	var out []Object
	for _, n := range s.Namespaces {
		injected := slices.ContainsFunc(s.InjectorFor(n.Labels, nil), func(i Injector) bool { return i.Revision == revision })
		if injected || s.names(n.Labels[RevLabel], revision) {
			out = append(out, Object{Kind: "Namespace", Name: n.Name, Revision: revision, Note: "its labels lead to it"})
		}
	}
	for _, w := range s.Workloads {
		ns, _ := s.Namespace(w.Namespace)
		own := !ns.Labelled() && slices.ContainsFunc(s.InjectionOf(w).Injectors, func(name string) bool {
			return slices.ContainsFunc(s.Injectors, func(i Injector) bool { return i.Name == name && i.Revision == revision })
		})
		if own || s.names(w.TemplateLabels[RevLabel], revision) {
			out = append(out, Object{Kind: string(w.Kind), Namespace: w.Namespace, Name: w.Name, Revision: revision, Note: "its pods' labels lead to it"})
		}
	}
	return out
}

// names says whether a label's value names the revision: a tag of that name hides it.
func (s Snapshot) names(label, revision string) bool {
	return label == revision && s.Resolve(label) == revision
}

// releaseReferences are the Helm releases, other than the revision's own, whose
// values name it: the next "helm upgrade" of them would bring the name back.
func (s Snapshot) releaseReferences(revision string) []Object {
	own := ""
	if c, ok := s.ControlPlane(revision); ok {
		own = c.Owner.Name
	}
	var out []Object
	for _, r := range s.Releases {
		if r.Namespace+"/"+r.Name == own {
			continue
		}
		if note := s.namedBy(r, revision); note != "" {
			out = append(out, Object{Kind: "HelmRelease", Namespace: r.Namespace, Name: r.Name, Revision: revision, Note: note})
		}
	}
	return out
}

func (s Snapshot) namedBy(r Release, revision string) string {
	if r.Chart == "base" {
		if r.DefaultRevisionValue() == revision {
			return "its value defaultRevision names it"
		}
		return ""
	}
	if v, ok := r.Values["revision"].(string); ok && r.Chart != "istiod" && s.names(v, revision) {
		return "its value revision names it"
	}
	host := IstiodName(revision) + "." + s.IstioNamespace + "."
	if path := findString(r.Values, "", func(v string) bool { return v == host || strings.HasPrefix(v, host) }); path != "" {
		return "its value " + path + " names its Service"
	}
	return ""
}

// findString returns the path of the first string in the values that f takes.
func findString(v any, path string, f func(string) bool) string {
	switch v := v.(type) {
	case string:
		if f(v) {
			return path
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if p := findString(v[k], strings.TrimPrefix(path+"."+k, "."), f); p != "" {
				return p
			}
		}
	case []any:
		for _, e := range v {
			if p := findString(e, path, f); p != "" {
				return p
			}
		}
	}
	return ""
}
