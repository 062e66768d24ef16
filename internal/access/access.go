// Package access knows which permissions serin needs: to look, to drive a run, and
// for each kind of step. It is data; the roles that `serin rbac` prints and the
// question asked of the API server before a run begins come from the same table.
//
// It is part of the pure core. Start reading at Needs.
package access

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// Rule is one line of a role. Everything is cluster-wide: the mesh is.
type Rule struct {
	Group     string   // "" is the core group
	Resources []string // with subresources, as in pods/portforward
	Verbs     []string
}

// The resource groups.
const (
	core         = ""
	apps         = "apps"
	admission    = "admissionregistration.k8s.io"
	extensions   = "apiextensions.k8s.io"
	coordination = "coordination.k8s.io"
	autoscaling  = "autoscaling"
	policy       = "policy"
	networking   = "networking.k8s.io"
	rbac         = "rbac.authorization.k8s.io"
	gatewayAPI   = "gateway.networking.k8s.io"
	reviews      = "authorization.k8s.io"
	discovery    = "discovery.k8s.io"
	telemetry    = "telemetry.istio.io"
)

func look() []string   { return []string{"get", "list", "watch"} }
func change() []string { return []string{"create", "delete", "patch", "update"} }

// Looking is what every command needs that observes the mesh.
func Looking() []Rule {
	return []Rule{
		{core, []string{"configmaps", "namespaces", "pods", "services"}, look()},
		{core, []string{"secrets"}, []string{"get", "list"}}, // Helm's records
		{apps, []string{"daemonsets", "deployments", "replicasets", "statefulsets"}, look()},
		{admission, []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, look()},
		{extensions, []string{"customresourcedefinitions"}, look()},
		{autoscaling, []string{"horizontalpodautoscalers"}, look()},
		{policy, []string{"poddisruptionbudgets"}, look()},
		{coordination, []string{"leases"}, []string{"get"}},
		{"*.istio.io", nil, []string{"get", "list"}},
		{gatewayAPI, []string{"gatewayclasses", "gateways"}, []string{"get", "list"}},
		{"install.istio.io", []string{"istiooperators"}, []string{"get", "list"}},
		{core, []string{"pods/portforward"}, []string{"create"}}, // istiod's sync status
	}
}

// Surveying is what precheck and plan look at besides: room, who else installs
// Istio, what upgrade notes ask about. Where it is not granted they say what they
// could not look at, and go on.
func Surveying() []Rule {
	list := []string{"list"}
	return []Rule{
		{core, []string{"nodes"}, list},
		{reviews, []string{"selfsubjectaccessreviews"}, []string{"create"}}, // a question: nothing is made
		{"inference.networking.k8s.io", []string{"inferencepools"}, list},
		{"inference.networking.x-k8s.io", []string{"inferencepools"}, list},
		{gatewayAPI, []string{"backendtlspolicies", "grpcroutes", "httproutes", "tcproutes", "tlsroutes", "udproutes"}, list},
		{"sailoperator.io", []string{"istios"}, list},
		{"argoproj.io", []string{"applications"}, list},
		{"helm.toolkit.fluxcd.io", []string{"helmreleases"}, list},
	}
}

// selecting is what else takes pods, or selects them: seen before any is detached.
func selecting() []Rule {
	list := []string{"list"}
	return []Rule{
		{core, []string{"replicationcontrollers"}, list},
		{networking, []string{"networkpolicies"}, list},
		{"autoscaling.k8s.io", []string{"verticalpodautoscalers"}, list},
	}
}

// Detaching is what replacing pods needs where no template changes, beside a restart's.
func Detaching() []Rule {
	return slices.Concat(selecting(), []Rule{
		{core, []string{"pods", "pods/status"}, []string{"patch"}},
		{core, []string{"pods/eviction"}, []string{"create"}},
		{discovery, []string{"endpointslices"}, look()},
	})
}

// Proving is what diff and prove ask besides; nothing is made.
func Proving() []Rule {
	return []Rule{
		{core, []string{"serviceaccounts/token"}, []string{"create"}}, // for istiod's secure port, where the plain one is shut
		{core, []string{"pods"}, []string{"create"}},                  // dry runs only
		{core, []string{"nodes"}, []string{"list"}},                   // whether there is room
	}
}

