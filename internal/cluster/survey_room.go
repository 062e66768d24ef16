package cluster

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/room"
)

// istiodFact is what is kept of an istiod's Deployment.
type istiodFact struct {
	mesh.Istiod
	namespace string
	labels    map[string]string // of its pods
}

func istiodOf(d *appsv1.Deployment) istiodFact {
	f := istiodFact{namespace: d.Namespace, labels: d.Spec.Template.Labels}
	f.Requests, f.Env = room.Asked(d.Spec.Template.Spec), map[string]string{}
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, e := range c.Env {
			value := e.Value
			switch {
			case e.ValueFrom != nil:
				value = "(reference)"
			case mesh.Secret(e.Name):
				value = mesh.Hidden
			}
			f.Env[e.Name] = value
		}
	}
	return f
}

// istiodFacts are the control planes' pods, each with its budget.
func (f *facts) istiodFacts() map[string]mesh.Istiod {
	out := map[string]mesh.Istiod{}
	for rev, i := range f.istiods {
		var near []policyv1.PodDisruptionBudget
		for _, b := range f.budgets {
			if b.Namespace == i.namespace {
				near = append(near, b)
			}
		}
		i.Budget = budgetOf(near, i.labels)
		out[rev] = i.Istiod
	}
	return out
}

// annotations are Istio's annotations and who carries them.
type annotations map[string][]string

func (a annotations) note(object string, have map[string]string) {
	for k := range have {
		if strings.Contains(k, "istio.io/") {
			a[k] = append(a[k], object)
		}
	}
}

func (a annotations) with(more ...annotations) map[string][]string {
	out := map[string][]string{}
	for _, from := range append(more, a) {
		for k, objects := range from {
			out[k] = append(out[k], objects...)
		}
	}
	for k := range out {
		slices.Sort(out[k])
		out[k] = slices.Compact(out[k])
	}
	return out
}

// someProxies is how many of the workloads with plain sidecars are kept.
const someProxies = 5

// plainProxies are the first workloads whose pods have a plain sidecar.
func (f *facts) plainProxies() []string {
	seen := map[string]bool{}
	for _, p := range f.pods {
		if p.plain && !p.Leaving {
			seen[f.workload(p).String()] = true
		}
	}
	all := slices.Sorted(maps.Keys(seen))
	return all[:min(someProxies, len(all))]
}

// alphaPods are the workloads whose pods carry annotations of alpha features.
func (f *facts) alphaPods() annotations {
	out, seen := annotations{}, map[[2]string]bool{}
	for _, p := range f.pods {
		if len(p.alpha) == 0 {
			continue
		}
		object := "workload " + f.workload(p).String()
		for _, key := range p.alpha {
			if !seen[[2]string{key, object}] {
				seen[[2]string{key, object}] = true
				out[key] = append(out[key], object)
			}
		}
	}
	return out
}
