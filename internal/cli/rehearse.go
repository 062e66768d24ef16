package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/rehearse"
	"github.com/serin-mesh/serin/internal/view"
)

const (
	// rehearsalPatience is how long copies may take to be proven.
	rehearsalPatience = 3 * time.Minute
	// removalPatience is how long a namespace may take to go.
	removalPatience = 5 * time.Minute
	// settledBad is how long nothing but bad news must be seen before it is believed.
	// A new namespace may lack the mesh's root certificate for some forty seconds, if
	// the istiod that led has just gone (seen in the lab).
	settledBad = time.Minute
	lookAgain  = time.Second
)

// rehearsalRequest is what was typed.
type rehearsalRequest struct {
	rehearse.Request

	remove, keep, dryRun, yes bool
	patience                  time.Duration
	out                       output
}

func (a *app) rehearse() *cobra.Command {
	var (
		req rehearsalRequest
		out string
	)
	c := &cobra.Command{
		Use: "rehearse NAMESPACE [DEPLOYMENT…] --revision REVISION", Short: "Prove copies of a namespace's workloads on another revision, off the routes of clients",
		Long: `Copy the workloads of a namespace, and what they need, into a namespace of their own on another revision; prove
them there; remove them again. One pod of each Deployment, with its accounts, ConfigMaps, Secrets, Services and
Istio's configuration, all of it visible in the copy's namespace only: no Gateway, no Ingress, no load balancer
and no route of a client leads there. It is shown first what is copied, what not, and why; nothing is made
before you say yes. When the command ends, however it ends, the copies are removed.

It proves that everything the workloads refer to is there, that their pods start and are injected by the
revision, that their proxies are connected to it and have taken what it sends, and that each port of a Service
answers as the original does: both are asked over port-forwards, a path where the port is declared to speak
HTTP (the readiness probe's, else /, and those of --path), else for a connection. A path at which a workload
calls others shows that the copies reach each other.

A copy does what its original does: it takes from the same queues and writes to the same databases. Name the
Deployments that may be there twice.

The exit code is 0 if all is proven, 3 if something is wrong, 4 if something could not be proven.`,
		Example: `  serin rehearse shop --revision 1-29-1 --dry-run
  serin rehearse shop web cart -r 1-29-1 -y
  serin rehearse --remove shop`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			return a.rehearsed(c, args, req)
		},
	}
	fs := c.Flags()
	fs.StringVarP(&req.Revision, "revision", "r", "", "Revision that serves the copies")
	fs.StringVar(&req.Copy, "into", "", "Name of the copies' namespace (NAMESPACE-rehearsal when not given)")
	fs.StringSliceVar(&req.Paths, "path", nil, "Path to ask of each port that speaks HTTP, besides its readiness probe's, as in /productpage")
	fs.BoolVar(&req.keep, "keep", false, "Leave the copies there, to look at")
	fs.BoolVar(&req.remove, "remove", false, "Only remove copies of the namespace that were left behind")
	fs.BoolVar(&req.dryRun, "dry-run", false, "Show what would be copied, and make nothing")
	fs.BoolVarP(&req.yes, "yes", "y", false, "Do not ask")
	fs.DurationVar(&req.patience, "patience", rehearsalPatience, "How long the copies may take to be proven")
	fs.StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}

// rehearsed finds out what is wanted.
func (a *app) rehearsed(c *cobra.Command, args []string, req rehearsalRequest) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("which namespace to rehearse is missing\n  remedy: %s NAMESPACE --revision REVISION", c.CommandPath())
	case req.patience <= 0:
		return errors.New("--patience must be longer than nothing")
	case req.remove && (req.keep || req.dryRun || req.Revision != "" || len(args) > 1):
		return errors.New("--remove goes with the namespace and --into only")
	case req.remove:
		return a.removeRehearsals(c.Context(), args[0], req.Copy)
	case req.Revision == "":
		return errNoRevision
	}
	req.Namespace, req.Only, req.Copy = args[0], args[1:], cmp.Or(req.Copy, rehearse.CopyOf(args[0]))
	return a.runRehearsal(c.Context(), req)
}

