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
	c := counted{}
	for _, ref := range q.Workloads {
		if w, ok := s.Workload(ref); ok { // or it was removed meanwhile
			c.add(q, w, s.PodsOf(ref))
		}
	}
	text := fmt.Sprintf("%d of %d pods ready on %s", c.good, c.want, q.Revision)
	switch {
	case len(c.waiting) > 0:
		return Unknown, text + ", waiting for " + some(c.waiting)
	case c.good < c.want:
		return Unknown, text
	case q.Held && c.ready != q.Opened:
		return Unknown, fmt.Sprintf("%s, %d of them let into the Service, %d are to be", text, c.ready, q.Opened)
	case q.Held:
		return Open, fmt.Sprintf("%s, %d of them let into the Service", text, c.ready)
	}
	return Open, text
}

// steady wants the pods that are to be let into a Service ready but for their
// readiness gate, however many of them are in already (S-29).
func steady(q Question, s mesh.Snapshot) (State, string) {
	q.Held = true
	c := counted{}
	for _, ref := range q.Workloads {
		if w, ok := s.Workload(ref); ok {
			c.add(q, w, s.PodsOf(ref))
		}
	}
	text := fmt.Sprintf("%d of %d pods ready on %s but for their readiness gate", c.good, c.want, q.Revision)
	switch {
	case len(c.waiting) > 0:
		return Unknown, text + ", waiting for " + some(c.waiting)
	case c.good < c.want || c.want == 0:
		return Unknown, text
	}
	return Open, text
}

// counted are a step's pods.
type counted struct {
	good, want, ready int
	waiting           []string
}

func (c *counted) add(q Question, w mesh.Workload, pods []mesh.Pod) {
	here := 0
	for _, p := range pods {
		if p.Leaving || q.Pod != "" && p.Name != q.Pod {
			continue
		}
		if p.Revision == q.Revision && (p.Ready || q.Held && p.Held) {
			here++
		} else {
			c.waiting = append(c.waiting, p.Name)
		}
		if p.Ready {
			c.ready++
		}
	}
	want := w.Replicas
	if q.Pod != "" {
		want = 1
	}
	c.want += want
	c.good += min(here, want)
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
