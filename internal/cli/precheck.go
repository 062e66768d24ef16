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
	"github.com/serin-mesh/serin/internal/skew"
	"github.com/serin-mesh/serin/internal/view"
)

// Surveyor is a Reader that can also look at what only checks need.
type Surveyor interface {
	Survey(ctx context.Context) (mesh.Snapshot, error)
}

// look observes the mesh as closely as the reader can.
func look(ctx context.Context, r drive.Reader) (mesh.Snapshot, error) {
	surveyor, ok := r.(Surveyor)
	if !ok {
		return glance(ctx, r)
	}
	s, err := surveyor.Survey(ctx)
	if err != nil {
		return s, fmt.Errorf("looking at the mesh: %w", err)
	}
	return s, nil
}

// glance observes what is needed to change something.
func glance(ctx context.Context, r drive.Reader) (mesh.Snapshot, error) {
	s, err := r.Observe(ctx)
	if err != nil {
		return s, fmt.Errorf("looking at the mesh: %w", err)
	}
	return s, nil
}

// precheckRequest is `serin precheck` as it was typed.
type precheckRequest struct {
	plan.PrecheckRequest
	out       output
	failOn    string
	threshold string
}

// What --fail-on takes.
const (
	failOnError   = "error"
	failOnWarning = "warning"
)

// istioctlsText is what istioctl calls text.
const istioctlsText = "log"

// precheckFlags are the flags of `serin precheck`: those of istioctl x precheck,
// and ours.
type precheckFlags struct {
	precheckRequest
	output, file, to, revision string
	from, ignore               []string
}

func (f *precheckFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.to, "to", "", "Istio version to go to, as in 1.29.1; the mesh is judged as it is when not given")
	fs.StringVarP(&f.revision, "revision", "r", "", "Name of the new revision; the version with dashes when not given")
	fs.StringSliceVar(&f.from, "from", nil, "Revisions to leave; the only one there is when not given")
	fs.StringVarP(&f.file, "filename", "f", "", "File with an UpgradeRequest; flags win over it")
	fs.StringVarP(&f.output, "output", "o", "text", "Output format: text, json or yaml")
	fs.StringVar(&f.failOn, "fail-on", failOnError, "Least severity that fails, with exit code 3: error or warning")
	fs.StringVar(&f.Since, "from-version", "", "Judge what changed since this version, whatever is there")
	fs.StringVar(&f.threshold, "output-threshold", "info", "Least severity that is shown: info, warning or error; those below still count")
	fs.BoolVar(&f.ChangesOnly, "skip-controlplane", false, "Judge only what changes between the releases")
	fs.StringSliceVar(&f.ignore, "ignore-check", nil, "Codes of findings to pass: an overridable one becomes a warning, a warning fails nothing")
}

// request is what was typed, over what the file says.
func (f *precheckFlags) request(c *cobra.Command, namespace string) (precheckRequest, error) {
	req := f.precheckRequest
	if f.file != "" {
		r, err := readRequest(f.file, c)
		if err != nil {
			return req, err
		}
		req.Request = r
	}
	said := c.Flags()
	set(said, "to", &req.To, strings.TrimPrefix(f.to, "v"))
	set(said, "revision", &req.Revision, f.revision)
	set(said, "from", &req.From, f.from)
	set(said, "ignore-check", &req.IgnoreChecks, f.ignore)
	req.Namespace, req.threshold = namespace, strings.ToLower(f.threshold)
	if req.Since != "" {
		if _, err := skew.Parse(req.Since); err != nil {
			return req, fmt.Errorf("--from-version: %w", err)
		}
	}
	format := f.output
	if format == istioctlsText {
		format = string(view.Text)
	}
	var err error
	if req.out, err = parseOutput(format, view.Text, view.JSON, view.YAML); err != nil {
		return req, err
	}
	if !slices.Contains([]string{failOnError, failOnWarning}, req.failOn) {
		return req, fmt.Errorf("--fail-on %q is neither error nor warning", req.failOn)
	}
	if !slices.Contains(thresholds(), req.threshold) {
		return req, fmt.Errorf("--output-threshold %q is none of %s", f.threshold, strings.Join(thresholds(), ", "))
	}
	return req, nil
}

func (a *app) precheck() *cobra.Command {
	var flags precheckFlags
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
  # what a release has changed since 1.27, before there is a mesh
  serin precheck --from-version 1.27 --to 1.29.1 --skip-controlplane
  # in a pipeline: warnings count, one is known
  serin precheck --to 1.29.1 -o json --fail-on warning --ignore-check SRN1309`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			req, err := flags.request(c, a.target.namespace())
			if err != nil {
				return err
			}
			return a.check(c.Context(), req)
		},
	}
	flags.add(c)
	return c
}

// thresholds are istioctl's levels, in lower case.
func thresholds() []string { return []string{"info", "warning", "error"} }

func (a *app) check(ctx context.Context, req precheckRequest) error {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	s, err := look(ctx, reader)
	if err != nil {
		return err
	}
	whole := view.NewPrecheck(plan.Precheck(s, req.PrecheckRequest))
	p := whole.Above(req.threshold)
	if req.out.format == view.Text {
		err = p.Text(a.io.Out)
	} else {
		err = view.Encode(a.io.Out, req.out.format, p)
	}
	if err != nil {
		return err
	}
	for _, f := range whole.Findings {
		warns := f.Severity == plan.Warning && req.failOn == failOnWarning && !slices.Contains(req.IgnoreChecks, f.Code)
		if f.Blocking() || warns {
			return exit{code: exitRefused}
		}
	}
	return nil
}
