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

// rollouts names the workloads whose own rollouts may lose requests, and says what
// would save them. Of what was not looked at closely nothing is said.
func rollouts(s mesh.Snapshot, _ Question) []Finding {
	if s.Survey == nil || s.Survey.Selectors == nil {
		return nil
	}
	blind, abrupt := map[string][]mesh.Workload{}, map[string][]mesh.Workload{}
	for _, w := range s.Workloads {
		switch {
		case len(w.Services) == 0 || w.Gateway() || w.Rendered() || !rolledOut(w.Kind):
		case !w.Template.Probed:
			blind[w.Namespace] = append(blind[w.Namespace], w)
		case !w.Template.Drains:
			abrupt[w.Namespace] = append(abrupt[w.Namespace], w)
		}
	}
	var out []Finding
	for _, ns := range slices.Sorted(maps.Keys(blind)) {
		out = append(out, Finding{
			codeLosesRequests, Info, "namespace " + ns, listing(blind[ns]) + ": no readiness probe says when a new pod answers, so that any restart may send it requests too early",
			"give them a readiness probe: no way of restarting makes up for it",
		})
	}
	for _, ns := range slices.Sorted(maps.Keys(abrupt)) {
		out = append(out, Finding{
			codeLosesRequests, Info, "namespace " + ns,
			listing(abrupt[ns]) + ": nothing waits before their containers stop (no preStop); if they stop when told to, a rollout loses the requests that are still sent to them",
			saving(s, abrupt[ns]),
		})
	}
	return out
}

func rolledOut(k mesh.WorkloadKind) bool {
	return k == mesh.KindDeployment || k == mesh.KindStatefulSet || k == mesh.KindDaemonSet
}

// saving is what would save the workloads' requests.
func saving(s mesh.Snapshot, ws []mesh.Workload) string {
	var loose, fast []mesh.Workload
	for _, w := range ws {
		if s.Detachable(w) == "" {
			loose = append(loose, w)
		} else {
			fast = append(fast, w)
		}
	}
	const wait = "a preStop hook that sleeps for some seconds"
	switch {
	case len(fast) == 0:
		return "restart them by detaching: --restarts auto; or " + wait
	case len(loose) == 0:
		return wait + "; their pods cannot be detached: " + s.Detachable(fast[0])
	}
	return fmt.Sprintf("--restarts auto detaches %s; the others need %s", listing(loose), wait)
}

func listing(ws []mesh.Workload) string {
	var names []string
	for _, w := range ws[:min(len(ws), mostNamed)] {
		names = append(names, w.Name)
	}
	if more := len(ws) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
