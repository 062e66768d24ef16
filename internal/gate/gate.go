// Package gate judges evidence: each gate answers Open, Shut or Unknown, and
// says why. Unknown never opens.
//
// It is part of the pure core: an adapter gathers the Evidence, Judge only reads
// it. Each gate has a file of its own; start reading at Judge.
package gate

import (
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Name names a gate. It reaches plans, statuses and reports.
type Name string

// The gates.
const (
	ControlPlane  Name = "control-plane"  // the revision's istiod is ready at its size, its injector has a CA bundle and selectors that match
	Injection     Name = "injection"      // two agreeing server-side dry-run pods a namespace are injected by the expected revision, by exactly one webhook
	Tags          Name = "tags"           // injector, Service and validator of each tag agree, and the one in question leads to the revision (S-2)
	CRDs          Name = "crds"           // Istio's CRDs are Established
	RolledOut     Name = "rolled-out"     // the step's workloads have all their pods ready, on the expected revision
	Proxies       Name = "proxies"        // exactly the moved proxies are connected to the new istiod, in sync at its version; the others are well on the old (S-10)
	Served        Name = "served"         // the moved pods answered requests (S-11), as well as those before them
	Requests      Name = "requests"       // serin's own probes through the mesh, against the time before the step
	Metrics       Name = "metrics"        // what a Prometheus knows: the traffic of what moves, the istiods, the user's own queries
	NothingRefers Name = "nothing-refers" // nothing relies on or names the revision that goes (S-54)
	NothingLeft   Name = "nothing-left"   // no control plane, webhook or release of Istio is left
	Approval      Name = "approval"       // a person said yes to this step
	Git           Name = "git"            // what the step changes has come from Git (S-45); no step asks for it: a run that waits does
	Within        Name = "window"         // the hours in which the step may begin
	ConfirmStart  Name = "confirm-start"  // the user's own hooks say that the upgrade may begin
	ConfirmWave   Name = "confirm-wave"   // and that a wave may
	Wave          Name = "wave"           // and that all is well in its proof
	Prove         Name = "prove"          // the new revision was asked what it would inject, refuse and send: nothing of it is dangerous, or unexplained and not approved
	Steady        Name = "steady"         // the new gateway's pods are on their revision and ready, but for their readiness gate (S-29)
	SameServing   Name = "parity"         // the new gateway's pods have the listeners, routes and certificates of the old one's (S-29)
	SameAnswers   Name = "answers"        // and answer as they do, asked directly, per host, port and path
)

// State is a gate's answer.
type State string

// The answers. Only Open lets a step go on.
const (
	Open    State = "open"
	Shut    State = "shut"
	Unknown State = "unknown"
)

// Verdict is a gate's answer and why.
type Verdict struct {
	Gate   Name   `json:"gate"`
	State  State  `json:"state"`
	Reason string `json:"reason"`
	Asks   bool   `json:"asks,omitempty"`  // a person's approval of the step would open it
	Waits  bool   `json:"waits,omitempty"` // it opens in its own time, for which no patience runs out
}

// Question is what a gate is asked: the step's facts, without the step.
type Question struct {
	Revision   string     `json:"revision"`             // the revision that must serve after the step
	Old        string     `json:"old,omitempty"`        // the revision that is being left
	Version    string     `json:"version,omitempty"`    // of Revision
	Namespaces []string   `json:"namespaces,omitempty"` // whose dry-run pods must be injected by Revision
	Workloads  []mesh.Ref `json:"workloads,omitempty"`  // that the step moves
	Step       int        `json:"step"`                 // its number, for the approval
	MinServed  int        `json:"minServed,omitempty"`  // requests each moved workload must have answered
	Counted    bool       `json:"counted,omitempty"`    // what Workloads and their callers count is compared with what they had counted before the step
	Tag        string     `json:"tag,omitempty"`        // the only one in question
	Istiods    int        `json:"istiods,omitempty"`    // the fewest that are enough, where it is not two and the old revision's
	FirstPods  bool       `json:"firstPods,omitempty"`  // only the first pod of each workload moves; the others stay where they are
	Windows    []Hours    `json:"windows,omitempty"`    // in which the step may begin (Within)
	Accept     []string   `json:"accept,omitempty"`     // patterns of differences that may be (Prove)
	Beside     *mesh.Ref  `json:"beside,omitempty"`     // the gateway that Workloads are to equal
	Held       bool       `json:"held,omitempty"`       // pods that only their readiness gate keeps from being Ready are there (S-29)
	Opened     int        `json:"opened,omitempty"`     // but so many of them are to be Ready
	Pod        string     `json:"pod,omitempty"`        // the only pod of Workloads in question, and nobody else's
}

// Evidence is what an adapter saw. A part that could not be gathered is nil or
// empty and has its reason in Missing, so that the gate is Unknown and not Open.
type Evidence struct {
	At        time.Time       `json:"at"`
	Snapshot  mesh.Snapshot   `json:"-"`
	DryRuns   []DryRun        `json:"dryRuns,omitempty"`
	Proxies   []Proxy         `json:"proxies,omitempty"`  // everything the istiods of all revisions report
	Served    map[string]int  `json:"served,omitempty"`   // pod namespace/name -> requests answered since it started
	Requests  []Comparison    `json:"requests,omitempty"` // of each probe
	Pods      []Comparison    `json:"pods,omitempty"`     // as the moved pods and their callers counted
	Readings  []Reading       `json:"readings,omitempty"` // of a Prometheus
	Traffic   []Comparison    `json:"traffic,omitempty"`  // as a Prometheus knows it
	Parity    *Parity         `json:"parity,omitempty"`
	Answers   *Answers        `json:"answers,omitempty"`
	Hooks     []HookAnswer    `json:"hooks,omitempty"`
	Foresight *Foresight      `json:"foresight,omitempty"`
	Approved  map[int]string  `json:"approved,omitempty"` // step -> who
	Missing   map[Name]string `json:"missing,omitempty"`  // gate -> why its evidence is not there
}

// DryRun is one server-side dry-run pod.
type DryRun struct {
	Namespace string `json:"namespace"`
	Revision  string `json:"revision"` // annotation istio.io/rev of the answer, empty if it was not injected
	Proxies   int    `json:"proxies"`  // containers and init containers named istio-proxy
	Error     string `json:"error,omitempty"`
}

// Proxy is a proxy as the istiod it is connected to reports it (R§7.1 syncz).
type Proxy struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`               // of the pod
	Revision  string        `json:"revision"`           // of the istiod it is connected to
	Istiod    string        `json:"istiod"`             // the istiod's pod
	Version   string        `json:"version"`            // of the proxy
	Stale     []string      `json:"stale,omitempty"`    // types sent and not acknowledged, "CDS"
	StaleFor  time.Duration `json:"staleFor,omitempty"` // as long as it has been seen so, without a break
	Rejected  []string      `json:"rejected,omitempty"` // "LDS: reason"
}

// Comparison sets requests during a step against those before it: a probe's, or
// those that pods of the mesh counted.
type Comparison struct {
	Name   string `json:"name"`
	Before Window `json:"before"`
	Now    Window `json:"now"`    // since the step began
	Lately Window `json:"lately"` // the newest of Now, since the deed was done: how fast it is when all has settled
	Long   bool   `json:"long"`   // Lately is so long after the deed that what is slow in it lasts
	Limits Limits `json:"limits"`
}

// Limits say how many requests mean something, and what is too slow.
type Limits struct {
	Samples int           `json:"samples,omitempty"` // fewer say nothing; default 20
	Slower  float64       `json:"slower,omitempty"`  // so many times as slow is too slow; default 1.5
	By      time.Duration `json:"by,omitempty"`      // if it is by so much as well; default 50ms
}

// Window counts requests in a stretch of time.
type Window struct {
	Sent      int           `json:"sent"`
	Failed    int           `json:"failed"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
	Example   string        `json:"example,omitempty"` // of a failure
	Latencies []Bucket      `json:"-"`                 // of those that went well, sorted
}

// Bucket counts requests that took longer than From and no longer than UpTo.
type Bucket struct {
	From, UpTo time.Duration
	N          int
}
