package view

import (
	"fmt"
	"slices"
	"strings"
)

// In is the status of one namespace; control planes, tags and the run stay. An
// empty name is all of it.
func (s Status) In(name string) Status {
	if name == "" {
		return s
	}
	s.Namespaces = only(s.Namespaces, func(n NamespaceStatus) bool { return n.Namespace == name })
	s.Workloads = only(s.Workloads, func(w WorkloadStatus) bool { return w.Namespace == name })
	s.Frozen = slices.DeleteFunc(slices.Clone(s.Frozen), func(g FrozenStatus) bool { return g.Namespace != name })
	s.Telemetries = slices.DeleteFunc(slices.Clone(s.Telemetries), func(t TelemetryStatus) bool { return t.Namespace != name })
	s.Proxies = only(s.Proxies, func(p ProxyStatus) bool { return p.Namespace == name })
	return s
}

func only[T any](all []T, keep func(T) bool) []T {
	out := []T{}
	for _, v := range all {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

// Line is the status on one line, for a pipe that watches it.
func (s Status) Line() string {
	parts := make([]string, 0, len(s.Revisions)+1)
	for _, r := range s.Revisions {
		text := fmt.Sprintf("%s %s %s injected:%d", r.Revision, r.Version, ratio(r.Ready, r.Replicas), r.Pods)
		if len(r.Tags) > 0 {
			text += " tags:" + strings.Join(r.Tags, ",")
		}
		parts = append(parts, text)
	}
	for _, g := range s.Frozen {
		parts = append(parts, "gateway "+g.Namespace+"/"+g.Name+" frozen")
	}
	for _, t := range s.Telemetries {
		if t.Left {
			parts = append(parts, "telemetry "+t.Namespace+"/"+t.Name+" left")
		}
	}
	if s.Run != nil {
		words := []string{fmt.Sprintf("upgrade %s %s %d/%d %s", s.Run.ID, s.Run.Phase, s.Run.Step, s.Run.Steps, s.Run.What)}
		for _, g := range s.Run.Gates {
			words = append(words, fmt.Sprintf("%s:%s", g.Gate, g.State))
		}
		if s.Run.Cause != "" {
			words = append(words, "because "+s.Run.Cause)
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, "; ")
}
