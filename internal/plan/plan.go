// Package plan turns a Snapshot and a Request into an ordered list of steps, and
// says what each step would make of a Snapshot. It is pure: same input, same bytes.
//
// It must not know clients, contexts, loggers or clocks. Start reading at Build.
package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// APIVersion is that of plans and requests kept in files.
const APIVersion = "serin.dev/v1alpha1"

// Kind says what a step does. Every switch over Kind is exhaustive.
type Kind string

// The kinds of step, in the order a plan uses them.
const (
	PinDefault      Kind = "pin-default-tag"    // default tag on, old unrevisioned injector off (S-1)
	UpgradeBase     Kind = "upgrade-base"       // CRDs, through the release that owns them
	InstallRevision Kind = "install-revision"   // istiod-<rev> beside the old one
	MoveNamespace   Kind = "move-namespace"     // its labels, in one patch
	FirstPods       Kind = "restart-first-pods" // one new pod of each workload of a wave that has several; the others stay
	Restart         Kind = "restart-workloads"  // rolling restart of one wave
	MoveTag         Kind = "move-tag"           // injector, Service, validator and base release of a tag
	RestoreLabels   Kind = "restore-labels"     // labels that name a tag or istio-injection, as they were (S-7)
	RemoveRevision  Kind = "remove-revision"    // the old control plane

	// Those of single operations; the gateways' are an upgrade's too, where it asks for a canary.
	SetTag          Kind = "set-tag"          // makes a tag, or lets all of one's parts lead to one revision
	RemoveTag       Kind = "remove-tag"       // injector, Service and validator of a tag
	InstallChart    Kind = "install-chart"    // a release of the base or the gateway chart
	RemoveChart     Kind = "remove-chart"     // such a release
	Surge           Kind = "surge-pods"       // one replica more of each Deployment, its template as it is
	RestoreRevision Kind = "restore-revision" // a removed control plane, from what its removal kept
	RemoveRest      Kind = "remove-rest"      // of a mesh that goes as a whole: what no release, tag or control plane holds

	AddGateway   Kind = "add-gateway"   // a second release behind the same Service, its pods held out of it (S-29)
	OpenGateway  Kind = "open-gateway"  // lets so many of its pods into the Service
	ScaleGateway Kind = "scale-gateway" // drains a gateway's Deployment, or brings it back
	RenewGateway Kind = "renew-gateway" // brings a drained gateway's release to another chart version (S-32)

	// Those of a Gateway that istiod deploys, which only meshes with such have.
	MoveGateway   Kind = "move-gateway"   // under a private tag, frozen, onto what the new revision makes of it (S-21)
	ReturnGateway Kind = "return-gateway" // to its own label, which leads to the new revision by now

	// Those of a gateway that istioctl renders, its image in its template.
	RenderGateway  Kind = "render-gateway"   // rendered again from its source, beside its old pods (S-33)
	PutBackGateway Kind = "put-back-gateway" // as it was at a revision: by itself, without a run

	DropClaims    Kind = "drop-claims"    // a repair's: claims that no Gateway follows (S-27)
	DropTelemetry Kind = "drop-telemetry" // a repair's: Telemetries that a killed gateway logs has left (S-34)
)

// GatewayKinds lists the kinds of an upgrade of a mesh with managed or rendered gateways.
func GatewayKinds() []Kind { return []Kind{MoveGateway, ReturnGateway, RenderGateway} }

// OperationKinds lists the kinds that single operations use, and no usual upgrade.
func OperationKinds() []Kind {
	return []Kind{SetTag, RemoveTag, InstallChart, RemoveChart, RestoreRevision, RemoveRest, Surge, AddGateway, OpenGateway, ScaleGateway, RenewGateway, PutBackGateway, DropClaims, DropTelemetry}
}

// Kinds lists the kinds of an upgrade, for the tests that walk them.
func Kinds() []Kind {
	return []Kind{PinDefault, UpgradeBase, InstallRevision, MoveNamespace, FirstPods, Restart, MoveTag, RestoreLabels, RemoveRevision}
}

