package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/shadow"
)

// Shadower asks each istiod of a revision what it would give a Gateway's proxy that
// comes from a template, and sets it beside what the proxies are given now.
type Shadower interface {
	Gateway(ctx context.Context, q shadow.Question, t corev1.PodTemplateSpec) ([]shadow.Report, error)
}

// Alike compares what two revisions that both claim a Gateway give its proxies (S-22).
type Alike struct {
	Reader   Reader
	Shadower Shadower
}

const (
	alikeWithin = time.Minute // at most, until every istiod answers fully and the same twice
	alikeLook   = time.Second
	alikeSame   = 4 // answers in a row that say the same are believed, however bad
)

// errPartial is an answer that says nothing yet.
var errPartial = errors.New("not compared")

// Compare asks until nothing stops the move, or until what does is what it was some
// answers before: an istiod that has just taken a claim may know the Gateway and not
// yet its routes. Bad news is in what it returns; an error is that there is none.
func (a Alike) Compare(ctx context.Context, st plan.Step, t corev1.PodTemplateSpec, accepted []string) (gate.Foresight, error) {
	bounded, cancel := context.WithTimeout(ctx, alikeWithin)
	defer cancel()
	var (
		last answer
		s    mesh.Snapshot
	)
	for {
		now := answer{same: 1}
		if last.same == 0 || last.why != nil { // who was to be asked may have gone
			s, now.why = a.Reader.Observe(bounded)
		}
		if now.why == nil {
			now.found, now.why = a.once(bounded, s, st, t)
		}
		if bounded.Err() == nil { // else it was cut short, and says nothing
			last = now.after(last)
		}
		if last.ends(accepted) {
			return last.found, nil
		}
		switch err := clock.Wait(bounded, alikeLook); {
		case err == nil:
		case ctx.Err() != nil:
			return gate.Foresight{}, fmt.Errorf("comparing what %s and %s give: %w", st.From, st.To, ctx.Err())
		case last.why != nil:
			return gate.Foresight{}, fmt.Errorf("for %s: %w", alikeWithin, last.why)
		default:
			return last.found, nil
		}
	}
}

// answer is what came of one comparison, and of how many in a row.
type answer struct {
	found gate.Foresight
	why   error
	same  int
}

// after counts it together with the one before, where that says the same.
func (a answer) after(last answer) answer {
	if a.why == nil && last.why == nil && slices.Equal(a.found.Found, last.found.Found) {
		a.same += last.same
	}
	return a
}

// ends says whether nobody need ask again.
func (a answer) ends(accepted []string) bool {
	return a.same > 0 && a.why == nil && (len(a.found.Stops(accepted)) == 0 || a.same >= alikeSame)
}

func (a Alike) once(ctx context.Context, s mesh.Snapshot, st plan.Step, t corev1.PodTemplateSpec) (gate.Foresight, error) {
	var f gate.Foresight
	q, err := shadow.Ask(s, st.To, st.From, "", st.Workloads)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errPartial, err)
	}
	reports, err := a.Shadower.Gateway(ctx, q, t)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errPartial, err)
	}
	return alike(reports)
}

// alike is what the istiods say together: what one of them would not give is not given.
func alike(reports []shadow.Report) (gate.Foresight, error) {
	f := gate.Foresight{Istiods: len(reports)}
	var not []string
	for _, r := range reports {
		for _, u := range r.Unasked {
			not = append(not, u.Why)
		}
		if len(r.Unasked) == 0 && (r.Workloads == 0 || r.Resources == 0) {
			not = append(not, "there is nothing to compare")
		}
		n, found := differences(r)
		f.Workloads, f.Resources, f.Expected = max(f.Workloads, r.Workloads), max(f.Resources, r.Resources), max(f.Expected, n)
		for _, d := range found {
			if !slices.Contains(f.Found, d) {
				f.Found = append(f.Found, d)
			}
		}
	}
	if len(not) > 0 || len(reports) == 0 {
		slices.Sort(not)
		return gate.Foresight{}, fmt.Errorf("%w: %s", errPartial, strings.Join(slices.Compact(not), "; "))
	}
	return f, nil
}
