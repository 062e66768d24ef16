package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/operator"
	"github.com/serin-mesh/serin/internal/plan"
)

// readOperator reads IstioOperator files and what they mean for a version. What
// has no effect, or no meaning, is refused by its path before anything is done.
func readOperator(c *cobra.Command, names, sets []string, version string) (operator.Document, operator.Installation, error) {
	var files []operator.File
	for _, name := range names {
		b, err := readFile(name, c)
		if err != nil {
			return nil, operator.Installation{}, fmt.Errorf("reading the IstioOperator: %w", err)
		}
		files = append(files, operator.File{Name: name, Data: b})
	}
	return checkedOperator(files, sets, version)
}

func checkedOperator(files []operator.File, sets []string, version string) (operator.Document, operator.Installation, error) {
	doc, err := operator.Read(files, sets)
	if err != nil {
		return nil, operator.Installation{}, refused("%w", err)
	}
	// Its own hub and tag are the charts' to say: which fields there are does not depend on them.
	in, err := doc.Resolve(operator.Build{Version: version, Hub: "docker.io/istio", Tag: cmp.Or(version, "latest")})
	if err != nil {
		return nil, in, refused("%w", err)
	}
	if len(in.Component(operator.Pilot)) == 0 {
		return nil, in, refused("the IstioOperator (profile %q) does not enable the component pilot: there is no control plane to install\n  remedy: spec.components.pilot.enabled: true", in.Profile)
	}
	return doc, in, nil
}

// operator reads the files of --operator, or checks what the request's own file says.
func (f *requestFlags) operator(r *plan.Request, c *cobra.Command) error {
	if len(f.operators) > 0 {
		doc, _, err := readOperator(c, f.operators, nil, r.To)
		r.Operator = doc
		return err
	}
	if r.Operator == nil {
		return nil
	}
	b, err := yaml.Marshal(r.Operator)
	if err != nil {
		return fmt.Errorf("reading the request's operator: %w", err)
	}
	doc, _, err := checkedOperator([]operator.File{{Name: f.file + " (operator)", Data: b}}, nil, r.To)
	r.Operator = doc
	return err
}

// fromOperator says whether the files are IstioOperators: all of them, or none.
func (f *installFlags) fromOperator(c *cobra.Command) (bool, error) {
	var yes, no string
	for _, name := range f.files {
		b, err := readFile(name, c)
		if err != nil {
			return false, fmt.Errorf("reading values: %w", err)
		}
		if operator.IsOne(b) {
			yes = name
		} else {
			no = name
		}
	}
	if yes != "" && no != "" {
		return false, refused("%s is an IstioOperator and %s is not: values go below spec.values of the one, or all files are values", yes, no)
	}
	return yes != "", nil
}

// operator turns the operation into an install from IstioOperator files, if they
// are such; --set then takes istioctl's paths.
func (f *installFlags) operator(c *cobra.Command, o *plan.Operation) (operator.Document, operator.Installation, error) {
	is, err := f.fromOperator(c)
	if err != nil || !is {
		return nil, operator.Installation{}, err
	}
	if o.Chart != "istiod" {
		return nil, operator.Installation{}, refused("an IstioOperator describes a control plane, and this installs the chart %s\n  remedy: serin install istiod -f FILE", o.Chart)
	}
	if len(f.strings) > 0 {
		return nil, operator.Installation{}, refused("--set-string is Helm's, and the files are IstioOperators\n  remedy: quote the value in a file")
	}
	doc, in, err := readOperator(c, f.files, f.sets, strings.TrimPrefix(f.version, "v"))
	if err != nil {
		return nil, in, err
	}
	if o.Revision == "" {
		o.Revision = doc.Revision()
	}
	return doc, in, nil
}

// fromFile shows what of an IstioOperator is not installed here, and renders the
// control plane once: what stands in the way is seen before anything is written.
func (a *app) fromFile(ctx context.Context, in operator.Installation) func(plan.Plan, mesh.Snapshot) error {
	return func(pl plan.Plan, s mesh.Snapshot) error {
		for _, line := range notInstalled(in) {
			if _, err := fmt.Fprintln(a.io.Out, line); err != nil {
				return err
			}
		}
		return a.tryOperator(ctx, pl, s)
	}
}

// tryOperator renders what a plan installs from an IstioOperator, and the gateways
// that it renders again: these also where no file is given.
func (a *app) tryOperator(ctx context.Context, pl plan.Plan, s mesh.Snapshot) error {
	for _, st := range pl.Steps {
		if (st.Kind != plan.InstallRevision || pl.Request.Operator == nil) && st.Kind != plan.RenderGateway {
			continue
		}
		_, err := a.world.Manifest(ctx, a.target, Rendering{pl, st, s, false})
		if errors.Is(err, drive.ErrRefused) {
			return refused("%w", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notInstalled are the components that an install of a control plane leaves, as next steps.
func notInstalled(in operator.Installation) []string {
	var out []string
	for _, c := range in.Components {
		switch c.Name {
		case operator.Base, operator.Pilot:
		case operator.Ingress, operator.Egress:
			out = append(out, fmt.Sprintf("not installed: gateway %s/%s: its name is fixed, and it would move at once; serin plan --operator moves it as a step, as istioctl install does once everything follows the new revision", c.Namespace, c.Gateway))
		case operator.CNI, operator.Ztunnel:
			out = append(out, fmt.Sprintf("not installed: %s in %s: all revisions share it; upgrade it last, with what installed it", c.Chart, c.Namespace))
		}
	}
	if in.Unchecked {
		out = append(out, "not checked: serin does not have the list of the values that "+in.Version+" reads: one that is spelt wrong is lost")
	}
	for _, i := range in.Ignored {
		out = append(out, "no effect: "+i)
	}
	return out
}
