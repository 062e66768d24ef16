package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) report() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "report [RUN]", Short: "Show what was done, when, on whose word, and what it cost in requests",
		Example: `  # the newest run, or one that serin history lists
  serin report
  serin report 20260301-120000 -o json`,
		Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := parseOutput(out, view.Text, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			return a.showReport(c.Context(), id, o)
		},
		ValidArgsFunction: a.completeRuns,
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}

func (a *app) showReport(ctx context.Context, id string, out output) error {
	rs, err := a.runs(ctx)
	if err != nil {
		return err
	}
	r, err := pick(rs, id)
	if err != nil {
		return fmt.Errorf("%w in namespace %s\n  remedy: serin history lists them", err, a.target.IstioNamespace)
	}
	rep := view.NewReport(r)
	if out.format == view.Text {
		return rep.Text(a.io.Out)
	}
	return view.Encode(a.io.Out, out.format, rep)
}

// pick is the named run, or the newest.
func pick(rs []run.Run, id string) (run.Run, error) {
	if id == "" {
		if len(rs) == 0 {
			return run.Run{}, errors.New("there is no run")
		}
		return rs[0], nil
	}
	for _, r := range rs {
		if r.ID == id {
			return r, nil
		}
	}
	return run.Run{}, fmt.Errorf("there is no run %q", id)
}

func (a *app) completeRuns(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	rs, err := a.runs(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ids := make([]string, 0, len(rs))
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
