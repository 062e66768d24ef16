package gate

import "fmt"

// served wants requests answered by the new pods of each moved workload: silence
// proves nothing (S-11). Who cannot be asked anything is exempt, and named. Where no
// number of them is asked for, because nothing of serin's sends any, it wants what is
// counted to be no worse than before (S-47).
func served(q Question, ev Evidence) (State, string) {
	need := q.MinServed
	if !q.Counted {
		need = max(need, 1)
	}
	total := 0
	var exempt []string
	for _, ref := range q.Workloads {
		w, ok := ev.Snapshot.Workload(ref)
		if !ok {
			continue // removed meanwhile
		}
		if len(w.Services) == 0 {
			exempt = append(exempt, "no Service selects "+ref.String())
			continue
		}
		if w.Replicas == 0 {
			exempt = append(exempt, ref.String()+" is scaled to zero")
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
	if state, worse := compared(ev.Pods); state != Open {
		return state, worse
	}
	reason := fmt.Sprintf("the moved pods answered %d requests", total)
	if len(exempt) > 0 {
		reason += "; " + some(exempt)
	}
	return Open, reason
}

// compared compares what the moved pods and their callers counted with what was counted
// before the step. It asks for no configuration, and so it asks for nothing that a
// mesh may not have: a few requests are not compared, nor with what fails by itself.
func compared(list []Comparison) (State, string) {
	doubt := ""
	for _, c := range list {
		if c.Now.Sent < minSamples || float64(c.Before.Failed) > unfit*float64(c.Before.Sent) {
			continue
		}
		switch state, reason := c.judge(); state {
		case Shut:
			return Shut, c.Name + ": " + reason
		case Unknown:
			doubt = c.Name + ": " + reason
		case Open:
		}
	}
	if doubt != "" {
		return Unknown, doubt
	}
	return Open, ""
}
