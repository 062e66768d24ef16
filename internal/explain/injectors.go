package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Injector is a MutatingWebhookConfiguration, and whether the API server would call it.
type Injector struct {
	Name     string  `json:"name"`
	Revision string  `json:"revision"`
	Tag      string  `json:"tag,omitempty"`
	Matches  bool    `json:"matches"`
	Off      bool    `json:"off,omitempty"` // switched off: a tag stands in for it
	Entries  []Entry `json:"entries"`
}

// Entry is one webhook of an injector.
type Entry struct {
	Name    string `json:"name"`
	Matches bool   `json:"matches"`
	Terms   []Term `json:"terms"`
}

// Term is one condition, of the namespace's labels or of the pod's.
type Term struct {
	Of string `json:"of"` // namespace, pod
	mesh.Term
}

// injected evaluates every injector for the workload's next pod, and says what
// decided. What istiod itself refuses (R§1.3) comes first: then nobody injects it,
// whoever is called.
func (a *Answer) injected(s mesh.Snapshot, ns mesh.Namespace, w mesh.Workload) {
	for _, in := range s.Injectors {
		a.Injectors = append(a.Injectors, evaluate(in, ns.Labels, w.TemplateLabels))
	}
	i := s.InjectionOf(w)
	a.Tag = i.Tag
	switch {
	case i.Conflict:
		a.Next = "conflict"
		a.Because = append(a.Because, "injectors of different revisions match, and the one called last wins: "+strings.Join(i.Injectors, ", "))
	case !i.None():
		a.Next = i.Revision
		a.Because = append(a.Because, a.deciding()...)
	default:
		a.Because = append(a.Because, whyNot(s, ns, w)...)
	}
}

func evaluate(in mesh.Injector, namespace, pod map[string]string) Injector {
	out := Injector{Name: in.Name, Revision: in.Revision, Tag: in.Tag, Off: in.IsOff(), Entries: []Entry{}}
	for _, hook := range in.Webhooks {
		e := Entry{Name: hook.Name, Matches: true, Terms: []Term{}}
		for _, part := range []struct {
			of    string
			terms []mesh.Term
		}{{"namespace", hook.NamespaceSelector.Terms(namespace)}, {"pod", hook.ObjectSelector.Terms(pod)}} {
			for _, t := range part.terms {
				e.Terms = append(e.Terms, Term{part.of, t})
				e.Matches = e.Matches && t.Holds
			}
		}
		out.Matches = out.Matches || e.Matches
		out.Entries = append(out.Entries, e)
	}
	return out
}

// deciding are the labels by which the entries that match do: a term that asks for
// the absence of something decides nothing by itself.
func (a *Answer) deciding() []string {
	var out []string
	for _, in := range a.Injectors {
		for _, e := range in.Entries {
			if !e.Matches {
				continue
			}
			for _, t := range e.Terms {
				if strings.HasPrefix(t.Has, "no ") {
					continue
				}
				if line := fmt.Sprintf("the %s's label %s", t.Of, t.Has); !slices.Contains(out, line) {
					out = append(out, line)
				}
			}
		}
	}
	if len(out) == 0 {
		return []string{"an injector takes pods that ask for nothing, in namespaces that say nothing"}
	}
	return out
}

// whyNot says what keeps the pod from being injected: what istiod refuses though
// it is called, else which label leads nowhere.
func whyNot(s mesh.Snapshot, ns mesh.Namespace, w mesh.Workload) []string {
	if called := s.Injection(ns.Labels, w.TemplateLabels); !called.None() {
		return []string{refusedByIstiod(w)}
	}
	injection, labelled := ns.Labels[mesh.InjectionLabel]
	switch inject := w.TemplateLabels[mesh.InjectLabel]; {
	case inject == "false":
		return []string{"the pod's label " + mesh.InjectLabel + "=false refuses every injector"}
	case labelled && injection != "enabled":
		return []string{"the namespace's label " + mesh.InjectionLabel + "=" + injection + " keeps every injector away, whatever the pod says"}
	case labelled:
		return []string{"the namespace's label " + mesh.InjectionLabel + "=enabled asks for the default, and there is no injector for it"}
	default:
		return []string{unanswered(s, ns, w, inject)}
	}
}

// unanswered is which label names a revision or tag that does not answer: the
// namespace's, where it has one, hides the pod's.
func unanswered(s mesh.Snapshot, ns mesh.Namespace, w mesh.Workload, inject string) string {
	whose, value, named := "namespace", "", false
	if value, named = ns.Labels[mesh.RevLabel]; !named {
		whose = "pod"
		value, named = w.TemplateLabels[mesh.RevLabel]
	}
	switch {
	case named && s.Resolve(value) == "":
		return fmt.Sprintf("the %s's label %s=%s names no revision and no tag; there are %s", whose, mesh.RevLabel, value, names(s))
	case named:
		return fmt.Sprintf("the %s's label %s=%s names %s, of which no injector answers", whose, mesh.RevLabel, value, value)
	case inject == "true":
		return "the pod asks for the default, and there is no injector for it"
	}
	return "neither the namespace nor the pod asks for injection"
}

// refusedByIstiod is why an injector that is called does nothing (R§1.3).
func refusedByIstiod(w mesh.Workload) string {
	switch {
	case w.HostNetwork:
		return "it is on the host's network: istiod never injects there, though a webhook matches"
	case w.TemplateAnnotations[mesh.InjectLabel] == "false":
		return "the pod's annotation " + mesh.InjectLabel + "=false: istiod obeys it, though a webhook matches"
	}
	return "istiod never injects in namespace " + w.Namespace + ", though a webhook matches"
}

// names are the revisions and tags that a label may name.
func names(s mesh.Snapshot) string {
	all := map[string]bool{}
	for _, r := range s.Revisions() {
		all[r] = true
	}
	for _, t := range s.Tags() {
		all[t.Name] = true
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(all)), ", ")
}
