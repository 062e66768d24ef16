package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// Surveyor is a Reader that can also look at what only checks need.
type Surveyor interface {
	Survey(ctx context.Context) (mesh.Snapshot, error)
}

// look observes the mesh as closely as the reader can.
func look(ctx context.Context, r drive.Reader) (mesh.Snapshot, error) {
	observe := r.Observe
	if s, ok := r.(Surveyor); ok {
		observe = s.Survey
	}
	s, err := observe(ctx)
	if err != nil {
		return s, fmt.Errorf("looking at the mesh: %w", err)
	}
	return s, nil
}

// precheckRequest is `serin precheck` as it was typed.
type precheckRequest struct {
	request plan.Request
	out     output
	failOn  string
}

// What --fail-on takes.
const (
	failOnError   = "error"
	failOnWarning = "warning"
)

func (a *app) precheck() *cobra.Command {
	var (
		req          precheckRequest
		out          string
		to, revision string
		from, ignore []string
		file         string
	)
	c := &cobra.Command{
		Use: "precheck [--to VERSION]", Short: "Show every reason why not, and how to mend it; writes nothing to the cluster",
		Long: `Look at the mesh and show everything that stands in the way of an upgrade, all at once, each with
its remedy. Without --to it judges the mesh as it is; without Istio, whether it can be installed.

Findings have a code, SRN####; a finding that istioctl x precheck or analyze has too keeps its IST code beside it.
Of the target's upgrade notes each one fires, does not apply, or cannot be told.`,
		Example: `  # what stands in the way of 1.29.1
  serin precheck --to 1.29.1
  # is the mesh well as it is
  serin precheck
  # in a pipeline: warnings count, one is known
  serin precheck --to 1.29.1 -o json --fail-on warning --ignore-check SRN1309`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file != "" {
				var err error
				if req.request, err = readRequest(file, c); err != nil {
					return err
				}
			}
			said := c.Flags()
			set(said, "to", &req.request.To, strings.TrimPrefix(to, "v"))
			set(said, "revision", &req.request.Revision, revision)
			set(said, "from", &req.request.From, from)
			set(said, "ignore-check", &req.request.IgnoreChecks, ignore)
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			if !slices.Contains([]string{failOnError, failOnWarning}, req.failOn) {
				return fmt.Errorf("--fail-on %q is neither error nor warning", req.failOn)
			}
			return a.check(c.Context(), req)
		},
	}
	fs := c.Flags()
	fs.StringVar(&to, "to", "", "Istio version to go to, as in 1.29.1; the mesh is judged as it is when not given")
	fs.StringVar(&revision, "revision", "", "Name of the new revision; the version with dashes when not given")
	fs.StringSliceVar(&from, "from", nil, "Revisions to leave; the only one there is when not given")
	fs.StringVarP(&file, "filename", "f", "", "File with an UpgradeRequest; flags win over it")
	fs.StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	fs.StringVar(&req.failOn, "fail-on", failOnError, "Gravest findings that may pass: with error warnings do, with warning nothing but information")
	fs.StringSliceVar(&ignore, "ignore-check", nil, "Codes of findings to pass: an overridable one becomes a warning, a warning fails nothing")
	return c
}

func (a *app) check(ctx context.Context, req precheckRequest) error {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	s, err := look(ctx, reader)
	if err != nil {
		return err
	}
	p := view.NewPrecheck(plan.Precheck(s, req.request))
	if req.out.format == view.Text {
		err = p.Text(a.io.Out)
	} else {
		err = view.Encode(a.io.Out, req.out.format, p)
	}
	if err != nil {
		return err
	}
	for _, f := range p.Findings {
		warns := f.Severity == plan.Warning && req.failOn == failOnWarning && !slices.Contains(req.request.IgnoreChecks, f.Code)
		if f.Blocking() || warns {
			return exit{code: exitRefused}
		}
	}
	return nil
}
