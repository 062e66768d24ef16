package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// Prover asks a revision what it would make of workloads, before they move.
type Prover interface {
	Prove(ctx context.Context, q shadow.Question) (shadow.Proof, error)
}

// Moves is what a plan moves.
type Moves struct {
	To        string
	From      []string
	Workloads []mesh.Ref // nil: all
}

const (
	proveFor   = 30 * time.Minute // at most, for all that moves: some 60 ms a proxy
	proveLook  = 10 * time.Second // one look of a gate waits for it
	proveAgain = 30 * time.Second // what was bad news is asked again, and costs at most a tenth of the time
	shares     = 10
)

// Foresee asks what the new revision would make of what moves. A danger is asked
// about again before it is believed: an istiod that is new may not know all yet.
func Foresee(ctx context.Context, p Prover, s mesh.Snapshot, m Moves) (gate.Foresight, error) {
	for n := 1; ; n++ {
		f, err := foresee(ctx, p, s, m)
		danger := slices.ContainsFunc(f.Found, func(d gate.Difference) bool { return d.Dangerous })
		if err != nil || !danger || n == looks {
			return f, err
		}
		if err := clock.Wait(ctx, lookAgain); err != nil {
			return f, fmt.Errorf("asking revision %s: %w", m.To, err)
		}
	}
}

func foresee(ctx context.Context, p Prover, s mesh.Snapshot, m Moves) (gate.Foresight, error) {
	var (
		f    gate.Foresight
		late []string
	)
	for _, from := range m.From {
		q, err := shadow.Ask(s, m.To, from, "", m.Workloads)
		if err != nil {
			continue // nothing that moves is on it any more
		}
		proof, err := p.Prove(ctx, q)
		if err != nil {
			return f, fmt.Errorf("asking revision %s: %w", m.To, err)
		}
		f.Workloads += len(q.Workloads)
		f.Objects = max(f.Objects, proof.Validation.Objects)
		late = append(late, lateness(proof.Ground)...)
		f.Found = append(f.Found, grounds(proof.Ground)...)
		f.Found = append(f.Found, refused(proof.Validation)...)
		for _, r := range []shadow.Report{proof.Injection, proof.Configuration} {
			n, found := differences(r)
			f.Expected += n
			f.Later += later(r)
			f.Found = append(f.Found, found...)
		}
	}
	if len(late) > 0 && !slices.ContainsFunc(f.Found, func(d gate.Difference) bool { return d.Dangerous }) {
		return f, fmt.Errorf("%w: %s", errLate, strings.Join(late, "; "))
	}
	return f, nil
}

// errLate is an answer that is not in time: nobody decides about that, it passes or
// the run's patience ends.
var errLate = errors.New("answers are late")

// passes says whether a ground is one that mends by itself.
func passes(g shadow.Ground) bool { return g.About == shadow.Server || g.About == shadow.Istiods }

func lateness(gs []shadow.Ground) []string {
	var out []string
	for _, g := range gs {
		if passes(g) {
			out = append(out, string(g.About)+": "+g.Said)
		}
	}
	return out
}

// later is how many workloads the steps that move them compare.
func later(r shadow.Report) int {
	n := 0
	for _, u := range r.Unasked {
		if u.Later {
			n++
		}
	}
	return n
}

// differences are how many a rule explains, and the others.
func differences(r shadow.Report) (int, []gate.Difference) {
	expected, out := 0, []gate.Difference(nil)
	for _, u := range r.Unasked {
		if !u.Later { // else its step stops at what differs (S-22)
			out = append(out, gate.Difference{What: fmt.Sprintf("%s was not compared (%s)", u.Workload, u.Why)})
		}
	}
	for _, d := range r.Differences {
		if d.Class == shadow.Expected {
			expected++
			continue
		}
		g := gate.Difference{Pattern: d.Pattern(), Dangerous: d.Class == shadow.Dangerous}
		g.What = fmt.Sprintf("%s in %d of %s", g.Pattern, d.Workloads.N, mesh.Count(d.Workloads.Of, "workload"))
		switch {
		case d.Op == shadow.Rejected && d.Kind != shadow.Pods:
			g.Pattern, g.What = "", fmt.Sprintf("%s %s in %d of %s (%s: %v)", d.Kind, d.Example.Resource, d.Workloads.N, mesh.Count(d.Workloads.Of, "workload"), d.Why, d.To)
		case d.Op == shadow.Rejected: // no pattern makes a pod that cannot be created acceptable
			g.Pattern, g.What = "", fmt.Sprintf("the pod of %s would be refused (%v)", d.Example.Workload, d.To)
		case d.Why != "":
			g.What += " (" + d.Why + ")"
		}
		out = append(out, g)
	}
	return expected, out
}

