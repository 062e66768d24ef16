package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// operationFlags are what every single operation takes.
type operationFlags struct {
	yes, dryRun     bool
	out, charts     string
	ignore          []string
	probe           plan.Probe
	restarts        string
	soak, patience  time.Duration
	pace, minServed int
}

func (f *operationFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.BoolVarP(&f.yes, "yes", "y", false, "Do not ask")
	fs.StringSliceVar(&f.ignore, "ignore-check", nil, "Codes of overridable findings to turn into warnings")
	fs.DurationVar(&f.patience, "patience", 0, "How long a proof may stay unknown, and a rollout take, before that is bad news (10m when not given)")
}

// addDryRun adds --dry-run where it means no more than showing the steps.
func (f *operationFlags) addDryRun(c *cobra.Command) {
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "Show what would be done, and do nothing")
	c.Flags().StringVarP(&f.out, "output", "o", "text", "With --dry-run, output format: text, json or yaml; a plan that serin apply takes")
}

// addTraffic adds what operations take that move pods which serve.
func (f *operationFlags) addTraffic(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.probe.URL, "probe-url", "", "Address that serin sends requests to all the while, as in http://192.0.2.1/productpage")
	fs.StringVar(&f.probe.Host, "probe-host", "", "Host header of these requests")
	fs.IntVar(&f.probe.Rate, "probe-rate", 0, "Requests a second (20 when not given)")
	fs.BoolVar(&f.probe.Fresh, "probe-fresh", false, "A new connection for each request")
	fs.DurationVar(&f.soak, "soak", 0, "How long the gates must stay open (30s when not given)")
}

// addRestarts adds what operations take that restart workloads.
func (f *operationFlags) addRestarts(c *cobra.Command) {
	fs := c.Flags()
	fs.IntVar(&f.pace, "pace", 0, "Workloads that restart at once (5 when not given)")
	fs.StringVar(&f.restarts, "method", "", methodHelp)
	fs.IntVar(&f.minServed, "min-served", 0, "Requests that each moved workload must have answered")
	alias(fs, "restarts", "method")
}

// alias has a flag go by the name that it has at other commands, too.
func alias(fs *pflag.FlagSet, other, name string) {
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, said string) pflag.NormalizedName {
		if said == other {
			said = name
		}
		return pflag.NormalizedName(said)
	})
}

// request is the operation with what the flags say.
func (f *operationFlags) request(o plan.Operation) (plan.Request, error) {
	r := plan.Request{
		APIVersion: plan.APIVersion, Kind: requestKind, Operation: &o, IgnoreChecks: f.ignore, Charts: f.charts,
		Soak: plan.Duration(f.soak), Patience: plan.Duration(f.patience), Pace: f.pace, MinServed: f.minServed, Restarts: plan.Method(f.restarts),
	}
	if named(f.probe) {
		p := f.probe
		r.Probe = &p
	}
	switch {
	case r.Probe != nil && r.Probe.URL == "":
		return r, errors.New("--probe-host, --probe-rate and --probe-fresh need --probe-url")
	case r.Pace < 0, r.MinServed < 0, r.Soak < 0, r.Patience < 0, r.Probe != nil && r.Probe.Rate < 0:
		return r, errors.New("--pace, --min-served, --soak, --patience and --probe-rate cannot be negative")
	}
	if err := secretless(r); err != nil {
		return r, err
	}
	return r, method("method", r.Restarts)
}

// operation is a single operation as it is carried out.
type operation struct {
	request   plan.Request
	flags     operationFlags
	again     string   // the command line that goes on
	namespace []string // to make first, where they are not there
	shown     func(plan.Plan, mesh.Snapshot) error
	asked     func() error // in place of the question whether to carry it out
}

// operate plans a single operation, shows it, asks, and drives it as any run: with
// the same Lease, gates and journal, so that it goes on after a crash and can be
// taken back.
func (a *app) operate(ctx context.Context, o operation) error {
	j, err := a.world.Journal(a.target)
	if err != nil {
		return err
	}
	pl, s, err := a.planned(ctx, o.request, o.namespace...)
	if err != nil {
		return err
	}
	if o.flags.dryRun && o.flags.out != "" && o.flags.out != string(view.Text) {
		return a.encodePlan(pl, o.flags.out)
	}
	going, err := a.goingOn(ctx, j, o.request, s)
	if err != nil {
		return err
	}
	if going == nil {
		if yes, err := a.wanted(ctx, pl, s, o); err != nil || !yes {
			return err
		}
	}
	if err := a.world.CreateNamespaces(ctx, a.target, o.namespace); err != nil {
		return err
	}
	return a.carryOut(ctx, j, pl, o)
}

// wanted shows the plan, and says whether it is to be carried out: there is
// something to do, the user may do it, and a person agreed.
func (a *app) wanted(ctx context.Context, pl plan.Plan, s mesh.Snapshot, o operation) (bool, error) {
	if err := a.show(pl, s, o); err != nil {
		return false, err
	}
	if o.flags.dryRun || len(pl.Steps) == 0 {
		return false, nil
	}
	if err := a.permitted(ctx, pl); err != nil {
		return false, err
	}
	return true, a.agree(pl, o)
}