func (a *app) runRehearsal(ctx context.Context, req rehearsalRequest) error {
	s, err := a.observe(ctx)
	if err != nil {
		return err
	}
	if err := rehearse.Refuse(s, req.Request); err != nil {
		return refused("%w", err)
	}
	r, end, err := a.world.Rehearsals(a.target)
	if err != nil {
		return err
	}
	defer end()
	p, err := planRehearsal(ctx, r, s, req.Request)
	if err != nil {
		return err
	}
	if err := a.showRehearsal(p, req); err != nil || req.dryRun {
		return err
	}
	if len(p.Workloads()) == 0 {
		return refused("nothing of namespace %s can be copied\n  remedy: serin prove --revision %s asks without copies", p.Namespace, p.Revision)
	}
	lacks, err := a.world.Lacks(ctx, a.target, access.Rehearsing())
	if err != nil {
		return err
	}
	if err := refuseLacking(lacks); err != nil {
		return fmt.Errorf("%w: serin rbac --rehearse", err)
	}
	if !req.yes {
		if err := a.confirm("making these copies"); err != nil {
			return err
		}
	}
	return a.hold(ctx, r, req, p)
}

func planRehearsal(ctx context.Context, r Rehearsals, s mesh.Snapshot, req rehearse.Request) (rehearse.Plan, error) {
	source, err := r.Source(ctx, req.Namespace)
	if err != nil {
		return rehearse.Plan{}, err
	}
	p, err := rehearse.Build(s, req, source)
	if err != nil {
		return p, refused("%w", err)
	}
	return p, nil
}

// showRehearsal shows the plan: as data only where nothing comes after it.
func (a *app) showRehearsal(p rehearse.Plan, req rehearsalRequest) error {
	switch {
	case req.out.format == view.Text:
		return view.Rehearsal(a.io.Out, p)
	case req.dryRun:
		return view.Encode(a.io.Out, req.out.format, p)
	}
	return nil
}

// hold makes the copies, proves them and removes them, alone on the mesh: an
// upgrade that goes on meanwhile would change what is proven.
func (a *app) hold(ctx context.Context, r Rehearsals, req rehearsalRequest, p rehearse.Plan) error {
	j, err := a.world.Journal(a.target)
	if err != nil {
		return err
	}
	release, err := a.acquire(ctx, j)
	if err != nil {
		return err
	}
	defer release()
	if err := a.takeAway(ctx, r, p.Namespace, p.Copy); err != nil { // what an earlier one has left
		return err
	}
	result, err := a.proveCopies(ctx, r, req, p)
	if result.Kept = req.keep && err == nil; !result.Kept {
		if gone := a.takeAway(ctx, r, p.Namespace, p.Copy); gone != nil {
			return errors.Join(err, fmt.Errorf("%w\n  remedy: serin rehearse --remove %s", gone, p.Namespace))
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n  the copies are removed", err)
	}
	return a.showResult(req, result)
}

func (a *app) showResult(req rehearsalRequest, result rehearse.Result) error {
	var err error
	if req.out.format == view.Text {
		err = view.RehearsalProof(a.io.Out, result)
	} else {
		err = view.Encode(a.io.Out, req.out.format, result)
	}
	if err != nil {
		return err
	}
	if result.Kept {
		_, _ = fmt.Fprintf(a.io.ErrOut, "kept in namespace %s. Next: serin rehearse --remove %s\n", result.Plan.Copy, result.Plan.Namespace)
	} else {
		_, _ = fmt.Fprintf(a.io.ErrOut, "the copies are removed\n")
	}
	switch result.State {
	case gate.Open:
		return nil
	case gate.Shut:
		return exit{code: exitRefused}
	case gate.Unknown:
	}
	return exit{code: exitHeld}
}

// takeAway removes a copy, also after ctrl-C: what is made for a moment must not stay.
func (a *app) takeAway(ctx context.Context, r Rehearsals, of, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalPatience)
	defer cancel()
	return r.Remove(ctx, of, name)
}

