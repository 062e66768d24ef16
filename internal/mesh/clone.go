package mesh

import (
	"maps"
	"slices"
)

// Clone returns a deep copy, so that a simulation cannot change what it began with.
func (s Snapshot) Clone() Snapshot {
	c := s
	c.ControlPlanes = slices.Clone(s.ControlPlanes)
	c.Injectors = each(s.Injectors, Injector.clone)
	c.Validators = slices.Clone(s.Validators)
	c.TagServices = slices.Clone(s.TagServices)
	c.Namespaces = each(s.Namespaces, func(n Namespace) Namespace { n.Labels = maps.Clone(n.Labels); return n })
	c.Workloads = each(s.Workloads, Workload.clone)
	c.Pods = each(s.Pods, func(p Pod) Pod { p.Labels = maps.Clone(p.Labels); return p })
	c.Releases = each(s.Releases, func(r Release) Release { r.Values = cloneValues(r.Values); return r })
	c.PinnedObjects = slices.Clone(s.PinnedObjects)
	c.ManagedGateways = slices.Clone(s.ManagedGateways)
	c.Singletons = slices.Clone(s.Singletons)
	c.Claims = slices.Clone(s.Claims)
	c.Telemetries = slices.Clone(s.Telemetries)
	c.Unsupported = slices.Clone(s.Unsupported)
	c.CRDs = each(s.CRDs, func(d CRD) CRD {
		d.StoredVersions, d.ServedVersions = slices.Clone(d.StoredVersions), slices.Clone(d.ServedVersions)
		return d
	})
	c.RoutedServices = slices.Clone(s.RoutedServices)
	c.Edge = s.Edge.clone()
	c.Survey = s.Survey.clone()
	return c
}

func (i Injector) clone() Injector {
	i.Webhooks = each(i.Webhooks, func(w Webhook) Webhook {
		w.NamespaceSelector, w.ObjectSelector = w.NamespaceSelector.clone(), w.ObjectSelector.clone()
		return w
	})
	return i
}

func (s Selector) clone() Selector {
	return Selector{
		MatchLabels: maps.Clone(s.MatchLabels),
		MatchExpressions: each(s.MatchExpressions, func(r Requirement) Requirement {
			r.Values = slices.Clone(r.Values)
			return r
		}),
	}
}

func (w Workload) clone() Workload {
	w.TemplateLabels, w.TemplateAnnotations = maps.Clone(w.TemplateLabels), maps.Clone(w.TemplateAnnotations)
	w.Services = slices.Clone(w.Services)
	if w.Budget != nil {
		b := *w.Budget
		w.Budget = &b
	}
	if w.Proxy != nil {
		p := *w.Proxy
		w.Proxy = &p
	}
	return w
}

func each[T any](in []T, f func(T) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// cloneValues copies Helm values: maps and lists of what JSON knows.
func cloneValues(in map[string]any) map[string]any {
	if in == nil {
		return nil
	}
	out := make(map[string]any, len(in))
	for k, v := range in {
		out[k] = cloneValue(v)
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return cloneValues(v)
	case []any:
		return each(v, cloneValue)
	case []string:
		return slices.Clone(v)
	}
	return v
}
