package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
)

// facts is what the lists gave, before it is put together. Each reading function
// writes fields of its own, so that they may run side by side.
type facts struct {
	kubernetes                            string
	injectors                             []mesh.Injector
	validators                            []mesh.Validator
	claims                                []mesh.Claim
	services                              map[string][]service
	tagServices                           []mesh.TagService
	controlPlanes                         []mesh.ControlPlane
	deployments, statefulSets, daemonSets []set
	singletons                            []mesh.Singleton
	namespaces                            []mesh.Namespace
	replicaSets                           map[string]metav1.OwnerReference
	looseSets                             []types.NamespacedName // ReplicaSets whose pods are known by another label than a Deployment's
	budgets                               []policyv1.PodDisruptionBudget
	pods                                  []podFact
	records                               []record
	crds                                  []mesh.CRD
	pinned, gateways                      []mesh.Object
	routed, fromMesh                      map[string]bool
	gatewayObjects                        []mesh.GatewayObject
	scalers                               []mesh.Scaler
	telemetries                           []mesh.Telemetry
	// what a survey goes on from
	definitions   []string                               // names of all custom resource definitions
	resources     map[string]schema.GroupVersionResource // of Istio's definitions: the version that is served
	requested     map[string]mesh.Room                   // by node
	istiods       map[string]istiodFact                  // by revision
	istioServices []string                               // namespace/name, in Istio's namespace
	annotated     annotations                            // of namespaces and Services
	spaces        annotations
	deployed      annotations // of Deployments themselves
	operators     []mesh.Object
	twoBudgets    []mesh.Ref
	// the shapes that are not supported, by who finds them
	unsupported, ambient, remotes, machines []mesh.Object
}

