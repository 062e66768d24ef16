package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// callsNothing finds injectors and validators of revisions whose istiod is not
// there. A tag's and the default validator are the plan's to judge.
func callsNothing(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, in := range s.Injectors {
		if in.Tag != "" || in.IsOff() {
			continue
		}
		for _, w := range in.Webhooks {
			if why := dead(s, w.Service); why != "" {
				out = append(out, Finding{
					codeCallsNothing, Overridable, "injector " + in.Name, "it calls " + w.Service + ", " + why + ": pods that it matches cannot be made",
					"bring that control plane back, or delete what is left of it: kubectl delete mutatingwebhookconfiguration " + in.Name,
				})
				break // one entry says it
			}
		}
	}
	for _, v := range s.Validators {
		if v.Name == mesh.DefaultValidator || v.Tag != "" {
			continue
		}
		if why := dead(s, v.Service); why != "" {
			sev := Overridable
			if v.FailurePolicy == "Ignore" {
				sev = Warning
			}
			out = append(out, Finding{
				codeCallsNothing, sev, "validator " + v.Name, "it calls " + v.Service + ", " + why + ": Istio configuration of its revision cannot be changed",
				"bring that control plane back, or delete what is left of it: kubectl delete validatingwebhookconfiguration " + v.Name,
			})
		}
	}
	return out
}

// dead says why nothing answers at a webhook's address; empty where something may.
func dead(s mesh.Snapshot, service string) string {
	if service == "" || strings.Contains(service, "://") {
		return "" // outside of the cluster: nothing is known of it
	}
	for _, c := range s.ControlPlanes {
		if c.Namespace+"/"+c.Name == service {
			if c.Ready == 0 {
				return "whose istiod is not ready"
			}
			return ""
		}
	}
	ns, _, _ := strings.Cut(service, "/")
	if s.Survey != nil && ns == s.IstioNamespace && !slices.Contains(s.Survey.Services, service) {
		return "a Service that is not there"
	}
	return "of which there is no control plane"
}

// noBundle finds injectors that the API server cannot trust: its calls fail.
func noBundle(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, in := range s.Injectors {
		if in.IsOff() || !slices.ContainsFunc(in.Webhooks, func(w mesh.Webhook) bool { return !w.CABundle && !strings.Contains(w.Service, "://") }) {
			continue
		}
		out = append(out, Finding{
			codeNoBundle, Overridable, "injector " + in.Name, "it has no caBundle: pods that it matches cannot be made",
			"see why istiod of " + in.Revision + " does not fill it in: its log says so",
		})
	}
	return out
}

// overlap finds injectors of different revisions that would both take a pod with
// some labels, although no namespace has them today.
func overlap(s mesh.Snapshot, _ Question) []Finding {
	names := map[string]bool{mesh.DefaultRevision: true}
	for _, in := range s.Injectors {
		names[in.Revision] = true
		if in.Tag != "" {
			names[in.Tag] = true
		}
	}
	spaces := []map[string]string{{}, {mesh.InjectionLabel: "enabled"}}
	pods := []map[string]string{{}, {mesh.InjectLabel: "true"}}
	for name := range names {
		spaces = append(spaces, map[string]string{mesh.RevLabel: name})
		pods = append(pods, map[string]string{mesh.RevLabel: name})
	}
	said := map[string]bool{}
	var out []Finding
	for _, ns := range spaces {
		for _, pod := range pods {
			i := s.Injection(ns, pod)
			if key := strings.Join(i.Injectors, ", "); i.Conflict && !said[key] {
				said[key] = true
				out = append(out, Finding{
					codeOverlap, Warning, "injectors " + key, fmt.Sprintf("they are of different revisions and all take pods with some labels (namespace %v, pod %v, for one)", ns, pod),
					"switch the one off that should not: serin tag set default does it to the unrevisioned one",
				})
			}
		}
	}
	return out
}

// unvalidated says that nobody checks configuration that names no revision.
func unvalidated(s mesh.Snapshot, _ Question) []Finding {
	if _, ok := s.DefaultValidator(); ok || len(s.ControlPlanes) == 0 {
		return nil
	}
	return []Finding{{
		codeUnvalidated, Warning, "mesh", "it has no default validator: Istio configuration without the label " + mesh.RevLabel + " is not checked",
		"set defaultRevision of the base release, or a default tag",
	}}
}
