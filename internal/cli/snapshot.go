package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) snapshot() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "snapshot", Short: "Write everything the planner may use, without secrets",
		Long: "Write everything the planner may use. It holds no secrets, and is both a bug report and a test.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := parseOutput(out, view.YAML, view.JSON)
			if err != nil {
				return err
			}
			reader, err := a.world.Reader(a.target)
			if err != nil {
				return err
			}
			s, err := reader.Observe(c.Context())
			if err != nil {
				return fmt.Errorf("looking at the mesh: %w", err)
			}
			return view.Encode(a.io.Out, o.format, s)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "yaml", "Output format: yaml or json")
	return c
}
