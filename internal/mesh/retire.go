package mesh

import (
	"slices"
)

// Retirable says why the workload's pods may not be replaced one by one, each out
// of its endpoints before it goes (S-39, S-42): the first reason, empty where there
// is none. It is for what cannot have a pod more beside the old ones: one pod fewer
// serves meanwhile, but no request is sent to one that stops. What is not known is a
// reason.
func (s Snapshot) Retirable(w Workload) string {
	for _, fence := range []func(Workload) string{inOrder, dropped, nodePorts, s.evictable} {
		if why := fence(w); why != "" {
			return why
		}
	}
	return ""
}

// inOrder is S-42: a controller that makes a pod again under the template that is
// there, and others that serve meanwhile.
func inOrder(w Workload) string {
	switch {
	case w.Kind != KindStatefulSet && w.Kind != KindDaemonSet:
		return "it is a " + w.What() + ": only pods of a StatefulSet or a DaemonSet are made again where they were"
	case w.Template.MadeBy != "":
		return "it was made by " + w.Template.MadeBy + ", which may act on what becomes of its pods"
	case w.Strategy != "RollingUpdate":
		return "its strategy is " + w.Strategy + ": a pod that is made again may be of another template"
	case w.Paused || w.Partition > 0:
		return "its partition keeps pods on an old template"
	case w.Replicas < 2:
		return "it has one pod: whichever way that goes, nobody serves until it is there again"
	case !w.Settled:
		return "a rollout of it is under way"
	}
	return ""
}

// dropped is S-39: somebody sends it requests by endpoints, and drops those that are
// not ready. A headless Service beside that one changes nothing: whoever keeps a
// pod's own address keeps it in any restart.
func dropped(w Workload) string {
	if why := reached(Workload{TemplateAnnotations: w.TemplateAnnotations, TemplateLabels: w.TemplateLabels, Proxy: w.Proxy, Gated: w.Gated, Template: w.Template}); why != "" {
		return why
	}
	for _, e := range w.Exposed {
		if !e.Headless {
			return "service " + e.Service + " " + e.How
		}
	}
	if len(w.Listed()) == 0 {
		return "no Service with an address of its own sends it requests: its clients know its pods by name, and leaving the endpoints first tells them nothing"
	}
	return ""
}

// Listed are the workload's Services whose clients know ready endpoints only: not
// the headless ones, which may list what is not ready too.
func (w Workload) Listed() []string {
	return slices.DeleteFunc(slices.Clone(w.Services), func(name string) bool {
		return slices.ContainsFunc(w.Exposed, func(e Exposure) bool { return e.Headless && e.Service == name })
	})
}

// nodePorts are reached past every endpoint list.
func nodePorts(w Workload) string {
	if w.HostNetwork || w.Template.HostPorts {
		return "its pods use ports of their node, by which clients reach them without endpoints"
	}
	return ""
}

// evictable is S-38: the pod leaves by an eviction.
func (s Snapshot) evictable(w Workload) string {
	if s.Survey == nil || s.Survey.Selectors == nil {
		return "nobody has looked at what evicts its pods"
	}
	return s.budgeted(w)
}
