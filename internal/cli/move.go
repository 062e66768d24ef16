package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/plan"
)

func (a *app) move() *cobra.Command {
	var (
		f      operationFlags
		to     string
		labels bool
	)
	c := &cobra.Command{
		Use: "move NAMESPACE… --to REVISION|TAG", Short: "Move namespaces to a revision or a tag: labels, proof, restarts",
		Long: `Move namespaces to a revision or a tag: both labels in one patch, so that no pod starts without a sidecar in
between; then two dry-run pods that must agree; then rolling restarts of what runs elsewhere, within disruption
budgets and at the pace of --pace. serin rollback takes it back: labels first, then the restarts.`,
		Example: `  serin move shop --to 1-29-1
  serin move shop checkout --to prod-stable --probe-url http://192.0.2.1/healthz`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return fmt.Errorf("which namespaces to move is missing\n  remedy: %s NAMESPACE --to REVISION", c.CommandPath())
			case to == "":
				return fmt.Errorf("where to move to is missing\n  remedy: %s %s --to REVISION, or a tag", c.CommandPath(), args[0])
			}
			r, err := f.request(plan.Operation{Verb: plan.Move, Namespaces: args, To: to, LabelsOnly: labels})
			if err != nil {
				return err
			}
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	c.Flags().StringVar(&to, "to", "", "Revision or tag that the namespaces' label is to name")
	c.Flags().BoolVar(&labels, "labels-only", false, "Restart nothing: what is there moves when it is restarted")
	f.add(c)
	f.addDryRun(c)
	f.addTraffic(c)
	f.addRestarts(c)
	return c
}

func (a *app) restart() *cobra.Command {
	var (
		f     operationFlags
		first bool
		more  bool
	)
	c := &cobra.Command{
		Use: "restart [-n NAMESPACE] [WORKLOAD…]", Short: "Restart what runs on another revision than its labels lead to, and nothing else",
		Long: `Restart the workloads whose pods are on another revision than their next pods would be; of all namespaces
when -n names none. What is where it belongs is left alone, and what a rolling restart does not reach is listed.

With --first-pod one new pod of each workload that has several is made beside the old ones, with no old pod
taken away, and is proven; then serin stops and asks. serin approve lets the rest follow, serin rollback
takes the new pods away and leaves the old ones untouched.

With --surge that first pod comes by one replica more, and the pod template stays as it is: no rollout begins
before you approve one, and a Deployment of one pod is tried as well. Where a HorizontalPodAutoscaler owns the
number its bounds are raised by one for as long. Back, it is the new pod that goes, by its deletion cost.
StatefulSets have no pod more: theirs is the first pod of --first-pod.

With --method detach no template changes either: a pod is let go by its ReplicaSet, which makes another, and serves
on until that one has taken its place; then it is taken out of the endpoints, and goes. What this is not safe for is
refused, and with --method auto rolled out.`,
		Example: `  serin restart -n shop
  serin restart -n shop --method detach
  serin restart -n shop deploy/cart --first-pod`,
		RunE: func(c *cobra.Command, args []string) error {
			o := plan.Operation{Verb: plan.Roll, Workloads: args, FirstPod: first || more, Surge: more}
			if ns := a.target.namespace(); ns != "" {
				o.Namespaces = []string{ns}
			}
			r, err := f.request(o)
			if err != nil {
				return err
			}
			if more && r.Restarts != "" && r.Restarts != plan.Rollout {
				return fmt.Errorf("--surge makes a pod more, --method %s lets one go: choose one of them", r.Restarts)
			}
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	c.Flags().BoolVar(&first, "first-pod", false, "One new pod of each beside the old ones; then ask")
	c.Flags().BoolVar(&more, "surge", false, "As --first-pod, by one replica more: the pod template stays as it is")
	f.add(c)
	f.addDryRun(c)
	f.addTraffic(c)
	f.addRestarts(c)
	return c
}
