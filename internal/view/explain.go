package view

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/explain"
	"github.com/serin-mesh/serin/internal/mesh"
)

// few is how many names of a list people are shown; the rest is counted.
const few = 5

// Explain writes who would inject a thing and why, what it runs, what it waits
// for and what moves with it. Wide shows the terms of every webhook, also of
// those that do not match.
func Explain(w io.Writer, a explain.Answer, f Format) error {
	if f == JSON || f == YAML {
		return Encode(w, f, a)
	}
	p := &printer{w: w}
	p.f("%s\n\n", a.Subject)
	t := &table{gap: "  ", max: []int{12, width - 14}}
	next := a.Next
	if a.Tag != "" && a.Tag != a.Next && a.Subject.Kind != explain.Tag {
		next += ", through tag " + a.Tag
	}
	t.add(nextWord(a.Subject.Kind), next)
	rows(t, "because", a.Because)
	rows(t, "runs", explainedRuns(a))
	for i, wait := range a.Waits {
		t.add(first(i, "waits for"), wait.For)
		if wait.Remedy != "" {
			t.add(" ", "  remedy: "+wait.Remedy)
		}
	}
	if len(a.Waits) == 0 {
		t.add("waits for", "nothing")
	}
	for i, m := range a.Along {
		t.add(first(i, "with it"), "when "+m.When+": "+together(m))
	}
	t.print(p)
	explainedInjectors(p, a, f)
	explainedServices(p, a)
	return p.err
}

// nextWord says what the revision is of the thing.
func nextWord(k explain.Kind) string {
	switch k {
	case explain.Tag:
		return "leads to"
	case explain.Gateway:
		return "deployed by"
	case explain.Pod, explain.Workload, explain.Namespace:
	}
	return "next pod"
}

func rows(t *table, head string, lines []string) {
	for i, l := range lines {
		t.add(first(i, head), l)
	}
}

// first is the heading of the first row; a blank is not an empty cell.
func first(i int, head string) string {
	if i == 0 {
		return head
	}
	return " "
}

func explainedRuns(a explain.Answer) []string {
	if len(a.Runs) == 0 && a.Subject.Kind != explain.Workload {
		return []string{"no pods"}
	}
	out := []string{}
	for _, r := range a.Runs {
		line := mesh.Count(len(r.Pods), "pod") + " without a proxy"
		if r.Revision != "" {
			line = strings.TrimSpace(fmt.Sprintf("%s on %s %s", mesh.Count(len(r.Pods), "pod"), r.Revision, r.Version)) + ", " + r.Sync
		}
		if r.Istiod != "" {
			line += " with " + r.Istiod
		}
		out = append(out, line)
	}
	if a.ProxiesUnknown != "" {
		out = append(out, "proxies unknown: "+a.ProxiesUnknown)
	}
	return out
}

// together says what moves, the kinds that are there only.
func together(m explain.Along) string {
	var parts []string
	for _, k := range []struct {
		noun  string
		names []string
	}{{"namespace", m.Namespaces}, {"workload", m.Workloads}, {"gateway", m.Gateways}} {
		if len(k.names) > 0 {
			parts = append(parts, mesh.Count(len(k.names), k.noun)+" ("+named(k.names)+")")
		}
	}
	if len(m.Gateways) > 0 {
		parts[len(parts)-1] += ", which roll at once"
	}
	parts = append(parts, m.Also...)
	if len(parts) == 0 {
		return "nothing else"
	}
	return strings.Join(parts, "; ")
}

func named(names []string) string {
	if len(names) > few {
		return strings.Join(names[:few], ", ") + fmt.Sprintf(" and %d more", len(names)-few)
	}
	return strings.Join(names, ", ")
}

func explainedInjectors(p *printer, a explain.Answer, f Format) {
	if len(a.Injectors) == 0 {
		return
	}
	p.f("\n")
	t := newTable("INJECTOR", "REVISION", "MATCHES", "WHY")
	t.gap, t.max = "  ", []int{0, 0, 0, 52}
	if f == Wide {
		t = newTable("INJECTOR", "REVISION", "TAG", "ENTRY", "MATCHES", "TERM", "HAS", "HOLDS")
	}
	for _, in := range a.Injectors {
		if f == Wide {
			for _, e := range in.Entries {
				for _, term := range e.Terms {
					t.add(in.Name, in.Revision, in.Tag, e.Name, yes(e.Matches), term.Of+": "+term.Term.Term, term.Has, yes(term.Holds))
				}
			}
			continue
		}
		t.add(in.Name, in.Revision, yes(in.Matches), whyOf(in))
	}
	t.print(p)
}

// whyOf is, of an injector that matches, the entry that does; of one that does
// not, what each entry misses first.
func whyOf(in explain.Injector) string {
	if in.Off {
		return "switched off"
	}
	var missing []string
	for _, e := range in.Entries {
		short := strings.TrimSuffix(e.Name, ".sidecar-injector.istio.io")
		if e.Matches {
			return short
		}
		for _, t := range e.Terms {
			if t.Holds {
				continue
			}
			line := t.Of + " has " + t.Has
			if !slices.Contains(missing, line) {
				missing = append(missing, line)
			}
			break
		}
	}
	return strings.Join(missing, "; ")
}

func explainedServices(p *printer, a explain.Answer) {
	if len(a.Services) == 0 {
		return
	}
	p.f("\n")
	t := newTable("SERVICE", "REVISION", "VERSION", "PODS", "WORKLOADS")
	for _, s := range a.Services {
		for _, b := range s.Backends {
			t.add(s.Name, b.Revision, b.Version, strconv.Itoa(b.Pods), named(b.Workloads))
		}
	}
	t.print(p)
}

func yes(b bool) string { //nolint:revive // a cell's word
	if b {
		return "yes"
	}
	return "no"
}
