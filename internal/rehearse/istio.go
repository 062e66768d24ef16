package rehearse

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// The API groups whose kinds are told apart.
const (
	networking = "networking.istio.io"
	gatewayAPI = "gateway.networking.k8s.io"
)

// config is an object of Istio's for the copy: what it says of the namespace's
// Services and accounts it says of the copy's, and nobody else is given it.
func (b *builder) config(o Object) (copied Object, changes []string, why string) { //nolint:nonamedreturns // two texts
	if rev := text(o, "metadata", "labels", mesh.RevLabel); rev != "" && rev != b.request.Revision {
		return nil, nil, "it is pinned to revision " + rev + ": " + b.request.Revision + " does not read it"
	}
	switch o.Kind() {
	case "Gateway":
		return nil, nil, "clients come in by it"
	case "WorkloadEntry", "WorkloadGroup":
		return nil, nil, "it is a machine outside of the cluster, which would serve both"
	}
	if targetsOther(o) {
		return nil, nil, "it is bound by targetRefs to what is not copied"
	}
	out := o.moved(b.request)
	out["spec"] = changed(out["spec"], b.names.turn)
	switch o.Kind() {
	case "VirtualService":
		changes, why = b.routes(out)
	case "Sidecar":
		for _, e := range elements(out, "spec", "egress") {
			each(e, "hosts", b.names.qualified)
		}
	case "AuthorizationPolicy":
		b.policy(out)
	}
	if why != "" {
		return nil, nil, why
	}
	if slices.Contains([]string{"VirtualService", "DestinationRule", "ServiceEntry"}, o.Kind()) {
		put(out, []any{"."}, "spec", "exportTo")
	}
	return out, changes, ""
}

// targetsOther says whether an object is for a Gateway or a Service only, which
// is a waypoint's business.
func targetsOther(o Object) bool {
	return below(o, "spec", "targetRef") != nil || len(elements(o, "spec", "targetRefs")) > 0
}

// routes leaves of a VirtualService what the namespace's own callers go by. One
// that only a gateway uses is not copied: two of one host would share its clients.
func (b *builder) routes(o Object) ([]string, string) {
	gateways := words(o, "spec", "gateways")
	delete(below(o, "spec"), "gateways")
	if len(gateways) == 0 {
		b.delegates(o)
		return nil, ""
	}
	if !slices.Contains(gateways, "mesh") {
		return nil, "clients come in by it, through " + strings.Join(gateways, " and ")
	}
	for _, protocol := range []string{"http", "tcp", "tls"} {
		if rules, ok := at(o, "spec", protocol).([]any); ok {
			put(o, slices.DeleteFunc(rules, foreign), "spec", protocol)
		}
	}
	b.delegates(o)
	if len(gateways) == 1 {
		return nil, ""
	}
	others := slices.DeleteFunc(slices.Clone(gateways), func(g string) bool { return g == "mesh" })
	return []string{"for the mesh alone, not for " + strings.Join(others, " and ")}, ""
}

// foreign says whether a rule matches through gateways only, and takes such matches from it.
func foreign(rule any) bool {
	m, _ := rule.(map[string]any)
	matches, ok := m["match"].([]any)
	if !ok || len(matches) == 0 {
		return false
	}
	left := slices.DeleteFunc(matches, func(e any) bool {
		match, _ := e.(map[string]any)
		gateways := words(match, "gateways")
		return len(gateways) > 0 && !slices.Contains(gateways, "mesh")
	})
	for _, e := range left {
		if match, ok := e.(map[string]any); ok {
			delete(match, "gateways")
		}
	}
	m["match"] = left
	return len(left) == 0
}

func (b *builder) delegates(o Object) {
	for _, rule := range elements(o, "spec", "http") {
		if ns := text(rule, "delegate", "namespace"); ns != "" {
			put(rule, b.names.own(ns), "delegate", "namespace")
		}
	}
}

// policy lets the copy's workloads do to each other what the originals may.
func (b *builder) policy(o Object) {
	for _, rule := range elements(o, "spec", "rules") {
		for _, from := range elements(rule, "from") {
			source := below(from, "source")
			for _, key := range []string{"namespaces", "notNamespaces"} {
				each(source, key, b.names.own)
			}
			for _, key := range []string{"serviceAccounts", "notServiceAccounts"} {
				each(source, key, b.names.qualified)
			}
		}
		for _, when := range elements(rule, "when") {
			for _, key := range []string{"values", "notValues"} {
				switch text(when, "key") {
				case "source.namespace":
					each(when, key, b.names.own)
				case "source.serviceAccount":
					each(when, key, b.names.qualified)
				}
			}
		}
	}
}

// each turns every text of a list.
func each(m map[string]any, key string, turn func(string) string) {
	if list, ok := m[key].([]any); ok {
		m[key] = changed(list, turn)
	}
}
