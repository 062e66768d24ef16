package mesh

import (
	"slices"
	"strings"
)

// HashLabel is the label by which a ReplicaSet knows its own pods. Without it a pod
// is nobody's: its ReplicaSet makes another in its place, and it goes on serving.
const HashLabel = "pod-template-hash"

// Template is what of a pod template decides how its pods may be replaced. The
// zero value is a template in which nothing stands in the way.
type Template struct {
	Probed       bool     `json:"probed,omitempty"`       // a container of its own has a readiness probe
	Drains       bool     `json:"drains,omitempty"`       // a container of its own waits before it stops (preStop)
	HostPorts    bool     `json:"hostPorts,omitempty"`    // two of its pods do not fit on one node
	AntiAffinity bool     `json:"antiAffinity,omitempty"` // required, between pods
	Spread       bool     `json:"spread,omitempty"`       // a topology spread constraint that does not schedule
	Claims       []string `json:"claims,omitempty"`       // persistent volume claims
	Devices      []string `json:"devices,omitempty"`      // requested resources other than CPU, memory and ephemeral storage
	Gates        []string `json:"gates,omitempty"`        // readiness gates: somebody else decides when its pods are ready
	Marks        []string `json:"marks,omitempty"`        // labels and annotations by which GitOps tools find what is theirs
	MadeBy       string   `json:"madeBy,omitempty"`       // of the workload itself: the controller that made it, "Canary cart"
	Scaler       string   `json:"scaler,omitempty"`       // of the workload itself: the HorizontalPodAutoscaler that sizes it
}

// Exposure is a Service through which clients reach pods that do not drop an
// endpoint as soon as it is not ready, or of which nobody knows that they do.
type Exposure struct {
	Service string `json:"service"` // namespace/name
	How     string `json:"how"`     // "is of type LoadBalancer", as findings say it

	Headless bool `json:"headless,omitempty"` // it has no address of its own, and nothing else stands in the way
}

// Selectors is what else looks at pods' labels, or takes pods for its own.
type Selectors struct {
	Unseen   []string  `json:"unseen,omitempty"`   // what could not be looked at, and why
	Hash     []Object  `json:"hash,omitempty"`     // objects whose selectors name pod-template-hash
	Adopters []Adopter `json:"adopters,omitempty"` // controllers that take matching pods which are nobody's
	Sized    []Ref     `json:"sized,omitempty"`    // workloads that a VerticalPodAutoscaler watches
}

// Adopter is a controller that takes pods without a controller, and which.
type Adopter struct {
	Object
	Selector Selector `json:"selector"`
}

// Detachable says why the workload's pods may not be replaced by detaching them
// (S-35 to S-43): the first reason, empty where there is none. What is not known
// is a reason.
func (s Snapshot) Detachable(w Workload) string {
	for _, fence := range []func(Workload) string{plainDeployment, s.selected, reached, unsized, crowded, s.budgeted} {
		if why := fence(w); why != "" {
			return why
		}
	}
	return ""
}

// plainDeployment is S-35 and S-42: of what has one pod, leaving the endpoints
// first is an outage unless another one is made beside it.
func plainDeployment(w Workload) string {
	switch {
	case w.Kind != KindDeployment:
		return "it is a " + w.What() + ": only a Deployment makes another pod beside one that was let go"
	case w.Template.MadeBy != "":
		return "it was made by " + w.Template.MadeBy + ", which may act on what becomes of its pods"
	case w.Strategy != "RollingUpdate":
		return "its strategy is " + w.Strategy + ": two of its pods must not run at once"
	case w.MaxSurge == 0:
		return "it may not surge: another pod may not fit beside the old one"
	case w.Paused:
		return "it is paused"
	case !w.Settled:
		return "a rollout of it is under way"
	case w.TemplateLabels[HashLabel] != "" || w.TemplateLabels["rollouts-pod-template-hash"] != "":
		return "its template sets the label " + HashLabel + " itself"
	}
	return ""
}

// selected is S-37: nobody else may match, or need, the label that goes.
func (s Snapshot) selected(w Workload) string {
	if len(w.Template.Marks) > 0 {
		return "its pods carry " + w.Template.Marks[0] + ": a GitOps tool may prune one that is nobody's"
	}
	if s.Survey == nil || s.Survey.Selectors == nil {
		return "nobody has looked at what selects its pods"
	}
	sel := s.Survey.Selectors
	if len(sel.Unseen) > 0 {
		return "what selects its pods could not be seen: " + sel.Unseen[0]
	}
	for _, o := range sel.Hash {
		if local := o.Kind == "Service" || o.Kind == "PodDisruptionBudget"; !local || o.Namespace == w.Namespace {
			return objectName(o) + " names the label " + HashLabel + ", which goes"
		}
	}
	for _, a := range sel.Adopters {
		if a.Namespace == w.Namespace && a.Selector.Matches(w.TemplateLabels) {
			return objectName(a.Object) + " would take a pod that is nobody's"
		}
	}
	return ""
}

func objectName(o Object) string {
	return lower(o.Kind) + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
}

// reached is S-39: whoever sends it requests must drop an endpoint that is not
// ready before the kubelet says again that it is.
func reached(w Workload) string {
	switch {
	case w.Gateway() || w.Rendered() || w.Gated:
		return "it is a gateway: its clients are outside of the mesh"
	case len(w.Exposed) > 0:
		return "service " + w.Exposed[0].Service + " " + w.Exposed[0].How
	case len(w.Template.Gates) > 0:
		return "its pods have the readiness gate " + w.Template.Gates[0] + ": somebody else sends them requests"
	}
	return ""
}

// unsized is S-41: what sizes the workload counts the pod that was let go.
func unsized(w Workload) string {
	if w.Template.Scaler != "" {
		return "horizontalpodautoscaler " + w.Template.Scaler + " sizes it, and counts the pod that is let go"
	}
	return ""
}

// crowded is S-41: another pod may not find a place while the old one is there.
func crowded(w Workload) string {
	t := w.Template
	switch {
	case w.HostNetwork || t.HostPorts:
		return "its pods use ports of their node"
	case t.AntiAffinity:
		return "its pods must not be on one node: another one may find no place beside the old one"
	case t.Spread:
		return "its topology spread does not schedule what is uneven, and the old pod counts"
	case len(t.Devices) > 0:
		return "its pods ask for " + t.Devices[0] + ", of which there may be no more"
	case len(t.Claims) > 0:
		return "its pods use the claim " + t.Claims[0] + ", which may be one pod's at a time"
	}
	return ""
}

// budgeted is S-38 and S-41: the old pod leaves by an eviction.
func (s Snapshot) budgeted(w Workload) string {
	switch { // the survey is there: selected has said so otherwise
	case slices.Contains(s.Survey.TwoBudgets, w.Ref):
		return "two PodDisruptionBudgets select its pods: no eviction of them is let through"
	case slices.Contains(s.Survey.Selectors.Sized, w.Ref):
		return "a VerticalPodAutoscaler sizes its pods, and evicts them too"
	}
	return ""
}