// snapshot puts the facts together, sorted by identity.
func (f *facts) snapshot(istioNamespace string) mesh.Snapshot {
	s := mesh.Snapshot{
		KubernetesVersion: f.kubernetes, IstioNamespace: istioNamespace, ControlPlanes: f.controlPlanes, Injectors: f.injectors,
		Validators: f.validators, TagServices: f.tagServices, Namespaces: f.namespaces, PinnedObjects: f.pinned,
		ManagedGateways: f.gateways, Singletons: f.singletons, CRDs: f.crds,
		Claims:         f.claims,
		Telemetries:    f.telemetries,
		Unsupported:    slices.Concat(f.unsupported, f.ambient, f.remotes, f.machines),
		RoutedServices: slices.Sorted(maps.Keys(f.routed)),
	}
	slices.SortFunc(s.ControlPlanes, func(a, b mesh.ControlPlane) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Claims, func(a, b mesh.Claim) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Telemetries, func(a, b mesh.Telemetry) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Validators, func(a, b mesh.Validator) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.TagServices, func(a, b mesh.TagService) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Namespaces, func(a, b mesh.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Singletons, func(a, b mesh.Singleton) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.CRDs, func(a, b mesh.CRD) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.PinnedObjects, byIdentity)
	slices.SortFunc(s.ManagedGateways, byIdentity)
	slices.SortFunc(s.Unsupported, byIdentity)
	f.settle(&s)
	return s
}

func byIdentity(a, b mesh.Object) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// settle finds the workloads that matter, those that are or would be injected,
// and their pods.
func (f *facts) settle(s *mesh.Snapshot) {
	withProxy := map[mesh.Ref]bool{}
	of := make([]mesh.Ref, len(f.pods))
	for i, p := range f.pods {
		of[i] = f.workload(p)
		withProxy[of[i]] = withProxy[of[i]] || p.proxy
	}
	matters := map[mesh.Ref]bool{}
	budgets := map[string][]policyv1.PodDisruptionBudget{}
	for _, b := range f.budgets {
		budgets[b.Namespace] = append(budgets[b.Namespace], b)
	}
	for _, w := range slices.Concat(f.deployments, f.statefulSets, f.daemonSets) {
		if !withProxy[w.Ref] && w.Proxy == nil && !wouldInject(s, w) {
			continue
		}
		matters[w.Ref] = true
		w.Services = selecting(f.services[w.Namespace], w.TemplateLabels)
		w.Exposed = exposing(f.services[w.Namespace], w.TemplateLabels)
		w.Template.Scaler = f.scalerOf(w.Ref)
		w.Budget = budgetOf(budgets[w.Namespace], w.TemplateLabels)
		if len(budgetsOf(budgets[w.Namespace], w.TemplateLabels)) > 1 {
			f.twoBudgets = append(f.twoBudgets, w.Ref)
		}
		s.Workloads = append(s.Workloads, w.Workload)
	}
	s.Workloads = append(s.Workloads, f.others(withProxy, matters, of)...)
	for i, p := range f.pods {
		if p.proxy || matters[of[i]] {
			p.Workload = of[i]
			s.Pods = append(s.Pods, p.Pod)
		}
	}
	slices.SortFunc(s.Workloads, func(a, b mesh.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Pods, func(a, b mesh.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// wouldInject says whether the workload's next pod gets a proxy. The annotation
// does not reach the webhooks' selectors but is honoured by the injector, where
// there is no label of that name (R§1.3).
func wouldInject(s *mesh.Snapshot, w set) bool {
	if w.TemplateLabels[mesh.InjectLabel] == "" && w.TemplateAnnotations[mesh.InjectLabel] == "false" {
		return false
	}
	return !s.InjectionOf(w.Workload).None()
}

// others are the owners of pods with a proxy that are no Deployment, StatefulSet
// or DaemonSet: Jobs, bare pods, Rollouts. Nothing is known of them but their pods.
func (f *facts) others(withProxy, known map[mesh.Ref]bool, of []mesh.Ref) []mesh.Workload {
	found := map[mesh.Ref]*mesh.Workload{}
	for i, p := range f.pods {
		if !withProxy[of[i]] || known[of[i]] {
			continue
		}
		w, ok := found[of[i]]
		if !ok {
			w = &mesh.Workload{Ref: of[i], Settled: true, TemplateLabels: p.Labels, Owner: mesh.Owner{Kind: mesh.OwnerNone}}
			w.Services = selecting(f.services[w.Namespace], p.Labels)
			if w.Kind == mesh.KindOther {
				owner := f.topOwner(p)
				group, _, _ := strings.Cut(owner.APIVersion, "/")
				w.MadeBy = owner.Kind + " of " + group
			}
			found[of[i]] = w
		}
		w.Replicas++
		if p.Ready {
			w.Ready++
		}
	}
	var out []mesh.Workload
	for _, w := range found {
		out = append(out, *w)
	}
	return out
}

func selecting(services []service, template map[string]string) []string {
	var out []string
	for _, s := range services {
		if labels.SelectorFromSet(s.selector).Matches(labels.Set(template)) {
			out = append(out, s.namespace+"/"+s.name)
		}
	}
	slices.Sort(out)
	return out
}

// exposing are the Services among them that reach more than the mesh.
func exposing(services []service, template map[string]string) []mesh.Exposure {
	var out []mesh.Exposure
	for _, s := range services {
		if s.exposure != "" && labels.SelectorFromSet(s.selector).Matches(labels.Set(template)) {
			out = append(out, mesh.Exposure{Service: s.namespace + "/" + s.name, How: s.exposure, Headless: s.headless})
		}
	}
	slices.SortFunc(out, func(a, b mesh.Exposure) int { return cmp.Compare(a.Service, b.Service) })
	return out
}

// scalerOf is the name of the HorizontalPodAutoscaler that sizes the workload.
func (f *facts) scalerOf(ref mesh.Ref) string {
	name := ""
	for _, s := range f.scalers {
		if s.Target == ref && (name == "" || s.Name < name) {
			name = s.Name
		}
	}
	return name
}

// budgetsOf are the budgets that select the pods.
func budgetsOf(budgets []policyv1.PodDisruptionBudget, template map[string]string) []policyv1.PodDisruptionBudget {
	var out []policyv1.PodDisruptionBudget
	for _, b := range budgets {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || sel.Empty() && b.Spec.Selector == nil || !sel.Matches(labels.Set(template)) {
			continue
		}
		out = append(out, b)
	}
	return out
}

// budgetOf finds the budget that selects the pods. Of two, which is an error of
// its own (evictions then fail), the stricter one counts.
func budgetOf(budgets []policyv1.PodDisruptionBudget, template map[string]string) *mesh.Budget {
	var out *mesh.Budget
	for _, b := range budgetsOf(budgets, template) {
		if out == nil || int(b.Status.DisruptionsAllowed) < out.DisruptionsAllowed ||
			int(b.Status.DisruptionsAllowed) == out.DisruptionsAllowed && strings.Compare(b.Name, out.Name) < 0 {
			out = &mesh.Budget{Name: b.Name, DisruptionsAllowed: int(b.Status.DisruptionsAllowed)}
		}
	}
	return out
}