// Rehearsing is what rehearse needs: to make a namespace, fill it, ask its pods and
// remove it again. No other command removes namespaces, and the API server cannot
// be told to allow it of some only: it is a role of its own, for who wants it.
func Rehearsing() []Rule {
	create := []string{"create"}
	return merged(slices.Concat(Looking(), []Rule{
		{core, []string{"namespaces"}, []string{"create", "delete"}},
		{core, []string{"configmaps", "limitranges", "secrets", "serviceaccounts", "services"}, create},
		{core, []string{"limitranges", "serviceaccounts"}, []string{"list"}},
		{core, []string{"serviceaccounts"}, []string{"patch"}}, // the account that each namespace is given
		{core, []string{"pods"}, create},                       // dry runs only
		{apps, []string{"deployments"}, create},
		{"extensions.istio.io", []string{"*"}, create},
		{"networking.istio.io", []string{"*"}, create},
		{"security.istio.io", []string{"*"}, create},
		{telemetry, []string{"*"}, create},
		{coordination, []string{"leases"}, []string{"create", "update"}}, // one at a time
		// What is not copied is named; where this is not granted it says so.
		{core, []string{"persistentvolumeclaims", "resourcequotas"}, []string{"list"}},
		{"batch", []string{"cronjobs", "jobs"}, []string{"list"}},
		{networking, []string{"ingresses", "networkpolicies"}, []string{"list"}},
		{rbac, []string{"rolebindings"}, []string{"list"}},
		{gatewayAPI, []string{"*"}, []string{"list"}},
	}))
}

// Driving is what any run needs besides: its journal, its Lease, and evidence.
func Driving() []Rule {
	return []Rule{
		{core, []string{"configmaps"}, change()},
		{coordination, []string{"leases"}, []string{"create", "update"}},
		{core, []string{"pods"}, []string{"create"}}, // dry runs only: none is ever made
	}
}

