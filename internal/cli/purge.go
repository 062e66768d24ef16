package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/plan"
)

// purgeFlags are those of removing the whole mesh.
type purgeFlags struct {
	all  bool
	name string // as it was typed with the command
}

// purge removes the whole mesh. The name keeps a hand that is used to typing -y
// from doing it to the cluster that happened to be the current one.
func (a *app) purge(c *cobra.Command, args []string, f operationFlags, p purgeFlags, one bool) error {
	switch {
	case !p.all:
		return errors.New("--confirm goes with --purge")
	case one:
		return errors.New("--purge removes every revision: it goes with neither --revision nor --filename")
	}
	name, err := a.meshName()
	if err != nil {
		return err
	}
	if p.name != "" && p.name != name {
		return refused("--confirm %s: this mesh is %s; nothing was changed\n  remedy: name the other with --context, or confirm this one", p.name, name)
	}
	r, err := f.request(plan.Operation{Verb: plan.Uninstall, Purge: true})
	if err != nil {
		return err
	}
	return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args), asked: func() error { return a.typedName(p, name) }})
}

// meshName is what a person calls the mesh: the kubeconfig's context. The mesh's
// own names, its trust domain and its ID, are the same in every cluster that
// nobody has given others.
func (a *app) meshName() (string, error) {
	name := a.target.context()
	if name == "" {
		cfg, err := a.target.REST()
		if err != nil {
			return "", err
		}
		name = cmp.Or(strings.TrimPrefix(cfg.Host, "https://"), "in-cluster")
	}
	return name, nil
}

// typedName wants the mesh's name, with the command or now.
func (a *app) typedName(p purgeFlags, name string) error {
	if p.name == name {
		return nil
	}
	if !interactive(a.io.In) {
		return refused("removing the whole mesh needs its name typed, and there is nobody to ask\n  remedy: look at what is shown above, then --confirm %s", name)
	}
	_, _ = fmt.Fprintf(a.io.ErrOut, "Type the mesh's name, %s, to remove all of it: ", name)
	line, _ := bufio.NewReader(a.io.In).ReadString('\n')
	if strings.TrimSpace(line) != name {
		return refused("that is not its name; nothing was changed")
	}
	return nil
}
