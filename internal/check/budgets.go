package check

import (
	"github.com/serin-mesh/serin/internal/mesh"
)

// alone finds control planes that one lost pod takes away: injectors fail closed,
// so that no pod they match can be made meanwhile (S-16).
func alone(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, c := range s.ControlPlanes {
		object := "revision " + c.Revision
		if c.Replicas == 1 {
			out = append(out, Finding{
				codeAlone, Warning, object, "it has one istiod: while that is away no pod of its namespaces can be made",
				"run two: autoscaleMin or replicaCount of 2",
			})
		}
		if s.Survey == nil {
			continue
		}
		if b := s.Survey.Istiods[c.Revision].Budget; b != nil && b.DisruptionsAllowed == 0 {
			out = append(out, Finding{
				codeAlone, Warning, object, "its PodDisruptionBudget " + b.Name + " allows no disruption: its nodes cannot be drained",
				"run one istiod more",
			})
		}
	}
	return out
}

// twoBudgets finds workloads that more than one budget selects: the eviction API
// refuses every such pod.
func twoBudgets(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil {
		return nil
	}
	var out []Finding
	for _, ref := range s.Survey.TwoBudgets {
		out = append(out, Finding{
			codeTwoBudgets, Warning, "workload " + ref.String(), "two PodDisruptionBudgets select its pods: every eviction of them fails",
			"leave one of them",
		})
	}
	return out
}
