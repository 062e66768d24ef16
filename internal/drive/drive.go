// Package drive carries out what run.Next decides, one effect a call: store,
// do, report the next event. It declares the ports that the adapters implement
// and has no rules of its own.
package drive

import (
	"context"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// Reader looks at the mesh and never writes. Planning is handed only this.
type Reader interface {
	Observe(ctx context.Context) (mesh.Snapshot, error)
}

// Writer carries out steps. Apply and Revert are idempotent: after a crash they
// run again. They return when the deed is accepted by the API server, or, for
// restarts and installs, when it is rolled out or ctx ends; gates judge the rest.
// before is the mesh as it was when the run began.
type Writer interface {
	Apply(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error
	Revert(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error
}

// Gatherer collects the evidence that the named gates need. What cannot be had
// is in Evidence.Missing; an error means the shell broke (no API server).
type Gatherer interface {
	Gather(ctx context.Context, q gate.Question, gates []gate.Name) (gate.Evidence, error)
}

// Watcher notices what others change. Changed returns true as soon as something
// that the step is about may have changed since it was last asked of that step,
// at once the first time; false when d has passed; an error when ctx has ended.
type Watcher interface {
	Changed(ctx context.Context, st plan.Step, d time.Duration) (bool, error)
}

// Hooks are what users put beside serin's own gates. Ask returns an answer for each
// hook of the kind, or why there is none yet, within seconds. Tell never waits.
type Hooks interface {
	Ask(ctx context.Context, kind gate.HookKind, about Occasion) []gate.HookAnswer
	Tell(about Occasion)
}

// Occasion is what a hook is asked about, or told of, as it is posted.
type Occasion struct {
	Hook    string    `json:"hook"`
	Type    string    `json:"type"`
	Run     string    `json:"run"`
	Step    int       `json:"step"` // number, 0 for the run itself
	Kind    string    `json:"kind,omitempty"`
	Target  string    `json:"target,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Version string    `json:"version,omitempty"`
	Phase   run.Phase `json:"phase"`
	Message string    `json:"message,omitempty"` // of an event
	At      time.Time `json:"at,omitzero"`       // of an event
}

// Journal keeps runs. Save is called before each effect. Wish is what a person
// asked of the run from another process since it was last read.
type Journal interface {
	Save(ctx context.Context, r run.Run) error
	Wish(ctx context.Context, id string, taken int64) (run.Wish, error)
}
