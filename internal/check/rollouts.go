package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// mostNamed is how many workloads a finding names.
const mostNamed = 12

// cause is why a workload's own rollouts may lose requests, and what would save them.
type cause struct {
	has    func(mesh.Workload) bool
	reason string // after the workloads' names
	remedy func(mesh.Snapshot, []mesh.Workload) string
}

func causes() []cause {
	return []cause{
		{
			func(w mesh.Workload) bool { return !w.Template.Probed },
			"no readiness probe says when a new pod answers, so that any restart may send it requests too early",
			always("give them a readiness probe: no way of restarting makes up for it"),
		},
		{
			func(w mesh.Workload) bool { return !w.Template.Drains && !gap(w) },
			"nothing waits before their containers stop (no preStop); if they stop when told to (SIGTERM), a rollout loses the requests that are still sent to them",
			saving,
		},
		{
			gap,
			"their only pod goes before the next one comes, and nobody serves meanwhile",
			always("run two, or let it surge where two may run at once: no way of restarting makes up for it"),
		},
	}
}

func always(text string) func(mesh.Snapshot, []mesh.Workload) string {
	return func(mesh.Snapshot, []mesh.Workload) string { return text }
}

// gap says whether a rollout leaves no pod for a while. A DaemonSet's nodes have each
// one pod: what is on them is the user's to know.
func gap(w mesh.Workload) bool {
	return w.Kind != mesh.KindDaemonSet && w.Replicas == 1 && (w.Strategy == "Recreate" || w.MaxSurge == 0) || w.Strategy == "Recreate"
}

// rollouts names the workloads whose own rollouts may lose requests, each under every
// cause that it has, and says what would save them. Of what was not looked at closely
// nothing is said.
func rollouts(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil || s.Survey.Selectors == nil {
		return nil
	}
	var out []Finding
	for _, c := range causes() {
		has := map[string][]mesh.Workload{}
		for _, w := range s.Workloads {
			if len(w.Services) > 0 && !w.Gateway() && !w.Rendered() && rolledOut(w.Kind) && c.has(w) {
				has[w.Namespace] = append(has[w.Namespace], w)
			}
		}
		for _, ns := range slices.Sorted(maps.Keys(has)) {
			out = append(out, Finding{codeLosesRequests, Info, "namespace " + ns, listing(has[ns]) + ": " + c.reason, c.remedy(s, has[ns])})
		}
	}
	return out
}

func rolledOut(k mesh.WorkloadKind) bool {
	return k == mesh.KindDeployment || k == mesh.KindStatefulSet || k == mesh.KindDaemonSet
}

// saving is what would save the workloads' requests, by the method that may be used of each.
func saving(s mesh.Snapshot, ws []mesh.Workload) string {
	var loose, leave, fast []mesh.Workload
	for _, w := range ws {
		switch {
		case s.Detachable(w) == "":
			loose = append(loose, w)
		case s.Retirable(w) == "":
			leave = append(leave, w)
		default:
			fast = append(fast, w)
		}
	}
	const wait = "a preStop hook that sleeps for some seconds"
	switch {
	case len(loose) == len(ws):
		return "restart them by detaching: --restarts auto; or " + wait
	case len(fast) == len(ws):
		return wait + "; their pods cannot be detached: " + why(s, fast[0])
	}
	var does []string
	if len(loose) > 0 {
		does = append(does, "detaches "+listing(loose))
	}
	if len(leave) > 0 {
		does = append(does, "retires "+listing(leave)+", out of their endpoints before they go")
	}
	out := "--restarts auto " + strings.Join(does, ", and ")
	if len(fast) > 0 {
		return out + "; the others need " + wait
	}
	return out + "; or " + wait
}

// why is the fence that fits the kind.
func why(s mesh.Snapshot, w mesh.Workload) string {
	if w.Kind == mesh.KindDeployment {
		return s.Detachable(w)
	}
	return s.Retirable(w)
}

func listing(ws []mesh.Workload) string {
	var names []string
	for _, w := range ws[:min(len(ws), mostNamed)] {
		name := w.Name
		if w.Replicas == 1 && w.Kind != mesh.KindDaemonSet {
			name += " (one pod)"
		}
		names = append(names, name)
	}
	if more := len(ws) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
