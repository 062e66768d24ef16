package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Commands are the words after serin of every command that is serin's own, groups and
// topics too: help and completion are cobra's.
func Commands() []string {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	a := &app{io: streams, target: Target{Config: genericclioptions.NewConfigFlags(true)}}
	var out []string
	var walk func(c *cobra.Command, words string)
	walk = func(c *cobra.Command, words string) {
		for _, sub := range c.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			out = append(out, words+sub.Name())
			walk(sub, words+sub.Name()+" ")
		}
	}
	walk(a.root("serin"), "")
	return out
}
