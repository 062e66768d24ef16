package check

import (
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Question is what is asked about: a target, or none where only the mesh as it
// is matters.
type Question struct {
	To        string   // Istio version to go to, empty if none is named
	From      []string // revisions to be left; all where none is named
	Since     string   // version from which changes matter; that of From where none is named
	Namespace string   // the one whose objects are asked about; all where none is named
}

// asksAbout says whether an object is asked about: what belongs to no namespace always is.
func (q Question) asksAbout(object string) bool {
	ns := spaceOf(object)
	return q.Namespace == "" || ns == "" || ns == q.Namespace
}

// Narrow leaves out the findings about objects that are not asked about.
func (q Question) Narrow(fs []Finding) []Finding {
	return slices.DeleteFunc(fs, func(f Finding) bool { return !q.asksAbout(f.Object) })
}

// spaceOf is the namespace of an object that users own, as findings name it; empty
// for everything else.
func spaceOf(object string) string {
	words := strings.Fields(object)
	if len(words) < 2 {
		return ""
	}
	switch words[0] {
	case "namespace":
		return words[1]
	case "release", "validator", "injector", "crd", "application", "helmrelease", "istiooperator", "istio":
		return "" // they are of the whole mesh, wherever they stand
	}
	for _, w := range words[1:] {
		if ns, _, ok := strings.Cut(w, "/"); ok {
			return ns
		}
	}
	return ""
}

// Check answers one question.
type Check struct {
	Asks   string   // for the manual
	Codes  []string // that it may find
	Look   func(mesh.Snapshot, Question) []Finding
	Change bool // it is about what changes between two releases
	User   bool // it is about who asks, not about the mesh: a plan is the same for everybody
}

// All are the checks, in the order of their codes. What depends on a plan's own
// scope (which workloads restart, which tags move) is judged by package plan.
func All() []Check {
	return []Check{
		{Asks: "may the user install Istio?", Codes: []string{codeDenied}, Look: permissions, User: true},
		{Asks: "does the Gateway API serve what istiod reads?", Codes: []string{codeGatewayServed}, Look: gatewayServed},
		{Asks: "are the Gateway API's definitions of a bundle that both releases read?", Codes: []string{codeGatewayBundle}, Look: gatewayBundle},
		{Asks: "what relies on alpha annotations?", Codes: []string{codeAlpha}, Look: alpha},
		{Asks: "which EnvoyFilters stop matching?", Codes: []string{codeProxyVersion}, Look: proxyVersion},
		{Asks: "which EnvoyFilters depend on their neighbours?", Codes: []string{codeRelative}, Look: relative},
		{Asks: "which EnvoyFilters use what is gone?", Codes: []string{codeRemovedType}, Look: removedTypes},
		{Asks: "is there room for a second istiod?", Codes: []string{codeRoom}, Look: room},
		{Asks: "can istiod lose a pod?", Codes: []string{codeAlone}, Look: alone},
		{Asks: "whose evictions always fail?", Codes: []string{codeTwoBudgets}, Look: twoBudgets},
		{Asks: "which webhooks call nothing?", Codes: []string{codeCallsNothing}, Look: callsNothing},
		{Asks: "which injectors lack a certificate?", Codes: []string{codeNoBundle}, Look: noBundle},
		{Asks: "which injectors could both take a pod?", Codes: []string{codeOverlap}, Look: overlap},
		{Asks: "does anybody validate configuration?", Codes: []string{codeUnvalidated}, Look: unvalidated},
		{Asks: "are Istio's definitions usable?", Codes: []string{codeNotEstablished, codeNotServed}, Look: definitions},
		{Asks: "does something else install Istio?", Codes: []string{codeInstaller}, Look: installers},
		{Asks: "do proxies fit their control planes?", Codes: []string{codeProxySkew}, Look: proxySkew},
		{Asks: "which Gateways does nobody deploy?", Codes: []string{codeNobodyDeploys}, Look: nobodyDeploys},
		{Asks: "of which gateways can something not be told?", Codes: []string{codeGatewayUnsure}, Look: gatewaysUnsure},
		{Asks: "which Gateways are frozen for too long?", Codes: []string{codeFrozen}, Look: frozenTooLong},
		{Asks: "was a Telemetry left behind?", Codes: []string{codeLeftTelemetry}, Look: leftTelemetries},
		{Asks: "which pods choose their proxy's image?", Codes: []string{codeOwnImage}, Look: ownImage},
		{Asks: "which known bugs would be met?", Codes: []string{codeBug}, Look: bugs},
		{Asks: "is a control plane outside of its cluster?", Codes: []string{codeUnsupported}, Look: external},
		{Asks: "which sidecars become native?", Codes: []string{codeNative}, Look: native},
		{Asks: "was a rehearsal left behind?", Codes: []string{codeRehearsal}, Look: rehearsals},
		{Asks: "whose own rollouts may lose requests?", Codes: []string{codeLosesRequests}, Look: rollouts},
		{Asks: "was a pod let go and left?", Codes: []string{codeLetGo}, Look: letGo},
		{Asks: "what changes on the way?", Look: notes, Change: true},
		{Asks: "which settings does the target no longer read?", Codes: []string{codeSetting}, Look: settings, Change: true},
		{Asks: "what could not be looked at?", Codes: []string{codeUnseen}, Look: unseen},
	}
}

// Look runs every check.
func Look(s mesh.Snapshot, q Question) []Finding {
	return look(s, q, func(Check) bool { return true })
}

// LookAtChanges runs only what judges the way from one release to another.
func LookAtChanges(s mesh.Snapshot, q Question) []Finding {
	return look(s, q, func(c Check) bool { return c.Change })
}

// LookAtMesh runs the checks that say the same whoever asks.
func LookAtMesh(s mesh.Snapshot, q Question) []Finding {
	return look(s, q, func(c Check) bool { return !c.User })
}

func look(s mesh.Snapshot, q Question, use func(Check) bool) []Finding {
	if len(q.From) == 0 {
		q.From = s.Revisions()
	}
	var out []Finding
	for _, c := range All() {
		if use(c) {
			out = append(out, c.Look(s, q)...)
		}
	}
	return Sorted(out)
}
