package gate

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// rolledOut wants all pods of the step's workloads ready and on the revision.
// Pods that are still coming make it unknown: a rollout takes its time.
func rolledOut(q Question, s mesh.Snapshot) (State, string) {
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
	if good < want || len(waiting) > 0 {
		return Unknown, fmt.Sprintf("%d of %d pods ready on %s, waiting for %s", good, want, q.Revision, some(waiting))
	}
	return Open, fmt.Sprintf("%d of %d pods ready on %s", good, want, q.Revision)
}

// proxies wants the moved proxies connected to the new istiod, in sync at its
// version, and the others where their pods belong (S-10, S-55).
func proxies(q Question, ev Evidence) (State, string) {
	if len(ev.Proxies) == 0 {
		return Unknown, "no istiod reports a proxy"
	}
	by := map[string][]Proxy{}
	for _, p := range ev.Proxies {
		by[p.Namespace+"/"+p.Name] = append(by[p.Namespace+"/"+p.Name], p)
	}
	moved := 0
	var waiting []string
	for _, pod := range ev.Snapshot.Pods {
		key := pod.Namespace + "/" + pod.Name
		if pod.Leaving || pod.Revision == "" {
			continue
		}
		mine := slices.Contains(q.Workloads, pod.Workload)
		for _, p := range by[key] {
			if p.Revision != pod.Revision {
				return Shut, fmt.Sprintf("%s was injected by %s and is connected to %s", key, pod.Revision, p.Revision)
			}
			if len(p.Rejected) > 0 {
				if pod.Revision == q.Old && !mine {
					return Unknown, oldUnwell + key + " rejected " + some(p.Rejected)
				}
				return Shut, key + " rejected " + some(p.Rejected)
			}
		}
		if bad := unwell(by[key], q, mine); bad != "" && (mine || pod.Ready) {
			if !mine && pod.Revision == q.Old {
				return Unknown, oldUnwell + key + " " + bad
			}
			waiting = append(waiting, key+" "+bad)
			continue
		}
		if mine {
			moved++
		}
	}
	if len(waiting) > 0 {
		return Unknown, fmt.Sprintf("%d moved proxies in sync; %s", moved, some(waiting))
	}
	return Open, fmt.Sprintf("%d moved proxies in sync with %s, the others well", moved, q.Revision)
}

// unwell says what is not right with a proxy that istiods report.
func unwell(seen []Proxy, q Question, mine bool) string { //nolint:revive // whether the step moves it
	if len(seen) == 0 {
		return "is not connected"
	}
	for _, p := range seen {
		if len(p.Stale) > 0 {
			return "has not acknowledged " + some(p.Stale)
		}
		if mine && p.Revision != q.Revision {
			return "is connected to " + p.Revision
		}
		if mine && q.Version != "" && p.Version != q.Version {
			return "is at version " + p.Version + ", not " + q.Version
		}
	}
	return ""
}

// served wants requests answered by the new pods of each moved workload: silence proves nothing (S-11).
func served(q Question, ev Evidence) (State, string) {
	need := max(q.MinServed, 1)
	total := 0
	var exempt []string
	for _, ref := range q.Workloads {
		w, ok := ev.Snapshot.Workload(ref)
		if !ok {
			continue
		}
		if len(w.Services) == 0 {
			exempt = append(exempt, ref.String())
			continue
		}
		n := 0
		for _, p := range ev.Snapshot.PodsOf(ref) {
			if p.Revision == q.Revision {
				n += ev.Served[p.Namespace+"/"+p.Name]
			}
		}
		if n < need {
			return Unknown, fmt.Sprintf("%s answered %d of %d requests on its new pods", ref, n, need)
		}
		total += n
	}
	reason := fmt.Sprintf("the moved pods answered %d requests", total)
	if len(exempt) > 0 {
		reason += "; no Service selects " + some(exempt)
	}
	return Open, reason
}

// minSamples is how few requests say nothing.
const minSamples = 20

// requests compares serin's own requests with the time before the step.
func requests(c *Comparison) (State, string) {
	if c == nil {
		return Unknown, "no probe sends requests"
	}
	now, before := c.Now, c.Before
	text := fmt.Sprintf("%d sent, %d failed", now.Sent, now.Failed)
	if now.Failed > 0 && float64(now.Failed)*float64(max(before.Sent, 1)) > 2*float64(before.Failed)*float64(max(now.Sent, 1)) {
		return Shut, fmt.Sprintf("%s; before the step %d of %d; for example: %s", text, before.Failed, before.Sent, now.Example)
	}
	if now.Sent < minSamples {
		return Unknown, fmt.Sprintf("%s, %d are needed", text, minSamples)
	}
	return Open, text
}