// Step is data, never code: it can be printed, saved, stored and resumed by another process.
type Step struct {
	Number    int                `json:"number"` // from 1
	Kind      Kind               `json:"kind"`
	Target    string             `json:"target"`              // what a person calls it: a namespace, a tag, a release, a workload
	From      string             `json:"from,omitempty"`      // revision
	To        string             `json:"to,omitempty"`        // revision
	Version   string             `json:"version,omitempty"`   // Istio version of To (or of the base chart)
	Tag       string             `json:"tag,omitempty"`       // MoveTag
	Namespace string             `json:"namespace,omitempty"` // MoveNamespace, RestoreLabels, FirstPods, Restart
	Workloads []mesh.Ref         `json:"workloads,omitempty"` // Restart: all of this wave; FirstPods: those of it that go pod by pod
	Gateway   string             `json:"gateway,omitempty"`   // MoveGateway, ReturnGateway: the Gateway's name
	Last      *string            `json:"last,omitempty"`      // MoveGateway: its label istio.io/rev at the end of the plan, which its new pods carry already
	Before    map[string]*string `json:"before,omitempty"`    // labels that change, as they are; null is absent. Of a Gateway the controller's version besides
	After     map[string]*string `json:"after,omitempty"`     // and as they will be
	Detach    []mesh.Ref         `json:"detach,omitempty"`    // FirstPods, Restart: those whose pods are replaced out of their endpoints: a Deployment's are detached, others' retire one by one; the rest is rolled out
	Pace      int                `json:"pace,omitempty"`      // FirstPods, Restart: workloads at once
	Why       string             `json:"why,omitempty"`
	Needs     []gate.Name        `json:"needs,omitempty"`
	Proof     []gate.Name        `json:"proof,omitempty"`
	Question  gate.Question      `json:"question"`
	Soak      Duration           `json:"soak,omitempty"` // how long Proof must hold without a break
	Undo      Undo               `json:"undo"`
	Release   *mesh.Release      `json:"release,omitempty"`   // InstallChart, RemoveChart, AddGateway, RenewGateway: there with the values that differ
	Like      string             `json:"like,omitempty"`      // AddGateway: the release of the namespace whose values it takes
	Pods      *Pods              `json:"pods,omitempty"`      // OpenGateway, ScaleGateway
	Behind    *mesh.Ref          `json:"behind,omitempty"`    // OpenGateway, ScaleGateway, RemoveChart of a canary: the other gateway behind the Service, which has as many ready pods as go, or they stay
	Owner     mesh.OwnerKind     `json:"owner,omitempty"`     // UpgradeBase, InstallRevision: istioctl where it is done as istioctl does it, else Helm
	Injector  string             `json:"injector,omitempty"`  // SetTag: the name of its injector, where it is not the chart's
	Auto      bool               `json:"auto,omitempty"`      // SetTag: it injects namespaces without labels too
	Git       mesh.Owner         `json:"git,omitzero"`        // the tool from whose Git it is changed: serin writes nothing of it, says what to commit, waits and proves (S-45)
	Purge     bool               `json:"purge,omitempty"`     // RemoveTag, RemoveRevision: the whole mesh goes, whatever relies on it
	Claims    []mesh.Claim       `json:"claims,omitempty"`    // DropClaims
	Strays    []mesh.Telemetry   `json:"strays,omitempty"`    // DropTelemetry
	Plane     *mesh.ControlPlane `json:"plane,omitempty"`     // RestoreRevision: as it was
	UndoFirst int                `json:"undoFirst,omitempty"` // number of an earlier step that must be taken back before this one: a restart goes back only once its labels or tag have
}

// ByGit says whether the step is carried out from Git, and not by serin.
func (s Step) ByGit() bool { return s.Git.Git() }

