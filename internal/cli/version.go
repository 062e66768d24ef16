package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

// versions is what `serin version` says.
type versions struct {
	Client        string         `json:"client"`
	ControlPlanes []controlPlane `json:"controlPlanes,omitempty"`
}

type controlPlane struct {
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

func (a *app) version() *cobra.Command {
	var (
		out    string
		client bool
	)
	c := &cobra.Command{
		Use: "version", Short: "Show serin's version and those of the control planes",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := parseOutput(out, view.Text, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			v := versions{Client: a.world.Version}
			var unreachable error
			if !client {
				v.ControlPlanes, unreachable = a.controlPlanes(c)
			}
			if err := a.showVersions(v, o); err != nil {
				return err
			}
			return unreachable // after the client's version, which is known all the same
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	c.Flags().BoolVar(&client, "client", false, "Only serin's own version: no cluster is asked")
	return c
}

func (a *app) controlPlanes(c *cobra.Command) ([]controlPlane, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return nil, err
	}
	s, err := reader.Observe(c.Context())
	if err != nil {
		return nil, fmt.Errorf("looking at the mesh: %w", err)
	}
	var out []controlPlane
	for _, p := range s.ControlPlanes {
		out = append(out, controlPlane{Revision: p.Revision, Version: p.Version})
	}
	return out, nil
}

func (a *app) showVersions(v versions, out output) error {
	if out.format != view.Text {
		return view.Encode(a.io.Out, out.format, v)
	}
	if _, err := fmt.Fprintf(a.io.Out, "client: %s\n", v.Client); err != nil {
		return err
	}
	for _, p := range v.ControlPlanes {
		if _, err := fmt.Fprintf(a.io.Out, "control plane %s: %s\n", p.Revision, p.Version); err != nil {
			return err
		}
	}
	return nil
}
