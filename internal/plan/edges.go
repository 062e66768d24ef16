package plan

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Edge says of one of several gateways what it serves and which steps are its own.
type Edge struct {
	Gateway string     `json:"gateway"`         // namespace/name of its Deployment, or of the Gateway that istiod deploys it for
	Shape   mesh.Shape `json:"shape"`           // how it is deployed
	Kind    Kind       `json:"kind"`            // of the step that moves it
	Hosts   int        `json:"hosts,omitempty"` // that its Gateways name
	Steps   []int      `json:"steps"`           // by their numbers
}

// edges tells the steps of several gateways apart: those of one need no telling.
func edges(s mesh.Snapshot, steps []Step) []Edge {
	var out []Edge
	for _, g := range s.Gateways() {
		e := Edge{Gateway: g.Ref.Namespace + "/" + g.Ref.Name, Shape: g.Shape, Hosts: hosts(g)}
		for _, st := range steps {
			if !about(st, g.Ref) {
				continue
			}
			e.Steps = append(e.Steps, st.Number)
			switch {
			case st.Kind == MoveGateway:
				e.Kind, e.Gateway = st.Kind, st.Target
			case e.Kind == "" && (st.Kind == AddGateway || st.restarts()):
				e.Kind = st.Kind
			}
		}
		if e.Kind != "" {
			out = append(out, e)
		}
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// about says whether a step moves a gateway, or the second one beside it.
func about(st Step, ref mesh.Ref) bool {
	return slices.Contains(st.Workloads, ref) || st.Question.Beside != nil && *st.Question.Beside == ref || st.Behind != nil && *st.Behind == ref ||
		st.Kind == RenewGateway && st.Release.Namespace == ref.Namespace && st.Release.Name == ref.Name
}

// hosts counts the names that a gateway's listeners have.
func hosts(g mesh.Gateway) int {
	var names []string
	for _, o := range g.Serves {
		for _, l := range o.Listeners {
			for _, h := range l.Hosts {
				_, host, scoped := strings.Cut(h, "/") // Istio's own may say whose routes they take
				if !scoped {
					host = h
				}
				names = append(names, host)
			}
		}
	}
	slices.Sort(names)
	return len(slices.Compact(names))
}
