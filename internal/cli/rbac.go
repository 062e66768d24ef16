package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/plan"
)

func (a *app) rbac() *cobra.Command {
	readOnly, rehearsals := false, false
	c := &cobra.Command{
		Use: "rbac", Short: "Print the roles that serin's user needs",
		Long: `Print a ClusterRole with what serin needs, and no more: all of it, or with --read-only what status,
snapshot, precheck and plan need. What serin rehearse needs, to remove the namespaces that it makes among it,
is a role of its own: --rehearse. Nothing is written to the cluster; bind it to whom you will.`,
		Example: `  serin rbac | kubectl apply -f -
  kubectl create clusterrolebinding serin --clusterrole serin --group platform
  # for those who only look
  serin rbac --read-only | kubectl apply -f -`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			role, rules := "serin", access.Everything()
			switch {
			case readOnly && rehearsals:
				return errors.New("--read-only and --rehearse are two roles: print one after the other")
			case readOnly:
				role, rules = "serin-view", access.ReadOnly()
			case rehearsals:
				role, rules = "serin-rehearse", access.Rehearsing()
			}
			text, err := yaml.Marshal(clusterRole(role, rules))
			if err != nil {
				return fmt.Errorf("writing the role: %w", err)
			}
			_, err = a.io.Out.Write(text)
			return err
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "Only what the commands need that change nothing")
	c.Flags().BoolVar(&rehearsals, "rehearse", false, "Only what serin rehearse needs")
	return c
}

func clusterRole(name string, rules []access.Rule) map[string]any {
	var out []map[string]any
	for _, r := range rules {
		out = append(out, map[string]any{"apiGroups": []string{r.Group}, "resources": r.Resources, "verbs": r.Verbs})
	}
	return map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": map[string]any{"name": name}, "rules": out,
	}
}

// permitted refuses a plan that the user may not carry out, before it is begun.
func (a *app) permitted(ctx context.Context, pl plan.Plan) error {
	lacks, err := a.world.Lacks(ctx, a.target, access.Needs(pl))
	if err != nil {
		return err
	}
	return refuseLacking(lacks)
}

// refuseLacking refuses a plan that the user may not carry out to its end.
func refuseLacking(lacks []string) error {
	if len(lacks) == 0 {
		return nil
	}
	verbs := map[string][]string{}
	for _, l := range lacks {
		verb, resource, _ := strings.Cut(l, " ")
		verbs[resource] = append(verbs[resource], verb)
	}
	var lines strings.Builder
	for _, resource := range slices.Sorted(maps.Keys(verbs)) {
		fmt.Fprintf(&lines, "\n  missing on %s: %s", resource, strings.Join(verbs[resource], ", "))
	}
	return refused("the user may not do all that the plan does%s\n  remedy: serin rbac prints the role to grant", lines.String())
}
