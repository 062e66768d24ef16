package gate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
)

// pushInterval is how long a push may be on its way to a proxy that stays where it is:
// istiod waits up to ten seconds for changes to come together. In a mesh of thousands
// some push is always under way, and is nobody's bad news.
const pushInterval = 10 * time.Second

// proxies wants the moved proxies connected to the new istiod, in sync at its
// version, and the others where their pods belong (S-10, S-55). Bad news of the
// old revision is told beside any other: it decides whether an undo is safe.
func proxies(q Question, ev Evidence) (State, string) {
	by := map[string][]Proxy{}
	for _, p := range ev.Proxies {
		by[p.Namespace+"/"+p.Name] = append(by[p.Namespace+"/"+p.Name], p)
	}
	var c census
	for _, pod := range ev.Snapshot.Pods {
		if !pod.Leaving && pod.Revision != "" && (q.Pod == "" || q.moves(pod)) {
			c.take(q, pod, by[pod.Namespace+"/"+pod.Name])
		}
	}
	return c.verdict(q)
}

// moves says whether the step moves the pod.
func (q Question) moves(p mesh.Pod) bool {
	return slices.Contains(q.Workloads, p.Workload) && (!q.FirstPods || p.Revision == q.Revision) && (q.Pod == "" || p.Name == q.Pod)
}

// census sorts the proxies of a mesh by what they say of the step.
type census struct {
	moved              int
	shut, old, waiting []string // bad news, bad news of the old revision, not there yet
}

func (c *census) take(q Question, pod mesh.Pod, seen []Proxy) {
	mine := q.moves(pod)
	stays := !mine && pod.Revision == q.Old
	wrong, late := cmp.Or(misled(seen, pod), restarted(q, pod)), late(pod, seen, q, mine)
	key := pod.Namespace + "/" + pod.Name + " "
	switch {
	case wrong != "" && stays && !astray(seen, pod):
		c.old = append(c.old, key+wrong)
	case wrong != "":
		c.shut = append(c.shut, key+wrong)
	case late == "" && mine:
		c.moved++
	case late == "":
	case stays:
		c.old = append(c.old, key+late)
	default:
		c.waiting = append(c.waiting, key+late)
	}
}

func (c *census) verdict(q Question) (State, string) {
	unwell := ""
	if len(c.old) > 0 {
		unwell = oldUnwell + some(c.old)
	}
	switch {
	case len(c.shut) > 0 && unwell != "":
		return Shut, some(c.shut) + "; " + unwell
	case len(c.shut) > 0:
		return Shut, some(c.shut)
	case unwell != "":
		return Unknown, unwell
	case len(c.waiting) > 0:
		return Unknown, fmt.Sprintf("%d moved proxies in sync; %s", c.moved, some(c.waiting))
	case q.Pod != "" && c.moved == 0:
		return Unknown, "pod " + q.Pod + " is not there, or nobody has injected it"
	}
	return Open, fmt.Sprintf("%d moved proxies in sync with %s, the others well", c.moved, q.Revision)
}

// late says whether what was sent to a proxy should have been acknowledged by now.
func (p Proxy) late(moved bool) bool { // one that moved is waited for, the others may be on their way
	return len(p.Stale) > 0 && (moved || p.StaleFor >= pushInterval)
}

// lasting says for how long, where that is long.
func lasting(d time.Duration) string {
	if d < pushInterval {
		return ""
	}
	return " for " + d.Round(time.Second).String()
}

// astray says whether a proxy is connected to another revision than its pod names.
func astray(seen []Proxy, pod mesh.Pod) bool {
	return slices.ContainsFunc(seen, func(p Proxy) bool { return p.Revision != pod.Revision })
}

// restarted says that a moved proxy is not the first of its pod, which was made in this
// step: nothing restarts one that is well.
func restarted(q Question, pod mesh.Pod) string {
	if pod.Restarts == 0 || !q.moves(pod) {
		return ""
	}
	return "has a proxy that has restarted " + mesh.Count(pod.Restarts, "time")
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

// late says what a proxy may still be on its way to. A pod that the step does not
// move and that is not Ready, is nobody's news.
func late(pod mesh.Pod, seen []Proxy, q Question, mine bool) string { //nolint:revive // whether the step moves it
	if !mine && !pod.Ready {
		return ""
	}
	if len(seen) == 0 {
		return "is not connected"
	}
	for _, p := range seen {
		if p.late(mine) {
			return "has not acknowledged " + some(p.Stale) + lasting(p.StaleFor)
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
