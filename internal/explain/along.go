package explain

import (
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// along are the workloads that move together, whatever moves them.
func along(s mesh.Snapshot, when string, with func(mesh.Workload) bool) Along {
	out := Along{When: when}
	for _, w := range s.Workloads {
		if with(w) && !s.InjectionOf(w).None() {
			out.Workloads = append(out.Workloads, w.String())
		}
	}
	return out
}

// withTag adds all that follows the tag by which the subject is led: moving it
// moves their next pods, and managed Gateways at once (R§9.3).
func (a *Answer) withTag(s mesh.Snapshot) {
	t, ok := s.Tag(a.Tag)
	if !ok {
		return
	}
	out := Along{When: "tag " + t.Name + " moves"}
	for _, n := range s.Namespaces {
		if s.Injection(n.Labels, nil).Tag == t.Name || n.Labels[mesh.RevLabel] == t.Name {
			out.Namespaces = append(out.Namespaces, n.Name)
		}
	}
	follows := followers(s, t.Name)
	for _, w := range s.Workloads {
		if follows[w.Ref] {
			out.Workloads = append(out.Workloads, w.String())
		}
	}
	for _, g := range s.ManagedGateways {
		if followsTag(s, g, t.Name) {
			out.Gateways = append(out.Gateways, g.Namespace+"/"+g.Name)
		}
	}
	if t.Name == mesh.DefaultTag {
		out.Also = append(out.Also, "the validator of all configuration", "what only the default revision does: Ingress status, the locks")
	}
	a.Along = append(a.Along, out)
}

// followers are the workloads whose next pod goes through the tag.
func followers(s mesh.Snapshot, tag string) map[mesh.Ref]bool {
	out := map[mesh.Ref]bool{}
	for _, w := range s.Workloads {
		if i := s.InjectionOf(w); i.Tag == tag {
			out[w.Ref] = true
		}
	}
	return out
}

// followsTag says whether a managed Gateway is led by the tag: by its own label,
// its namespace's, or as the default.
func followsTag(s mesh.Snapshot, g mesh.Object, tag string) bool {
	label := g.Revision
	if label == "" {
		ns, _ := s.Namespace(g.Namespace)
		label = ns.Labels[mesh.RevLabel]
	}
	if label == "" {
		label = mesh.DefaultTag
	}
	return label == tag
}

// workloads are those whose Services the answer is about.
func (a *Answer) workloads(s mesh.Snapshot) []mesh.Workload {
	follows := followers(s, a.Tag)
	var out []mesh.Workload
	for _, w := range s.Workloads {
		switch a.Subject.Kind {
		case Pod, Workload:
			if w.Ref != a.Subject.Workload {
				continue
			}
		case Namespace:
			if w.Namespace != a.Subject.Name {
				continue
			}
		case Tag:
			if !follows[w.Ref] {
				continue
			}
		case Gateway:
			continue
		}
		out = append(out, w)
	}
	return out
}

// services are the Services of these workloads behind which pods of different
// revisions or versions stand, those of other workloads included.
func services(s mesh.Snapshot, of []mesh.Workload) []Service {
	names := map[string]bool{}
	for _, w := range of {
		for _, svc := range w.Services {
			names[svc] = true
		}
	}
	var out []Service
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if b := backends(s, name); len(b) > 1 {
			out = append(out, Service{Name: name, Backends: b})
		}
	}
	return out
}

func backends(s mesh.Snapshot, service string) []Backend {
	by := map[[2]string]*Backend{}
	for _, w := range s.Workloads {
		if !slices.Contains(w.Services, service) {
			continue
		}
		for _, p := range s.PodsOf(w.Ref) {
			if p.Leaving {
				continue
			}
			key := [2]string{p.Revision, p.Version}
			if by[key] == nil {
				by[key] = &Backend{Revision: p.Revision, Version: p.Version}
			}
			by[key].Pods++
			if !slices.Contains(by[key].Workloads, w.Name) {
				by[key].Workloads = append(by[key].Workloads, w.Name)
			}
		}
	}
	out := []Backend{}
	for _, b := range by {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b Backend) int {
		return strings.Compare(a.Revision+" "+a.Version, b.Revision+" "+b.Version)
	})
	return out
}