// Moved are the workloads that the plan restarts, each once, sorted.
func (p Plan) Moved() []mesh.Ref {
	var out []mesh.Ref
	for _, st := range p.Steps {
		switch {
		case st.restarts():
			out = append(out, st.Workloads...)
		case st.Kind == AddGateway && p.Request.Operation == nil:
			out = append(out, *st.Question.Beside)
		}
	}
	slices.SortFunc(out, func(a, b mesh.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// restarts says whether the step makes pods on another revision.
func (s Step) restarts() bool { return s.Kind == FirstPods || s.Kind == Restart || s.Kind == Surge }

// makes says whether it makes pods that were not there on the revision.
func (s Step) makes() bool { return s.restarts() || s.Kind == AddGateway }

// Pods is how many pods there are before and after a step.
type Pods struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Undo says how a step is taken back in words, or why it cannot be.
type Undo struct {
	What         string `json:"what,omitempty"`
	Nothing      bool   `json:"nothing,omitempty"`      // nothing needs taking back; What says why
	Irreversible string `json:"irreversible,omitempty"` // the reason, shown before apply
}

// Request is what a user asks for; the CLI fills it from flags or a file.
type Request struct {
	APIVersion   string         `json:"apiVersion,omitempty"`
	Kind         string         `json:"kind,omitempty"`     // UpgradeRequest
	To           string         `json:"to"`                 // Istio version
	Revision     string         `json:"revision,omitempty"` // name of the new revision; default: To with dashes
	From         []string       `json:"from,omitempty"`     // revisions to leave; default: the only one there is
	Values       map[string]any `json:"values,omitempty"`   // Helm values of the new istiod, over those carried over
	Waves        []Wave         `json:"waves,omitempty"`    // default: one canary workload, the rest of its namespace, the other namespaces
	Gateways     []GatewayMove  `json:"gateways,omitempty"` // how gateways of the gateway chart move; default: in place, as any workload
	Soak         Duration       `json:"soak,omitempty"`     // of restarts; default 30s
	Patience     Duration       `json:"patience,omitempty"` // how long a proof may stay unknown, and a rollout take, before that counts as bad news; default 10m
	OnShut       OnShut         `json:"onShut,omitempty"`   // default hold
	Pace         int            `json:"pace,omitempty"`     // workloads restarted at once; default 5
	Restarts     Method         `json:"restarts,omitempty"` // how workloads get new pods; default auto
	MinServed    int            `json:"minServed,omitempty"`
	Budget       *int           `json:"budget,omitempty"`       // failed requests that the whole upgrade may cost: more than these are bad news at once, whatever the gates say
	Windows      []gate.Hours   `json:"windows,omitempty"`      // in which steps that move something may begin; default: any time
	Hooks        []Hook         `json:"hooks,omitempty"`        // the user's own, asked and told by the process that drives the run
	Probe        *Probe         `json:"probe,omitempty"`        // requests serin sends all the while
	Probes       []Probe        `json:"probes,omitempty"`       // and more of them
	Prometheus   *Prometheus    `json:"prometheus,omitempty"`   // that is asked in the proof of each step that moves something
	Prove        *Prove         `json:"prove,omitempty"`        // what the new revision is asked before anything moves
	Keep         bool           `json:"keep,omitempty"`         // keep the old revision: the plan ends before removing it
	IgnoreChecks []string       `json:"ignoreChecks,omitempty"` // codes of overridable findings
	Charts       string         `json:"charts,omitempty"`       // Helm repository or directory; default Istio's public one
	Operator     map[string]any `json:"operator,omitempty"`     // an IstioOperator, as a file has it, to install the new istiod from as istioctl does
	Owners       Owners         `json:"owners,omitempty"`       // default: as the marks in the cluster say
	Operation    *Operation     `json:"operation,omitempty"`    // one thing by itself instead of an upgrade
}

// Waits is the request's patience; a plan that was made without one has the default.
func (r Request) Waits() time.Duration { return time.Duration(cmp.Or(r.Patience, defaultPatience)) }

// Wave names workloads that move together. What is given must all fit; a Wave
// that gives nothing is everything left. Wholes (Namespaces, Tags) bring their
// namespaces' labels even where there is no workload.
type Wave struct {
	Namespaces []string          `json:"namespaces,omitempty"`
	Workloads  []string          `json:"workloads,omitempty"` // namespace/name
	Tags       []string          `json:"tags,omitempty"`      // namespaces that follow these tags
	Selector   map[string]string `json:"selector,omitempty"`  // pod template labels
	Percent    int               `json:"percent,omitempty"`   // of the workloads left, rounded up
	Approve    bool              `json:"approve,omitempty"`   // a person must say yes before this wave
	Soak       Duration          `json:"soak,omitempty"`
	Windows    []gate.Hours      `json:"windows,omitempty"` // in which its steps may begin, instead of the request's
}

// OnShut is what a run does when a gate is shut.
type OnShut string

// The policies for a shut gate (S-48).
const (
	Hold     OnShut = "hold"
	Rollback OnShut = "undo"
)

// Method is how a workload gets new pods.
type Method string

// The methods of a restart. Rollout changes its template, as kubectl rollout restart
// does. Detach lets an old pod go on serving until another has taken its place, and
// touches no template; Auto, the default, is that wherever every fence allows it (S-35 to
// S-43).
const (
	Rollout Method = "rollout"
	Detach  Method = "detach"
	Auto    Method = "auto"
)

// Owners says whose the mesh's declarations are, where no mark in the cluster does.
type Owners string

// OwnersGit says that all that is declared stands in Git. serin then writes only
// what nobody declares: restarts, probes, its own objects.
const OwnersGit Owners = "git"

// Prove says what is made of the proof before the first move. Without it every
// upgrade asks, and accepts only what a rule explains.
type Prove struct {
	Off    bool     `json:"off,omitempty"`    // nothing is asked
	Accept []string `json:"accept,omitempty"` // patterns of differences that may be, as serin diff shows them
}

// Plan is the whole upgrade, or the findings why there is none.
type Plan struct {
	APIVersion   string    `json:"apiVersion"`
	Kind         string    `json:"kind"` // Plan
	From         []string  `json:"from"`
	FromVersions []string  `json:"fromVersions"`
	To           string    `json:"to"`
	Version      string    `json:"version"`
	Request      Request   `json:"request"`
	Counts       Counts    `json:"counts"`
	Gateways     []Edge    `json:"gateways,omitempty"` // where there are several: which steps are whose
	Steps        []Step    `json:"steps"`
	Findings     []Finding `json:"findings,omitempty"`
	Digest       string    `json:"digest"` // of the request, steps and findings: a plan edited by hand no longer carries its own digest
}

// Counts is the size of the mesh that moves.
type Counts struct {
	ControlPlanes int `json:"controlPlanes"`
	Namespaces    int `json:"namespaces"`
	Workloads     int `json:"workloads"`
	Gateways      int `json:"gateways"`
	Proxies       int `json:"proxies"`
}

type (
	// Severity is how much a Finding weighs.
	Severity = check.Severity
	// Finding is the checks' own: a plan adds what depends on its scope.
	Finding = check.Finding
)

// The severities.
const (
	Mandatory   = check.Mandatory
	Overridable = check.Overridable
	Warning     = check.Warning
	Info        = check.Info
)
