package mesh

import (
	"fmt"
	"slices"
)

// Orphans lists, sorted, everything that relies on what is not there: pods on a
// revision without a ready control plane, namespaces that would be injected by
// such a revision or that ask for injection and get none, pods that two revisions
// would inject, and tags, validators and labels that point to nothing.
//
// It is the promise of an upgrade in one question: empty after every step.
func (s Snapshot) Orphans() []string {
	serves := map[string]bool{}
	for _, c := range s.ControlPlanes {
		serves[c.Revision] = serves[c.Revision] || c.Ready > 0
	}
	out := s.orphanPods(serves)
	out = append(out, s.orphanPointers(serves)...)
	out = append(out, s.orphanNamespaces(serves)...)
	out = append(out, s.orphanTemplates(serves)...)
	slices.Sort(out)
	return slices.Compact(out)
}

func (s Snapshot) orphanPods(serves map[string]bool) []string {
	var out []string
	for _, p := range s.Pods {
		if p.Revision != "" && !p.Leaving && !serves[p.Revision] {
			out = append(out, fmt.Sprintf("pod %s/%s: runs on revision %s, which is not ready", p.Namespace, p.Name, p.Revision))
		}
	}
	return out
}

// orphanPointers are the webhooks and Services that lead to nothing. A failing
// webhook without an endpoint blocks what it watches (R§5).
func (s Snapshot) orphanPointers(serves map[string]bool) []string {
	var out []string
	for _, in := range s.Injectors {
		if !serves[in.Revision] && !in.IsOff() {
			out = append(out, fmt.Sprintf("injector %s: calls revision %s, which is not ready", in.Name, in.Revision))
		}
	}
	for _, v := range s.Validators {
		if !serves[v.Revision] {
			out = append(out, fmt.Sprintf("validator %s: calls revision %s, which is not ready", v.Name, v.Revision))
		}
	}
	for _, t := range s.TagServices {
		if !serves[t.Revision] {
			out = append(out, fmt.Sprintf("service %s: selects revision %s, which is not ready", t.Name, t.Revision))
		}
	}
	return out
}

func (s Snapshot) orphanNamespaces(serves map[string]bool) []string {
	var out []string
	for _, n := range s.Namespaces {
		i := s.Injection(n.Labels, nil)
		switch {
		case i.Conflict:
			out = append(out, fmt.Sprintf("namespace %s: its pods are injected by different revisions, by %v", n.Name, i.Injectors))
		case i.None() && n.wantsInjection():
			out = append(out, fmt.Sprintf("namespace %s: its labels ask for injection and nothing answers", n.Name))
		case !i.None() && !serves[i.Revision]:
			out = append(out, fmt.Sprintf("namespace %s: injected by revision %s, which is not ready", n.Name, i.Revision))
		}
	}
	return out
}

// wantsInjection says whether the namespace's labels ask for a sidecar (R§1.2):
// istio-injection decides whenever it is there.
func (n Namespace) wantsInjection() bool {
	if v, ok := n.Labels[InjectionLabel]; ok {
		return v == "enabled"
	}
	return n.Labels[RevLabel] != ""
}

func (s Snapshot) orphanTemplates(serves map[string]bool) []string {
	var out []string
	for _, w := range s.Workloads {
		i := s.InjectionOf(w)
		switch {
		case i.Conflict:
			out = append(out, fmt.Sprintf("workload %s: its pods are injected by different revisions, by %v", w.Ref, i.Injectors))
		case i.None() && s.pinned(w) && s.Resolve(w.TemplateLabels[RevLabel]) == "":
			out = append(out, fmt.Sprintf("workload %s: its label %s names %q, which is nothing", w.Ref, RevLabel, w.TemplateLabels[RevLabel]))
		case !i.None() && !serves[i.Revision]:
			out = append(out, fmt.Sprintf("workload %s: injected by revision %s, which is not ready", w.Ref, i.Revision))
		}
	}
	return out
}

// pinned says whether the workload's own label decides which revision injects
// it: only where its namespace has no say (R§1.2).
func (s Snapshot) pinned(w Workload) bool {
	ns, _ := s.Namespace(w.Namespace)
	return !ns.Labelled() && !w.HostNetwork && w.TemplateLabels[RevLabel] != "" && w.TemplateLabels[InjectLabel] != "false"
}