// Doing is what a step of a kind needs, and its inverse.
func Doing(k plan.Kind) []Rule { //nolint:cyclop // a line for each kind
	switch k {
	case plan.PinDefault:
		return webhooks()
	case plan.UpgradeBase:
		return slices.Concat(webhooks(), release(), definitions())
	case plan.InstallRevision, plan.RemoveRevision, plan.RestoreRevision:
		return slices.Concat(webhooks(), release(), []Rule{
			{apps, []string{"deployments/scale"}, []string{"patch"}},
			{coordination, []string{"leases"}, []string{"delete"}},
			{admission, []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"}, append(change(), "get", "list")},
			{networking, []string{"networkpolicies"}, append(change(), "get", "list")},
		})
	case plan.MoveNamespace, plan.RestoreLabels:
		return []Rule{{core, []string{"namespaces"}, []string{"patch"}}}
	case plan.FirstPods, plan.Restart:
		return []Rule{{apps, []string{"daemonsets", "deployments", "statefulsets"}, []string{"patch"}}}
	case plan.Surge:
		return []Rule{
			{apps, []string{"deployments", "deployments/scale"}, []string{"patch"}},
			{autoscaling, []string{"horizontalpodautoscalers"}, []string{"patch"}},
			{core, []string{"pods"}, []string{"patch"}}, // which of them goes first
		}
	case plan.MoveTag, plan.SetTag, plan.RemoveTag:
		return slices.Concat(webhooks(), release())
	case plan.InstallChart, plan.RemoveChart, plan.RemoveRest:
		return slices.Concat(webhooks(), release(), definitions())
	case plan.AddGateway, plan.RenewGateway:
		return release()
	case plan.OpenGateway:
		return []Rule{{core, []string{"pods/status"}, []string{"patch"}}}
	case plan.MoveGateway: // it is compared, and its status and Routes are watched meanwhile (S-22, S-23)
		return append(Doing(plan.ReturnGateway),
			Rule{core, []string{"serviceaccounts/token"}, []string{"create"}}, Rule{core, []string{"pods/portforward"}, []string{"create"}},
			Rule{gatewayAPI, []string{"gateways", "grpcroutes", "httproutes", "tcproutes", "tlsroutes"}, look()})
	case plan.ReturnGateway, plan.DropClaims:
		return []Rule{
			{admission, []string{"mutatingwebhookconfigurations"}, change()},
			{apps, []string{"deployments"}, []string{"patch"}},
			{core, []string{"configmaps"}, change()},
			{core, []string{"events"}, []string{"create"}}, // that it is frozen, and no more
			{gatewayAPI, []string{"gateways"}, []string{"create", "delete", "patch"}},
		}
	case plan.DropTelemetry:
		return []Rule{{telemetry, []string{"telemetries"}, []string{"delete"}}}
	case plan.RenderGateway, plan.PutBackGateway:
		return append(release(), Rule{networking, []string{"networkpolicies"}, append(change(), "get", "list")})
	case plan.ScaleGateway:
		return []Rule{{apps, []string{"deployments", "deployments/scale"}, []string{"patch"}}}
	}
	return nil
}

// definitions are brought and upgraded, and never taken away: with them would go all
// that is stored (S-53).
func definitions() []Rule {
	return []Rule{{extensions, []string{"customresourcedefinitions"}, []string{"create", "patch", "update"}}}
}

func webhooks() []Rule {
	return []Rule{
		{admission, []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, change()},
		{core, []string{"services"}, change()},
	}
}

// release is what Helm does with Istio's charts. A role can be made only by who
// holds what is in it, or may escalate.
func release() []Rule {
	return []Rule{
		{core, []string{"configmaps", "secrets", "serviceaccounts", "services"}, append(change(), "get", "list")},
		{apps, []string{"deployments"}, change()},
		{autoscaling, []string{"horizontalpodautoscalers"}, change()},
		{policy, []string{"poddisruptionbudgets"}, change()},
		{rbac, []string{"clusterroles", "roles"}, append(change(), "bind", "escalate", "get", "list")},
		{rbac, []string{"clusterrolebindings", "rolebindings"}, append(change(), "get", "list")},
	}
}

// Needs is what applying the plan, and taking it back, needs: each resource once,
// sorted.
func Needs(p plan.Plan) []Rule {
	all := slices.Concat(Looking(), Driving())
	for _, st := range p.Steps {
		if st.ByGit() {
			continue // serin writes nothing of it
		}
		all = append(all, Doing(st.Kind)...)
		if len(st.Detach) > 0 && p.Request.Restarts == plan.Detach { // else what may not be detached is rolled out (S-43)
			all = append(all, Detaching()...)
		}
	}
	if slices.ContainsFunc(p.Steps, func(st plan.Step) bool { return slices.Contains(st.Needs, gate.Prove) }) {
		all = append(all, Proving()...)
	}
	return merged(all)
}

// Everything is what every plan may need, and --create-namespace.
func Everything() []Rule {
	all := slices.Concat(Looking(), Surveying(), Proving(), Driving(), Detaching(), reading(), Logging(), []Rule{{core, []string{"namespaces"}, []string{"create"}}})
	for _, k := range slices.Concat(plan.Kinds(), plan.GatewayKinds(), plan.OperationKinds()) {
		all = append(all, Doing(k)...)
	}
	return merged(all)
}

// ReadOnly is what the commands that only look need.
func ReadOnly() []Rule { return merged(slices.Concat(Looking(), Surveying(), selecting(), reading())) }

// reading is what gateway logs needs besides.
func reading() []Rule { return []Rule{{core, []string{"pods/log"}, []string{"get"}}} }

// Logging is what gateway logs --telemetry needs: to add a Telemetry, to say now and
// then that it still runs, and to remove it.
func Logging() []Rule {
	return []Rule{{telemetry, []string{"telemetries"}, []string{"create", "delete", "patch"}}}
}

// merged has one rule for each set of verbs of a group.
func merged(rules []Rule) []Rule {
	verbs := map[[2]string][]string{}
	for _, r := range rules {
		resources := r.Resources
		if r.Group == "*.istio.io" {
			for _, g := range istio() {
				verbs[[2]string{g, "*"}] = append(verbs[[2]string{g, "*"}], r.Verbs...)
			}
		}
		for _, res := range resources {
			key := [2]string{r.Group, res}
			verbs[key] = append(verbs[key], r.Verbs...)
		}
	}
	alike := map[[2]string][]string{}
	for key, v := range verbs {
		slices.Sort(v)
		line := [2]string{key[0], strings.Join(slices.Compact(v), ",")}
		alike[line] = append(alike[line], key[1])
	}
	var out []Rule
	for line, resources := range alike {
		slices.Sort(resources)
		out = append(out, Rule{line[0], resources, strings.Split(line[1], ",")})
	}
	slices.SortFunc(out, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), slices.Compare(a.Resources, b.Resources))
	})
	return out
}

// istio are the groups of Istio's custom resources (manifests/charts/base crds).
func istio() []string {
	return []string{"extensions.istio.io", "networking.istio.io", "security.istio.io", "telemetry.istio.io"}
}
