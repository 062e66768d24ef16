package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Commands are the words after serin of every command that is serin's own, groups and
// topics too: help and completion are cobra's.
func Commands() []string {
	var out []string
	walk(commandTree(), "", func(_ *cobra.Command, words string) { out = append(out, words) })
	return out
}

// Misread are the lines of examples that serin would not take, with the reason.
func Misread() []string {
	var out []string
	walk(commandTree(), "", func(c *cobra.Command, words string) {
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(line, " #")
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			args, ours := strings.CutPrefix(strings.TrimSpace(line), "serin ")
			if !ours {
				continue
			}
			of, left, err := commandTree().Find(strings.Fields(args))
			if err == nil {
				err = of.ParseFlags(left)
			}
			if err == nil {
				err = of.ValidateArgs(of.Flags().Args())
			}
			if err == nil && of.HasSubCommands() && of.Flags().NArg() > 0 {
				err = errors.New("there is no such command")
			}
			if err != nil {
				out = append(out, fmt.Sprintf("serin help %s: %s: %v", words, line, err))
			}
		}
	})
	return out
}

func commandTree() *cobra.Command {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	a := &app{io: streams, target: Target{Config: genericclioptions.NewConfigFlags(true)}}
	return a.root("serin")
}

func walk(c *cobra.Command, words string, each func(c *cobra.Command, words string)) {
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		each(sub, words+sub.Name())
		walk(sub, words+sub.Name()+" ", each)
	}
}

// Root is the real command tree.
func Root() *cobra.Command { return commandTree() }

// Needed are the flags without which the commands that move gateways say what is missing.
func Needed() map[string][]string {
	out := map[string][]string{}
	for _, v := range gatewayVerbs() {
		if v.needsPods {
			out["serin gateway "+v.use] = append(out["serin gateway "+v.use], "to")
		}
		if v.needsRevision {
			out["serin gateway "+v.use] = append(out["serin gateway "+v.use], "revision")
		}
	}
	return out
}
