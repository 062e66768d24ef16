package gate

import (
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// proxies wants the moved proxies connected to the new istiod, in sync at its
// version, and the others where their pods belong (S-10, S-55). Bad news of the
// old revision is told beside any other: it decides whether an undo is safe.
func proxies(q Question, ev Evidence) (State, string) {
	by := map[string][]Proxy{}
	for _, p := range ev.Proxies {
		by[p.Namespace+"/"+p.Name] = append(by[p.Namespace+"/"+p.Name], p)
	}
	moved := 0
	var shut, old, waiting []string
	for _, pod := range ev.Snapshot.Pods {
		if pod.Leaving || pod.Revision == "" {
			continue
		}
		key := pod.Namespace + "/" + pod.Name
		mine := slices.Contains(q.Workloads, pod.Workload)
		stays := !mine && pod.Revision == q.Old
		wrong, late := misled(by[key], pod), late(by[key], q, mine)
		switch {
		case wrong != "" && stays && !astray(by[key], pod):
			old = append(old, key+" "+wrong)
		case wrong != "":
			shut = append(shut, key+" "+wrong)
		case late == "" && mine:
			moved++
		case late == "" || !mine && !pod.Ready:
		case stays:
			old = append(old, key+" "+late)
		default:
			waiting = append(waiting, key+" "+late)
		}
	}
	unwell := ""
	if len(old) > 0 {
		unwell = oldUnwell + some(old)
	}
	switch {
	case len(shut) > 0 && unwell != "":
		return Shut, some(shut) + "; " + unwell
	case len(shut) > 0:
		return Shut, some(shut)
	case unwell != "":
		return Unknown, unwell
	case len(waiting) > 0:
		return Unknown, fmt.Sprintf("%d moved proxies in sync; %s", moved, some(waiting))
	}
	return Open, fmt.Sprintf("%d moved proxies in sync with %s, the others well", moved, q.Revision)
}

// astray says whether a proxy is connected to another revision than its pod names.
func astray(seen []Proxy, pod mesh.Pod) bool {
	return slices.ContainsFunc(seen, func(p Proxy) bool { return p.Revision != pod.Revision })
}

// misled says what no waiting mends.
func misled(seen []Proxy, pod mesh.Pod) string {
	for _, p := range seen {
		if p.Revision != pod.Revision {
			return fmt.Sprintf("was injected by %s and is connected to %s", pod.Revision, p.Revision)
		}
		if len(p.Rejected) > 0 {
			return "rejected " + some(p.Rejected)
		}
	}
	return ""
}

// late says what a proxy may still be on its way to.
func late(seen []Proxy, q Question, mine bool) string { //nolint:revive // whether the step moves it
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
