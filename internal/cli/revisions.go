package cli

import (
	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) revisions() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "revisions", Aliases: []string{"revision", "rev"}, Args: noArgs,
		Short: "List the revisions: tags, default, validator, pods and owners",
		Long: `Every control plane, and every revision that only pods, tags or validators still name. DEFAULT is the one that
injects namespaces labelled istio-injection=enabled; VALIDATES the one that checks configuration which names no
revision. They should be one.`,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := parseOutput(out, view.Text, view.Wide, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			s, err := a.observe(c.Context())
			if err != nil {
				return err
			}
			return view.Revisions(a.io.Out, s, o.format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, wide, json or yaml")
	return c
}
