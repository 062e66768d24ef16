// Package script_test runs the scripts of this directory: serin's command line
// through its real root command, on a mesh in memory that is kept in a file
// between two commands of a script. They are also the manual's examples.
package script_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/serin-mesh/serin/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"serin": func() { os.Exit(serin("serin", fakeWorld())) },
		// The same program under the name of a kubectl plugin, and one that reaches for a real cluster.
		"kubectl-serin": func() { os.Exit(serin("/usr/local/bin/kubectl-serin", fakeWorld())) },
		"serin-real":    func() { os.Exit(serin("serin", realReader())) },
		"mesh":          func() { os.Exit(makeMesh(os.Args[1:])) },
	})
}

// interrupted is closed when serin knows of ctrl-C: a signal takes its time, and the
// world's clock does not wait for it.
var interrupted = make(chan struct{})

func serin(name string, w cli.World) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { close(interrupted) })
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return cli.Main(ctx, append([]string{name}, os.Args[1:]...), streams, w)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: ".", UpdateScripts: *update, RequireExplicitExec: false, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code},
		Setup: func(e *testscript.Env) error {
			e.Setenv("SERIN_FAKE", e.WorkDir+"/world")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("KUBECONFIG", e.WorkDir+"/kubeconfig")
			return nil
		},
	})
}

// code runs a command that must end with an exit code: code 3 serin plan.
func code(ts *testscript.TestScript, neg bool, args []string) { //nolint:revive // the signature is testscript's
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}
