package explain

import (
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Query is a name as a person typed it. What is empty is not asked for.
type Query struct {
	Kind      Kind
	Workload  mesh.WorkloadKind // of a Workload
	Namespace string
	Name      string
}

// Find lists everything of that name, namespaces and tags first.
func Find(s mesh.Snapshot, q Query) []Subject {
	var out []Subject
	add := func(found bool, of Subject) {
		if found && q.asks(of.Kind) {
			out = append(out, of)
		}
	}
	_, ok := s.Namespace(q.Name)
	add(ok && q.Namespace == "", Subject{Kind: Namespace, Name: q.Name})
	_, ok = s.Tag(q.Name)
	add(ok && q.Namespace == "", Subject{Kind: Tag, Name: q.Name})
	for _, g := range s.ManagedGateways {
		add(q.names(g.Namespace, g.Name), Subject{Kind: Gateway, Namespace: g.Namespace, Name: g.Name})
	}
	for _, w := range s.Workloads {
		if !q.names(w.Namespace, w.Name) {
			continue
		}
		// People call an injected gateway a gateway: it is a workload. A bare pod is found as a pod.
		of := Subject{Kind: Workload, Namespace: w.Namespace, Name: w.Name, Workload: w.Ref}
		if q.Kind == Gateway && w.Gateway() {
			out = append(out, of)
		}
		add(w.Kind != mesh.KindPod && q.of(w.Kind), of)
	}
	for _, p := range s.Pods {
		add(q.names(p.Namespace, p.Name), Subject{Kind: Pod, Namespace: p.Namespace, Name: p.Name, Workload: p.Workload})
	}
	return slices.Compact(out)
}

func (q Query) names(namespace, name string) bool {
	return name == q.Name && (q.Namespace == "" || namespace == q.Namespace)
}

func (q Query) asks(k Kind) bool { return q.Kind == "" || q.Kind == k }

func (q Query) of(k mesh.WorkloadKind) bool { return q.Workload == "" || q.Workload == k }

// With is the mesh with a workload that nobody would inject, which a Snapshot
// leaves out, so that it can be asked why.
func With(s mesh.Snapshot, w mesh.Workload) (mesh.Snapshot, Subject) {
	s = s.Clone()
	s.Workloads = append(s.Workloads, w)
	of := Subject{Kind: Workload, Namespace: w.Namespace, Name: w.Name, Workload: w.Ref}
	if w.Kind == mesh.KindPod {
		of.Kind = Pod
		s.Pods = append(s.Pods, mesh.Pod{Namespace: w.Namespace, Name: w.Name, Workload: w.Ref, Labels: w.TemplateLabels})
	}
	return s, of
}
