package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

const (
	tendTries = 4                // looks at pods that were made anew
	tendPause = 10 * time.Second // between two
)

// shiftOfRun lets pods of a gateway in that an open run has opened: those that were made
// anew since then, while nobody drives it (S-29, S-30). No more than the run's last such
// step allows; it is no run of its own. It says whether there is such a run.
func (a *app) shiftOfRun(ctx context.Context, g mesh.Gateway, to string, dryRun bool) (bool, error) { //nolint:revive // whether it only says what it would do
	j, err := a.world.Journal(a.target)
	if err != nil {
		return false, err
	}
	r, t, err := tended(ctx, j, g.Ref)
	if err != nil || r == nil {
		return false, err
	}
	t, err = upTo(*r, t, g, to)
	if err != nil {
		return true, err
	}
	if dryRun {
		return true, a.say(exitOK, "run %s is open: %s of %s would be let in, once proven", r.ID, mesh.Count(t.Most-g.Ready, "more pod"), g.Ref)
	}
	release, err := a.acquire(ctx, j)
	if err != nil {
		return true, err
	}
	defer release()
	// What was seen before the Lease was held is looked at again.
	now, is, err := tended(ctx, j, g.Ref)
	if err != nil {
		return true, err
	}
	if now == nil || now.ID != r.ID || is.Most != 0 && is.Most < t.Most {
		return true, refused("run %s has gone on meanwhile\n  remedy: serin status shows it; then the same command again", r.ID)
	}
	return true, a.letIn(ctx, *now, t)
}

// tended is the open run that has let the gateway's pods in, nil if there is none.
func tended(ctx context.Context, j Journal, ref mesh.Ref) (*run.Run, run.Tended, error) {
	r, err := open(ctx, j)
	if err != nil || r == nil {
		return nil, run.Tended{}, err
	}
	for _, t := range r.Tends() {
		if t.Gateway() == ref {
			return r, t, nil
		}
	}
	return nil, run.Tended{}, nil
}

// upTo is what the run lets in, bounded by what was asked for.
func upTo(r run.Run, t run.Tended, g mesh.Gateway, to string) (run.Tended, error) {
	n, err := plan.Portion(to).Of(g.Replicas)
	if err != nil {
		return t, refused("%w\n  remedy: --to 1, --to 25%%, --to 100%%", err)
	}
	allowed := t.Most
	if allowed == 0 {
		allowed = g.Replicas
	}
	switch {
	case n > allowed && strings.HasSuffix(to, "%"): // of all that the run lets in: more come with its next steps
		n = allowed
	case n > allowed:
		return t, refused("run %s is open, and lets %s of %s in as far as it has come\n  remedy: --to %d; serin resume goes on with the run", r.ID, mesh.Count(allowed, "pod"), g.Ref, allowed)
	case n < g.Ready, n == 0:
		return t, refused("run %s is open: it takes pods of %s out of the Service itself\n  remedy: serin rollback", r.ID, g.Ref)
	}
	t.Most = n
	return t, nil
}

// letIn looks until as many pods are in as were asked for, or some are not proven in a while.
func (a *app) letIn(ctx context.Context, r run.Run, t run.Tended) error {
	d, err := a.world.Drivers(ctx, a.target, plan.Plan{})
	if err != nil {
		return err
	}
	if d.Close != nil {
		defer d.Close()
	}
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	var tender drive.Tender
	for n := 1; ; n++ {
		is, err := tender.Tend(ctx, a.ports(reader, d, nil), []run.Tended{t})
		if err != nil {
			return err
		}
		for _, name := range is.In {
			if _, err := fmt.Fprintf(a.io.Out, "pod %s is proven, and let into the Service\n", name); err != nil {
				return err
			}
		}
		s, err := look(ctx, reader)
		if err != nil {
			return err
		}
		in := t.In(s)
		if in >= t.Most {
			return a.say(exitOK, "%s of %s in the Service; run %s is open still. Next: serin resume", mesh.Count(in, "pod"), t.Gateway(), r.ID)
		}
		if n == tendTries {
			return refused("%s of %s in the Service, not %d: %s\n  remedy: kubectl -n %s get pods; serin gateway test %s -n %s", mesh.Count(in, "pod"), t.Gateway(), t.Most,
				cmp.Or(strings.Join(is.Out, "; "), "the others are not ready but for their readiness gate"), t.Gateway().Namespace, t.Gateway().Name, t.Gateway().Namespace)
		}
		if err := a.world.Wait(ctx, tendPause); err != nil {
			return fmt.Errorf("looking again: %w", err)
		}
	}
}
