package cli

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// typed is the command line as it was typed, for going on after an interruption: a
// shell takes it as it stands. It goes to stderr only. What lets somebody into the
// cluster is not in it: it is said anew, or comes from where it came from.
func typed(c *cobra.Command, args []string) string { return commandLine(c, args, credentials()) }

// recorded is the command line for what is kept in the cluster, where others read it:
// nor is what values were set to in it.
func recorded(c *cobra.Command, args []string) string {
	return commandLine(c, args, append(credentials(), "set", "set-string"))
}

// credentials are the flags of kubectl whose values let somebody in.
func credentials() []string { return []string{"token", "password"} }

func commandLine(c *cobra.Command, args, without []string) string {
	words := []string{c.CommandPath()}
	for _, a := range args {
		words = append(words, quoted(a))
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(without, f.Name) {
			return
		}
		for _, v := range given(f) {
			words = append(words, "--"+f.Name+"="+quoted(v))
		}
	})
	return strings.Join(words, " ")
}

// given is what a flag was given, once for each time it is to be given again.
func given(f *pflag.Flag) []string {
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return []string{redacted(f.Value.String())}
	}
	out := slices.Clone(list.GetSlice())
	if f.Value.Type() == "stringSlice" { // it is read as a line of CSV
		for i, v := range out {
			if strings.ContainsAny(v, ",\"\n") {
				out[i] = `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
			}
		}
	}
	return out
}

// redacted is an address without the password in it.
func redacted(v string) string {
	u, err := url.Parse(v)
	if err != nil || u.User == nil {
		return v
	}
	return u.Redacted()
}

// plain are the words that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoted is a word as a shell is to be given it.
func quoted(v string) string {
	if plain.MatchString(v) {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}
