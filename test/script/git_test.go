package script_test

import (
	"context"
	"maps"
	"os"
	"syscall"

	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// git is the GitOps tool of a script, looked for while serin waits: what the run
// waits for is committed, or somebody has enough of waiting.
func (w world) git(ctx context.Context) error {
	rs, err := w.List(ctx)
	if err != nil || len(rs) == 0 || !rs[0].Awaits() {
		return err
	}
	r := rs[0]
	switch w.read("git") {
	case "commits":
		s, err := w.Observe(ctx)
		if err != nil {
			return err
		}
		st := r.Plan.Steps[r.At]
		if r.Phase == run.Undoing {
			s = plan.SimulateUndo(s, st, r.Before)
		} else {
			s = plan.Simulate(s, st)
		}
		w.save("snapshot.yaml", s)
	case "nobody":
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return err
		}
		<-ctx.Done() // the clock stands still until serin has heard it
	}
	return nil
}

// content is what a cluster would add to the content of a step: as little as the
// scripts need to see that it comes, and that a secret does not.
func (w world) content(_ context.Context, t cli.Target, r cli.Rendering) (plan.Content, error) {
	if c, ok := plan.ContentOf(r.Step); ok {
		return c, nil
	}
	st := r.Step
	made := plan.Object("v1", "ConfigMap", r.Before.IstioNamespace, string(st.Kind), map[string]any{"data": map[string]any{"target": st.Target}})
	if st.Kind == plan.RemoveRevision {
		return plan.Content{Remove: []map[string]any{made}}, nil
	}
	c := plan.Content{Apply: []map[string]any{made}}
	if st.Kind == plan.InstallRevision {
		rel, err := w.carried(t, r.Plan, st, r.Before)
		if err != nil {
			return c, err
		}
		values := map[string]any{}
		maps.Copy(values, mesh.Masked(rel.Values))
		c.Values = &plan.Values{Chart: rel.Chart, Release: rel.Name, Version: rel.Version, Values: values}
	}
	return c, nil
}
