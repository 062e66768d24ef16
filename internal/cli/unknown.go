package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// group marks a command that only groups others.
const group = "group"

// refuseUnknown has every command that only groups others refuse a word that is none of
// them: cobra shows help then, and calls it done. Without a word it shows help still.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case sub.Name() == "help":
			sub.RunE = helped
		case sub.HasSubCommands() && !sub.Runnable():
			sub.Args, sub.Annotations = cobra.ArbitraryArgs, map[string]string{group: "true"}
			sub.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return c.Help()
				}
				return noSuch(c, args[0])
			}
		}
		refuseUnknown(sub)
	}
}

// helped is `serin help [command]`.
func helped(c *cobra.Command, args []string) error {
	of, left, err := c.Root().Find(args)
	if err != nil || of == nil {
		of, left = c.Root(), args
	}
	if len(left) > 0 {
		return noSuch(of, left[0])
	}
	of.InitDefaultHelpFlag()
	return of.Help()
}

// noSuch says that a command has no other of that name, and which is nearest.
func noSuch(c *cobra.Command, word string) error {
	c.SuggestionsMinimumDistance = 2 // cobra's own
	nearest := ""
	if near := c.SuggestionsFor(word); len(near) > 0 {
		nearest = ": did you mean " + strings.Join(near, ", ") + "?"
	}
	return fmt.Errorf("%s has no command %q%s\n  remedy: %s --help", c.CommandPath(), word, nearest, c.CommandPath())
}
