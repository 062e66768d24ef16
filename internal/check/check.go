package check

import (
	"github.com/serin-mesh/serin/internal/mesh"
)

// Question is what is asked about: a target, or none where only the mesh as it
// is matters.
type Question struct {
	To   string   // Istio version to go to, empty if none is named
	From []string // revisions to be left; all where none is named
}

// Check answers one question.
type Check struct {
	Asks  string   // for the manual
	Codes []string // that it may find
	Look  func(mesh.Snapshot, Question) []Finding
}

// All are the checks, in the order of their codes. What depends on a plan's own
// scope (which workloads restart, which tags move) is judged by package plan.
func All() []Check {
	return []Check{
		{"may the user install Istio?", []string{codeDenied}, permissions},
		{"does the Gateway API serve what istiod reads?", []string{codeGatewayServed}, gatewayServed},
		{"are the Gateway API's definitions of a bundle that both releases read?", []string{codeGatewayBundle}, gatewayBundle},
		{"what relies on alpha annotations?", []string{codeAlpha}, alpha},
		{"which EnvoyFilters stop matching?", []string{codeProxyVersion}, proxyVersion},
		{"which EnvoyFilters depend on their neighbours?", []string{codeRelative}, relative},
		{"which EnvoyFilters use what is gone?", []string{codeRemovedType}, removedTypes},
		{"is there room for a second istiod?", []string{codeRoom}, room},
		{"can istiod lose a pod?", []string{codeAlone}, alone},
		{"whose evictions always fail?", []string{codeTwoBudgets}, twoBudgets},
		{"which webhooks call nothing?", []string{codeCallsNothing}, callsNothing},
		{"which injectors lack a certificate?", []string{codeNoBundle}, noBundle},
		{"which injectors could both take a pod?", []string{codeOverlap}, overlap},
		{"does anybody validate configuration?", []string{codeUnvalidated}, unvalidated},
		{"are Istio's definitions usable?", []string{codeNotEstablished, codeNotServed}, definitions},
		{"does something else install Istio?", []string{codeInstaller}, installers},
		{"do proxies fit their control planes?", []string{codeProxySkew}, proxySkew},
		{"which Gateways does nobody deploy?", []string{codeNobodyDeploys}, nobodyDeploys},
		{"which pods choose their proxy's image?", []string{codeOwnImage}, ownImage},
		{"which known bugs would be met?", []string{codeBug}, bugs},
		{"what changes on the way?", nil, notes},
		{"which settings does the target no longer read?", []string{codeSetting}, settings},
		{"what could not be looked at?", []string{codeUnseen}, unseen},
	}
}

// Look runs every check.
func Look(s mesh.Snapshot, q Question) []Finding {
	if len(q.From) == 0 {
		q.From = s.Revisions()
	}
	var out []Finding
	for _, c := range All() {
		out = append(out, c.Look(s, q)...)
	}
	return Sorted(out)
}