// planned looks at the mesh and plans, as if the namespaces to make were there.
func (a *app) planned(ctx context.Context, r plan.Request, making ...string) (plan.Plan, mesh.Snapshot, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return plan.Plan{}, mesh.Snapshot{}, err
	}
	observe := look                          // an upgrade is checked as precheck checks it, and as apply will again
	if r.Operation != nil && !r.Detaches() { // what detaches looks at what selects pods, too
		observe = glance
	}
	s, err := observe(ctx, reader)
	if err != nil {
		return plan.Plan{}, s, err
	}
	s = with(s, making)
	pl := plan.Build(s, r)
	s.Survey = nil // a run keeps what its undo needs
	return pl, s, nil
}

// with is the mesh with these namespaces, where they are not there yet.
func with(s mesh.Snapshot, making []string) mesh.Snapshot {
	s = s.Clone()
	for _, ns := range making {
		if _, there := s.Namespace(ns); there {
			continue
		}
		s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: ns, Labels: map[string]string{"kubernetes.io/metadata.name": ns}, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
	}
	slices.SortFunc(s.Namespaces, func(x, y mesh.Namespace) int { return strings.Compare(x.Name, y.Name) })
	return s
}

func (a *app) encodePlan(pl plan.Plan, format string) error {
	out, err := parseOutput(format, view.JSON, view.YAML)
	if err != nil {
		return err
	}
	if err := view.Encode(a.io.Out, out.format, pl); err != nil {
		return err
	}
	if blocked, _ := view.Blocking(pl.Findings); blocked > 0 {
		return exit{code: exitRefused}
	}
	return nil
}

// show writes what would be done, and is refused where something stands in the way.
func (a *app) show(pl plan.Plan, s mesh.Snapshot, o operation) error {
	if err := view.Plan(a.io.Out, pl, ""); err != nil {
		return err
	}
	if blocked, _ := view.Blocking(pl.Findings); blocked > 0 {
		return exit{code: exitRefused}
	}
	if o.shown != nil && len(pl.Steps) > 0 {
		return o.shown(pl, s)
	}
	return nil
}

// goingOn is the open run of this very operation, nil if there is none. An open
// run of anything else refuses.
func (a *app) goingOn(ctx context.Context, j Journal, r plan.Request, s mesh.Snapshot) (*run.Run, error) {
	if _, ok := s.Namespace(s.IstioNamespace); !ok {
		return nil, nil //nolint:nilnil // no namespace, no journal, no run
	}
	is, err := open(ctx, j)
	if err != nil || is == nil {
		return nil, err
	}
	if is.Plan.Request.Operation != nil && same(*is.Plan.Request.Operation, *r.Operation) {
		return is, nil
	}
	return nil, refused("run %s (%s, started by %s) is open: %s\n  remedy: serin status shows it; serin resume or serin rollback ends it", is.ID, what(is.Plan), is.By, is.Phase)
}

// same says whether two operations are one: a stored one has been through JSON.
func same(x, y plan.Operation) bool {
	a, err := json.Marshal(x)
	b, other := json.Marshal(y)
	return err == nil && other == nil && string(a) == string(b)
}

func what(pl plan.Plan) string {
	if o := pl.Request.Operation; o != nil {
		return o.String()
	}
	return "to " + pl.To + " " + pl.Version
}

// agree asks for the approvals that the first step needs, unless they were given
// with the command: a person says yes to what is shown, before anything is written.
func (a *app) agree(pl plan.Plan, o operation) error {
	if o.asked != nil {
		return o.asked()
	}
	if !slices.Contains(pl.Steps[0].Needs, gate.Approval) && !slices.Contains(pl.Steps[len(pl.Steps)-1].Needs, gate.Approval) ||
		o.flags.yes || pl.Request.Operation.FirstPod {
		return nil
	}
	return a.confirm(what(pl))
}

// confirm asks a person for a yes to what has been shown.
func (a *app) confirm(what string) error {
	if !interactive(a.io.In) {
		return refused("%s needs a person's yes, and there is nobody to ask\n  remedy: look at what is shown above, then -y", what)
	}
	_, _ = fmt.Fprintf(a.io.ErrOut, "Carry this out? [y/N] ")
	line, _ := bufio.NewReader(a.io.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return refused("not carried out; nothing was changed")
	}
	return nil
}

// interactive says whether a person types.
func interactive(in any) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// carryOut takes the mesh and drives the operation's run.
func (a *app) carryOut(ctx context.Context, j Journal, shown plan.Plan, o operation) error {
	release, err := a.acquire(ctx, j)
	if err != nil {
		return err
	}
	defer release()
	// What was seen before the Lease was held is looked at again.
	pl, s, err := a.planned(ctx, o.request)
	if err != nil {
		return err
	}
	r, err := a.goingOn(ctx, j, o.request, s)
	if err != nil {
		return err
	}
	if r == nil {
		if pl.Digest != shown.Digest {
			return a.stale(shown, pl, "that was shown")
		}
		runs, err := j.List(ctx)
		if err != nil {
			return fmt.Errorf("reading the runs: %w", err)
		}
		begun := a.start(pl, s, runs)
		r = &begun
	} else {
		_, _ = fmt.Fprintf(a.io.ErrOut, "going on with run %s\n", r.ID)
	}
	if o.flags.yes || !pl.Request.Operation.FirstPod {
		if r.Approved == nil {
			r.Approved = map[int]string{}
		}
		for _, st := range r.Plan.Steps {
			if slices.Contains(st.Needs, gate.Approval) {
				r.Approved[st.Number] = a.world.Who()
			}
		}
	}
	return a.drive(ctx, j, *r, driving{again: o.again})
}
