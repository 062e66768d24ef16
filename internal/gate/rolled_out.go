package gate

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

// rolledOut wants all pods of the step's workloads ready and on the revision.
// Pods that are still coming make it unknown: a rollout takes its time.
func rolledOut(q Question, s mesh.Snapshot) (State, string) {
	if q.FirstPods {
		return firstReady(q, s)
	}
	good, want := 0, 0
	var waiting []string
	for _, ref := range q.Workloads {
		w, ok := s.Workload(ref)
		if !ok {
			continue // removed meanwhile
		}
		want += w.Replicas
		here := 0
		for _, p := range s.PodsOf(ref) {
			switch {
			case p.Leaving:
			case p.Revision == q.Revision && p.Ready:
				here++
			default:
				waiting = append(waiting, p.Name)
			}
		}
		good += min(here, w.Replicas)
	}
	text := fmt.Sprintf("%d of %d pods ready on %s", good, want, q.Revision)
	switch {
	case len(waiting) > 0:
		return Unknown, text + ", waiting for " + some(waiting)
	case good < want:
		return Unknown, text
	}
	return Open, text
}

// firstReady wants a ready pod of each workload on the revision, and none on it
// that is not ready.
func firstReady(q Question, s mesh.Snapshot) (State, string) {
	ready := 0
	var waiting []string
	for _, ref := range q.Workloads {
		if _, ok := s.Workload(ref); !ok {
			continue // removed meanwhile
		}
		here, late := 0, 0
		for _, p := range s.PodsOf(ref) {
			switch {
			case p.Leaving || p.Revision != q.Revision:
			case p.Ready:
				here++
			default:
				late++
			}
		}
		if ready += here; here == 0 || late > 0 {
			waiting = append(waiting, ref.String())
		}
	}
	text := fmt.Sprintf("%d first pods ready on %s", ready, q.Revision)
	if len(waiting) > 0 {
		return Unknown, text + ", waiting for " + some(waiting)
	}
	return Open, text
}
