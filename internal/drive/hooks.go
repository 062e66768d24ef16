package drive

import (
	"context"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// occasion is where the run stands, for a hook.
func occasion(r run.Run, step int) Occasion {
	o := Occasion{Run: r.ID, Phase: r.Phase, To: r.Plan.To, Version: r.Plan.Version}
	if step > 0 && step <= len(r.Plan.Steps) {
		st := r.Plan.Steps[step-1]
		o.Step, o.Kind, o.Target, o.From, o.To = st.Number, string(st.Kind), st.Target, st.From, st.To
		if st.Version != "" {
			o.Version = st.Version
		}
	}
	return o
}

// hooked asks the hooks that the gates are about.
func (l *loop) hooked(ctx context.Context, r run.Run, gates []gate.Name) []gate.HookAnswer {
	var out []gate.HookAnswer
	for _, g := range gates {
		if kind := gate.Hooked(g); kind != "" && l.p.Hooks != nil {
			out = append(out, l.p.Hooks.Ask(ctx, kind, occasion(r, r.At+1))...)
		}
	}
	return out
}

// recalled is the wish of a rollback hook that says yes: everything is taken back,
// onto an old revision that is well (S-48). A deed that is under way is finished first. That it cannot be asked takes nothing back.
func (l *loop) recalled(ctx context.Context, r run.Run) run.Wish {
	going := r.Phase == run.Waiting || r.Phase == run.Applying || r.Phase == run.Proving
	if l.p.Hooks == nil || !going {
		return run.Wish{}
	}
	for _, a := range l.p.Hooks.Ask(ctx, gate.RollbackHook, occasion(r, r.At+1)) {
		if a.Yes && a.Missing == "" {
			return run.Wish{Kind: run.WishRollback, By: "hook " + a.Name + " (" + a.Said + ")", Seq: r.WishSeq, Recalled: true}
		}
	}
	return run.Wish{}
}

// tell tells the event hooks what the run's log has more than before. A run that has
// only begun has told nobody of that.
func (l *loop) tell(was, now run.Run) {
	if l.p.Hooks == nil || !hasHook(now.Plan, gate.EventHook) {
		return
	}
	from := len(was.Log)
	if !l.begun && len(was.Log) == 1 {
		from = 0
	}
	l.begun = true
	for _, entry := range now.Log[min(from, len(now.Log)):] {
		o := occasion(now, entry.Step)
		o.Message, o.At = entry.What, entry.At
		l.p.Hooks.Tell(o)
	}
}

func hasHook(p plan.Plan, kind gate.HookKind) bool {
	for _, h := range p.Request.Hooks {
		if h.Type == kind {
			return true
		}
	}
	return false
}
