package drive

import (
	"context"
	"fmt"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// tendTime is between two looks for pods of a gateway that were made anew. One is let
// in that was proven in two of them: what is ready and not ready in turns is not.
const tendTime = 10 * time.Second

// admitter is a Writer that lets a pod into its gateway's Service, unless most are in;
// it says whether it did. Most 0 is no bound.
type admitter interface {
	Admit(ctx context.Context, of mesh.Ref, pod string, most int) (bool, error)
}

// Tender lets pods into the Services of gateways that a run has opened, where they were
// made anew since then: nobody else would, and in the end nobody would serve (S-29, S-30).
type Tender struct {
	at     time.Time       // of the last look
	proven map[string]bool // at that look, namespace/name
}

// Admitted is what a look has come to.
type Admitted struct {
	In  []string // pods that were let in
	Out []string // those that were not, and why
}

// Tend looks once at the gateways.
func (t *Tender) Tend(ctx context.Context, p Ports, tended []run.Tended) (Admitted, error) {
	var out Admitted
	t.at = p.Now()
	w, ok := p.Writer.(admitter)
	if !ok || len(tended) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := p.Reader.Observe(ctx)
	if err != nil {
		return out, fmt.Errorf("observing the mesh: %w", err)
	}
	before := t.proven
	t.proven = map[string]bool{}
	for _, one := range tended {
		if one.Full(s) {
			continue
		}
		for _, a := range plan.Admissions(s, one.Step) {
			name := one.Gateway().Namespace + "/" + a.Pod
			why := unproven(ctx, p.Gatherer, a)
			t.proven[name] = why == ""
			if why == "" && !before[name] {
				why = "it was proven once, and must be once more"
			}
			if why == "" {
				why = let(ctx, w, one, a.Pod)
			}
			if why == "" {
				out.In = append(out.In, name)
			} else {
				out.Out = append(out.Out, name+": "+why)
			}
		}
	}
	return out, nil
}

// let says why a pod could not be let in, nothing if it was.
func let(ctx context.Context, w admitter, t run.Tended, pod string) string {
	in, err := w.Admit(ctx, t.Gateway(), pod, t.Most)
	switch {
	case err != nil:
		return err.Error()
	case !in:
		return "as many as may be are in the Service, or it is held no more"
	}
	return ""
}

// unproven says why the pod is not proven, nothing if it is.
func unproven(ctx context.Context, g Gatherer, a plan.Admission) string {
	ev, err := g.Gather(ctx, a.Asked, a.Needs)
	if err != nil {
		return err.Error()
	}
	for _, n := range a.Needs {
		if v := gate.Judge(n, a.Asked, ev); v.State != gate.Open {
			return fmt.Sprintf("%s %s (%s)", v.Gate, v.State, v.Reason)
		}
	}
	return ""
}

// tend looks now and then whether a pod of a gateway that the run has let in was made
// anew, and returns which were let in. It stops nothing: what cannot be seen now is
// seen later.
func (l *loop) tend(ctx context.Context, r run.Run) []string {
	if l.p.Now().Sub(l.tender.at) < tendTime {
		return nil
	}
	is, err := l.tender.Tend(ctx, l.p, r.Tends())
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range is.In {
		out = append(out, "pod "+name+" was made anew, is proven, and is in the Service")
	}
	return out
}

// meanwhile goes on tending while a deed is done, which may take hours; the gateway is
// another one than the deed's, or has let in no more than it keeps. The function ends
// it, and returns what was let in.
func (l *loop) meanwhile(ctx context.Context, r run.Run) func() []string {
	if len(r.Tends()) == 0 {
		return func() []string { return nil }
	}
	ctx, stop := context.WithCancel(ctx)
	ctx, release := l.whileHeld(ctx)
	done := make(chan []string)
	go func() {
		var in []string
		for l.p.Meanwhile(ctx, tendTime) == nil {
			in = append(in, l.tend(ctx, r)...)
		}
		done <- in
	}()
	return func() []string {
		stop()
		defer release()
		return <-done
	}
}
