package drive

import (
	"context"
	"slices"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// backLooks is how often the dry-run pods are looked at after a label or a tag has
// gone back, a second apart.
const backLooks = 60

// ledBack waits, once a label or a tag has gone back, until two dry-run pods agree that
// what follows it is injected by the old revision again: API servers learn of it one
// after the other, and a pod that is made before that comes up on the revision it was to
// leave (S-8). Nothing keeps an undo from going on: what does not agree in a minute is
// noted, and a restart looks at its pods itself.
func (l *loop) ledBack(ctx context.Context, st plan.Step) []string {
	leads := st.Kind == plan.MoveNamespace || st.Kind == plan.MoveTag
	if !leads || st.From == "" || st.From == st.To || !slices.Contains(st.Proof, gate.Injection) {
		return nil
	}
	q := st.Question
	q.Revision, q.Old = st.From, st.To
	for n := 1; ; n++ {
		v := l.injected(ctx, q)
		if v.State == gate.Open {
			return nil
		}
		if n == backLooks || l.p.Wait(ctx, interval) != nil {
			return []string{"not seen to inject " + st.From + " again: " + v.Reason}
		}
	}
}

// injected judges dry-run pods where the question's revision is to inject, by the labels
// and webhooks as they are: what else the step's question is about has another label,
// which goes back in a step of its own.
func (l *loop) injected(ctx context.Context, q gate.Question) gate.Verdict {
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	ev, err := l.p.Gatherer.Gather(look, q, []gate.Name{gate.Injection})
	if err != nil {
		return gate.Verdict{Gate: gate.Injection, State: gate.Unknown, Reason: err.Error()}
	}
	led := map[string]bool{}
	for _, ns := range ev.Snapshot.Namespaces {
		led[ns.Name] = ev.Snapshot.Injection(ns.Labels, nil).Revision == q.Revision
	}
	for _, w := range ev.Snapshot.Workloads {
		if slices.Contains(q.Workloads, w.Ref) && ev.Snapshot.InjectionOf(w).Revision == q.Revision {
			led[w.Namespace] = true
		}
	}
	q.Namespaces = slices.DeleteFunc(slices.Clone(q.Namespaces), func(ns string) bool { return !led[ns] })
	if len(q.Namespaces) == 0 {
		return gate.Verdict{Gate: gate.Injection, State: gate.Open}
	}
	return gate.Judge(gate.Injection, q, ev)
}