// proveCopies makes the copies and looks until all is proven, until nothing but bad
// news has been seen for a while, or until patience is at its end.
func (a *app) proveCopies(ctx context.Context, r Rehearsals, req rehearsalRequest, p rehearse.Plan) (rehearse.Result, error) {
	out := rehearse.Result{Plan: p, State: gate.Unknown}
	gatherer, end, err := a.world.Evidence(ctx, a.target, plan.Plan{})
	if err != nil {
		return out, err
	}
	defer end()
	_, _ = fmt.Fprintf(a.io.ErrOut, "copying %s, one pod each, into namespace %s\n", mesh.Count(len(p.Workloads()), "Deployment"), p.Copy)
	if err := r.Make(ctx, p); err != nil {
		return out, err
	}
	began := a.world.Now()
	bad, said := began, ""
	for {
		if out.Proof, out.Answers, err = lookAtCopies(ctx, r, gatherer, p); err != nil {
			return out, err
		}
		out.State = rehearse.StateOf(out.Proof)
		now, running := a.world.Now(), ofCopies(out.Proof)
		if running != gate.Shut {
			bad = now
		}
		if running == gate.Open || now.Sub(bad) >= settledBad || now.Sub(began) >= req.patience {
			return out, nil
		}
		if line := underWay(out.Proof); line != said {
			said = line
			_, _ = fmt.Fprintln(a.io.ErrOut, line)
		}
		if err := a.world.Wait(ctx, lookAgain); err != nil {
			return out, fmt.Errorf("rehearsing %s: %w", p.Namespace, err)
		}
	}
}

// lookAtCopies gathers everything once. Order: the ports are asked when the pods are
// there, not before: a pod that is starting answers nothing, which is no news.
func lookAtCopies(ctx context.Context, r Rehearsals, g drive.Gatherer, p rehearse.Plan) ([]gate.Verdict, []rehearse.Answer, error) {
	standing, err := r.Standing(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	ev, err := g.Gather(ctx, p.Question(), p.Gates())
	if err != nil {
		return nil, nil, err
	}
	var answers []rehearse.Answer
	if !slices.ContainsFunc(standing, func(s rehearse.Standing) bool { return !s.Ready && s.Trouble == "" }) && len(standing) > 0 {
		if answers, err = r.Rehearsed(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	return p.Judge(ev, standing, answers), answers, nil
}

// ofCopies is how the copies stand: what was found missing before they were made
// does not change any more.
func ofCopies(proof []gate.Verdict) gate.State {
	return rehearse.StateOf(slices.DeleteFunc(slices.Clone(proof), func(v gate.Verdict) bool { return v.Gate == rehearse.Complete }))
}

func underWay(proof []gate.Verdict) string {
	var out []string
	for _, v := range proof {
		if v.State != gate.Open {
			out = append(out, fmt.Sprintf("%s %s", v.Gate, v.State))
		}
	}
	return "waiting: " + strings.Join(out, ", ")
}

// removeRehearsals removes what a rehearsal that was kept, or killed, has left.
func (a *app) removeRehearsals(ctx context.Context, of, only string) error {
	s, err := a.observe(ctx)
	if err != nil {
		return err
	}
	var found []string
	for _, ns := range s.Namespaces {
		if ns.Labels[rehearse.Label] == of && (only == "" || ns.Name == only) {
			found = append(found, ns.Name)
		}
	}
	if len(found) == 0 {
		return a.say(exitOK, "there is no rehearsal of %s", of)
	}
	r, end, err := a.world.Rehearsals(a.target)
	if err != nil {
		return err
	}
	defer end()
	for _, name := range found {
		if err := a.takeAway(ctx, r, of, name); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(a.io.ErrOut, "namespace %s is removed\n", name)
	}
	return nil
}
