package cli

import (
	"context"
	"io"
	"time"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/rehearse"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/shadow"
	"github.com/serin-mesh/serin/internal/xds"
)

// Rendering asks what a step would make.
type Rendering struct {
	Plan   plan.Plan
	Step   plan.Step
	Before mesh.Snapshot
	Server bool // the API server is asked too whether it would accept it
}

// World is everything outside the process, as constructors: nothing is reached
// before a command needs it, and planning is never given more than a Reader.
// cmd/serin fills it with the adapters, the scripts with a mesh in memory.
type World struct {
	Reader func(Target) (drive.Reader, error)
	// Workload is one workload or pod, also one that nobody injects.
	Workload func(context.Context, Target, mesh.Ref) (mesh.Workload, bool, error)
	Journal  func(Target) (Journal, error)
	Proxies  func(context.Context, Target) ([]gate.Proxy, error) // what the istiods report
	// Connections is the same for people: all of it, and those that did not answer.
	Connections func(context.Context, Target) ([]xds.Answer, error)
	// Admin asks the Envoy of a pod for a path of its admin port.
	Admin func(ctx context.Context, t Target, at Endpoint, path string) ([]byte, error)
	// Logs is what a container has written, or writes.
	Logs func(context.Context, Target, LogQuestion) (io.ReadCloser, error)
	// AccessLogs knows who writes access logs, and has them written.
	AccessLogs func(Target) (AccessLogs, error)
	Lacks      func(context.Context, Target, []access.Rule) ([]string, error) // what of it the user may not do
	// Asker asks the istiods what they would do.
	Asker   func(Target) (Asker, error)
	Drivers func(context.Context, Target, plan.Plan) (Drivers, error)
	// Hooks asks the hooks, and runs those that are commands where it is told so; the function ends it.
	Hooks    func(hs []plan.Hook, commands bool) (drive.Hooks, func())
	Manifest func(context.Context, Target, Rendering) ([]byte, error) // as YAML
	// Content is what a step is made of, for those who commit it, without secrets.
	Content func(context.Context, Target, Rendering) (plan.Content, error)
	// Evidence is what gates judge, for a command that drives nothing; the function ends it.
	Evidence func(context.Context, Target, plan.Plan) (drive.Gatherer, func(), error)
	// Rehearsals makes copies of namespaces; the function ends it.
	Rehearsals func(Target) (Rehearsals, func(), error)
	// Carried is the release that a step would install, secrets masked.
	Carried func(t Target, p plan.Plan, st plan.Step, before mesh.Snapshot) (mesh.Release, error)
	// Kept is the version of a removed control plane that is kept, empty if none is.
	Kept             func(context.Context, Target, mesh.ControlPlane) (string, error)
	CreateNamespaces func(ctx context.Context, t Target, names []string) error

	Now     func() time.Time
	Wait    func(context.Context, time.Duration) error // nil once the time has passed
	Who     func() string                              // who types, for the record
	Version string                                     // serin's own
}

// Asker asks the istiods what they would do; nothing is done.
type Asker interface {
	// Configs is, of each workload, what its proxy is given now and what it would be.
	Configs(context.Context, shadow.Question) (shadow.Report, error)
	// Prove is that, the pods that the workloads would become, and what the validators say of everything of Istio's that is stored.
	Prove(context.Context, shadow.Question) (shadow.Proof, error)
}

// AccessLogs knows who writes access logs, and has them written for a while.
type AccessLogs interface {
	Logging(ctx context.Context, planes []mesh.ControlPlane, namespace string) (accesslog.Facts, error)
	// Try asks the API server whether it would take the Telemetry, and returns it as YAML.
	Try(ctx context.Context, t accesslog.Telemetry, m accesslog.Marks) ([]byte, error)
	Add(ctx context.Context, t accesslog.Telemetry, m accesslog.Marks) (mesh.Telemetry, error)
	// Renew says that the command that added it still runs; drive.ErrRefused: somebody has removed it.
	Renew(ctx context.Context, t mesh.Telemetry, until time.Time) error
	Remove(ctx context.Context, t mesh.Telemetry) error
}

// Rehearsals makes copies of what is in a namespace, and takes them away.
type Rehearsals interface {
	// Source is what is in the namespace.
	Source(ctx context.Context, namespace string) (rehearse.Source, error)
	// Make makes the copy, which must not be there.
	Make(ctx context.Context, p rehearse.Plan) error
	// Standing is how the copies' pods are.
	Standing(ctx context.Context, p rehearse.Plan) ([]rehearse.Standing, error)
	// Rehearsed asks the copies, and the originals, at the ports of their Services.
	Rehearsed(ctx context.Context, p rehearse.Plan) ([]rehearse.Answer, error)
	// Remove takes the copy of a namespace away, and returns once it is gone.
	Remove(ctx context.Context, of, name string) error
}

// Endpoint is a port of a pod.
type Endpoint struct {
	Namespace, Pod string
	Port           int
}

// Drivers are what only a process that drives a run has. Close ends them, the
// prober among them.
type Drivers struct {
	Writer   drive.Writer
	Gatherer drive.Gatherer
	Watcher  drive.Watcher              // nil: looked each second
	Requests func() (ended, failed int) // of the prober; nil without one
	Close    func()
}

// Journal is what the command line asks of the journal, besides drive.Journal.
type Journal interface {
	drive.Journal
	Load(ctx context.Context, id string) (run.Run, error)
	List(ctx context.Context) ([]run.Run, error) // the newest first
	Ask(ctx context.Context, id string, w run.Wish) (int64, error)
	// Acquire takes the mesh for this process, or says who has it.
	Acquire(ctx context.Context, holder string) (release func(), err error)
	// Holder is the process that has the mesh now, empty if there is none.
	Holder(ctx context.Context) (string, error)
}