// grounds are what the move would stand on, where it is not firm. Of it nothing is
// accepted beforehand: it is of the cluster and the hour, not of two releases.
func grounds(gs []shadow.Ground) []gate.Difference {
	var out []gate.Difference
	for _, g := range gs {
		if g.Class != shadow.Expected && !passes(g) {
			said, _, _ := strings.Cut(g.Said, "\n")
			out = append(out, gate.Difference{What: string(g.About) + ": " + said, Dangerous: g.Class == shadow.Dangerous})
		}
	}
	return out
}

// refused are the stored objects that the new revision does not take.
func refused(v shadow.Validation) []gate.Difference {
	var out []gate.Difference
	for _, o := range v.Found {
		if o.Class == shadow.Expected {
			continue
		}
		why := o.Denied
		if why == "" {
			why = o.Failed
		}
		out = append(out, gate.Difference{
			What: fmt.Sprintf("%s %s/%s: %s", o.Kind, o.Namespace, o.Name, why), Dangerous: o.Class == shadow.Dangerous,
		})
	}
	return out
}

// foresight is the asking, which takes longer than a look at the gates may.
type foresight struct {
	mu     sync.Mutex
	done   chan struct{} // closed when the asking has ended; nil before the first
	began  time.Time
	ended  time.Time
	result gate.Foresight
	err    error
	stop   context.CancelFunc
}

// foresightPart is what the new revision would make of what the plan moves.
func (g *Gatherer) foresightPart(ctx context.Context, s mesh.Snapshot, gates []gate.Name) part {
	if !slices.Contains(gates, gate.Prove) {
		return part{}
	}
	if g.prover == nil {
		return part{missing: map[gate.Name]string{gate.Prove: "nothing asks the new revision"}}
	}
	done := g.asking(ctx, s)
	look, cancel := context.WithTimeout(ctx, proveLook)
	defer cancel()
	select {
	case <-done:
	case <-look.Done():
		return part{missing: map[gate.Name]string{gate.Prove: "revision " + g.moves.To + " is still being asked"}}
	}
	g.foresight.mu.Lock()
	defer g.foresight.mu.Unlock()
	if err := g.foresight.err; err != nil {
		return part{missing: map[gate.Name]string{gate.Prove: err.Error()}}
	}
	result := g.foresight.result
	return part{foresight: &result}
}

// asking begins to ask, unless that is under way or its answer is good still, and
// returns what is closed at the end. It outlives one look.
func (g *Gatherer) asking(ctx context.Context, s mesh.Snapshot) <-chan struct{} {
	f := &g.foresight
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done != nil && (f.ended.IsZero() || g.now().Sub(f.ended) < f.rest()) {
		return f.done
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), proveFor)
	done := make(chan struct{})
	f.done, f.began, f.ended, f.stop = done, g.now(), time.Time{}, stop
	go func() {
		defer close(done)
		defer stop()
		result, err := Foresee(ctx, g.prover, s, g.moves)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.result, f.err, f.ended = result, err, g.now()
	}()
	return done
}

// rest is how long the answer is good. No answer is none: what was not reached costs
// little to ask again.
func (f *foresight) rest() time.Duration {
	if f.err != nil {
		return proveAgain
	}
	return max(proveAgain, shares*f.ended.Sub(f.began))
}

// end stops asking and waits until it has stopped.
func (f *foresight) end() {
	f.mu.Lock()
	done, stop := f.done, f.stop
	f.mu.Unlock()
	if done != nil {
		stop()
		<-done
	}
}
