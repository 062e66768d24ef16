package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// app is what every command has at hand.
type app struct {
	world  World
	io     genericiooptions.IOStreams
	target Target
}

// Main runs one command line and returns its exit code. args begins with the
// program's own name: as kubectl-serin, help speaks of "kubectl serin".
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams, w World) int {
	a := &app{world: w, io: streams, target: Target{Config: genericclioptions.NewConfigFlags(true)}}
	root := a.root(args[0]) //nolint:contextcheck // each command takes the context that ExecuteContext gives it
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var e exit
	if !errors.As(err, &e) {
		err = inWords(err, a.target)
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintf(streams.ErrOut, "serin: %s\n", text)
	}
	return code(err)
}

const long = `serin upgrades Istio by revision, without losing a request.

  serin precheck --to 1.29.1             every reason why not; writes nothing to the cluster
  serin plan -f request.yaml -o plan.yaml
                                         what would happen; writes nothing to the cluster
  serin apply plan.yaml                  does it, live; running it again goes on
  serin status -w                        where are we
  serin report                           what was done, and what it cost in requests`

func (a *app) root(program string) *cobra.Command {
	root := &cobra.Command{
		Use: "serin", Short: "Istio upgrades by revision", Long: long,
		SilenceErrors: true, SilenceUsage: true,
	}
	if strings.HasPrefix(filepath.Base(program), "kubectl-") {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl serin"}
	}
	root.SetIn(a.io.In)
	root.SetOut(a.io.Out)
	root.SetErr(a.io.ErrOut)
	a.target.Config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVarP(&a.target.IstioNamespace, "istio-namespace", "i", "istio-system", "Namespace of Istio's control planes")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w\n  remedy: %s --help", err, c.CommandPath())
	})
	root.AddCommand(
		a.status(), a.snapshot(), a.precheck(), a.plan(), a.apply(), a.verify(),
		a.pause(), a.resume(), a.approve(), a.abort(), a.rollback(),
		a.tag(), a.gateway(), a.move(), a.restart(), a.install(), a.uninstall(), a.repair(),
		a.history(), a.report(), a.proxyStatus(), a.proxyConfig(), a.explain(), a.revisions(), a.diff(), a.prove(), a.rehearse(),
		a.rbac(), a.version(), exitCodes(),
	)
	// A group runs only to refuse what is none of its commands: help does not offer it by itself.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", `{{if and .Runnable (not (index .Annotations "`+group+`"))}}`, 1))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	refuseUnknown(root)
	return root
}

// exitCodes is a help topic: it has nothing to run.
func exitCodes() *cobra.Command {
	return &cobra.Command{
		Use: "exit-codes", Short: "What serin's exit codes mean",
		Long: `  0  done
  1  error, wrong usage
  2  plan --detailed-exitcode: there is something to do
  3  refused: a finding stands in the way, the plan was edited or no longer fits, another run is open;
     precheck: a finding; verify, gateway test: no, or cannot be told;
     diff, prove, rehearse: something is dangerous or proven wrong
  4  held: a person must decide, or approve, or has typed ctrl-C;
     diff, prove, rehearse: something is unexplained or could not be proven
  5  rolled back`,
	}
}

// noArgs and its like name the command's usage, which cobra's own do not.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, got %q\n  remedy: %s --help", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}

func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes at most one argument, got %d\n  remedy: %s --help", c.CommandPath(), len(args), c.CommandPath())
	}
	return nil
}
