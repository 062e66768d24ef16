package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// keptRequest asks for a revision that a run removed.
type keptRequest struct {
	run, revision, from string
}

// installKept installs a revision from what the run that removed it has kept.
func (a *app) installKept(c *cobra.Command, args []string, f installFlags, k keptRequest) error {
	if err := k.alone(f, c); err != nil {
		return err
	}
	o, err := a.fromRun(c.Context(), k)
	if err != nil {
		return err
	}
	r, err := f.request(o)
	if err != nil {
		return err
	}
	op := operation{request: r, flags: f.operationFlags, again: typed(c, args)}
	if f.create {
		op.namespace = []string{a.target.IstioNamespace}
	}
	if f.dry == "" {
		return a.operate(c.Context(), op)
	}
	return a.rendered(c.Context(), op, f)
}

// alone refuses what says otherwise than the run.
func (k keptRequest) alone(f installFlags, c *cobra.Command) error {
	for _, name := range []string{"version", "charts", "values", "set", "set-string", "from-revision"} {
		if c.Flags().Changed(name) {
			return fmt.Errorf("--from-run installs what the run kept: it goes without --%s", name)
		}
	}
	return f.checkDry()
}

// fromRun is the operation that brings back what the run removed, if it is kept still.
func (a *app) fromRun(ctx context.Context, k keptRequest) (plan.Operation, error) {
	o := plan.Operation{Verb: plan.Install, Chart: "istiod", FromRun: k.run}
	rs, err := a.runs(ctx)
	if err != nil {
		return o, err
	}
	r, err := pick(rs, k.run)
	if err != nil {
		return o, fmt.Errorf("%w in namespace %s\n  remedy: serin history lists them", err, a.target.IstioNamespace)
	}
	c, err := removedBy(r, k.revision)
	if err != nil {
		return o, err
	}
	version, err := a.world.Kept(ctx, a.target, c)
	switch {
	case err != nil:
		return o, err
	case version == "":
		return o, refused("nothing is kept of revision %s any more\n  remedy: install it anew: serin install istiod --revision %s --version %s", c.Revision, c.Revision, c.Version)
	case strings.TrimPrefix(version, "v") != strings.TrimPrefix(c.Version, "v"):
		return o, refused("run %s removed revision %s at %s, and what is kept is %s, of a later removal\n  remedy: name that run: serin history lists them", r.ID, c.Revision, c.Version, version)
	}
	o.Revision, o.Kept = c.Revision, &plan.Kept{Plane: c}
	if rel, ok := r.Before.Release(c.Owner); ok {
		rel.Values = nil
		o.Kept.Release = &rel
	}
	return o, nil
}

// removedBy is the control plane that the run has removed, as it found it.
func removedBy(r run.Run, revision string) (mesh.ControlPlane, error) {
	var names []string
	for i, st := range r.Plan.Steps {
		if st.Kind == plan.RemoveRevision && i < len(r.Steps) && r.Steps[i].State == "done" {
			names = append(names, st.From)
		}
	}
	switch {
	case len(names) == 0:
		return mesh.ControlPlane{}, refused("run %s has removed no revision, or has brought it back\n  remedy: serin history lists the runs", r.ID)
	case revision == "" && len(names) > 1:
		return mesh.ControlPlane{}, refused("run %s has removed %s\n  remedy: say which: --revision %s", r.ID, strings.Join(names, ", "), names[0])
	case revision == "":
		revision = names[0]
	case !slices.Contains(names, revision):
		return mesh.ControlPlane{}, refused("run %s has removed %s, not %s", r.ID, strings.Join(names, ", "), revision)
	}
	c, ok := r.Before.ControlPlane(revision)
	if !ok {
		return c, refused("run %s does not say what revision %s was", r.ID, revision)
	}
	return c, nil
}
