package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) history() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "history", Short: "List the upgrades that this mesh has seen, the newest first",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := parseOutput(out, view.Text, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			return a.showHistory(c.Context(), o)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}

func (a *app) showHistory(ctx context.Context, out output) error {
	rs, err := a.runs(ctx)
	if err != nil {
		return err
	}
	if out.format == view.Text {
		if len(rs) == 0 {
			_, err := fmt.Fprintf(a.io.ErrOut, "no upgrade by serin in namespace %s yet\n", a.target.IstioNamespace)
			return err
		}
		return view.History(a.io.Out, rs)
	}
	reports := make([]view.Report, 0, len(rs))
	for _, r := range rs {
		reports = append(reports, view.NewReport(r))
	}
	return view.Encode(a.io.Out, out.format, reports)
}

func (a *app) runs(ctx context.Context) ([]run.Run, error) {
	j, err := a.world.Journal(a.target)
	if err != nil {
		return nil, err
	}
	rs, err := j.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the runs in namespace %s: %w", a.target.IstioNamespace, err)
	}
	return rs, nil
}
