package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) tag() *cobra.Command {
	c := &cobra.Command{
		Use: "tag", Short: "List, set, move, repair and remove revision tags",
		Long: `A tag is a name that leads to a revision: an injector, from Istio 1.28 on a Service, and for the tag
"default" the validator. serin changes all parts together, in place, and proves that they agree.

The flags are those of istioctl tag.`,
		Example: `  serin tag list
  serin tag set prod-stable --revision 1-27-0
  serin tag set prod-stable --revision 1-29-1 --overwrite`,
	}
	c.AddCommand(a.tagList(), a.tagSet(), a.tagGenerate(), a.tagRemove(), a.tagRepair())
	return c
}

func (a *app) tagList() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "list", Aliases: []string{"show"}, Short: "List the tags, what follows them, and whether their parts agree",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "table" { // istioctl's word
				out = string(view.Text)
			}
			o, err := parseOutput(out, view.Text, view.Wide, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			reader, err := a.world.Reader(a.target)
			if err != nil {
				return err
			}
			s, err := reader.Observe(c.Context())
			if err != nil {
				return fmt.Errorf("looking at the mesh: %w", err)
			}
			return view.Tags(a.io.Out, s, o.format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "table", "Output format: table, wide, json or yaml")
	return c
}

// one names the command's single argument when it is missing.
func one(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one argument, %s, got %d\n  remedy: %s --help", c.CommandPath(), name, len(args), c.CommandPath())
		}
		return nil
	}
}

// tagFlags are those of set and generate.
type tagFlags struct {
	revision, webhook, manifests string
	auto                         bool
}

func (f *tagFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.revision, "revision", "r", "", "Revision that the tag is to lead to")
	c.Flags().StringVar(&f.webhook, "webhook-name", "", "Name of the tag's injector, where it is not to be istio-revision-tag-TAG")
	c.Flags().BoolVar(&f.auto, "auto-inject-namespaces", false, "Inject namespaces without labels too")
	c.Flags().StringVarP(&f.manifests, "manifests", "d", "", "Refused: a tag is made of the live webhooks of its revision, and not of charts")
}

func (f *tagFlags) operation(c *cobra.Command, tag string) (plan.Operation, error) {
	if c.Flags().Changed("manifests") {
		return plan.Operation{}, fmt.Errorf("--manifests %s: serin makes a tag of the live webhooks of its revision, and reads no charts for it\n  remedy: leave it out", f.manifests)
	}
	if f.revision == "" {
		return plan.Operation{}, fmt.Errorf("which revision the tag is to lead to is missing\n  remedy: %s %s --revision REVISION", c.CommandPath(), tag)
	}
	return plan.Operation{Verb: plan.TagSet, Tags: []string{tag}, Revision: f.revision, WebhookName: f.webhook, AutoInject: f.auto}, nil
}

func (a *app) tagSet() *cobra.Command {
	var (
		f         operationFlags
		t         tagFlags
		overwrite bool
	)
	c := &cobra.Command{
		Use: "set TAG --revision REVISION", Short: "Make a tag, or move one: injector, Service and validator together",
		Long: `Make a tag, or move one that is there. Before a tag moves, serin shows which namespaces, workloads and
gateways move with it and asks; --overwrite, or -y, answers. A tag whose parts disagree is not moved: see
serin tag repair.`,
		Example: `  serin tag set prod-stable --revision 1-27-0
  # what would move with it, then move it without being asked
  serin tag set prod-stable --revision 1-29-1 --dry-run
  serin tag set prod-stable --revision 1-29-1 --overwrite`,
		Args: one("the tag's name"),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := t.operation(c, args[0])
			if err != nil {
				return err
			}
			r, err := f.request(o)
			if err != nil {
				return err
			}
			f.yes = f.yes || overwrite
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	t.add(c)
	f.add(c)
	f.addDryRun(c)
	f.addTraffic(c)
	c.Flags().BoolVar(&overwrite, "overwrite", false, "Move the tag without asking")
	c.Flags().BoolVar(&f.yes, "skip-confirmation", false, "The same as --yes")
	return c
}

func (a *app) tagRemove() *cobra.Command {
	var f operationFlags
	c := &cobra.Command{
		Use: "remove TAG", Aliases: []string{"delete"}, Short: "Remove a tag that nothing follows",
		Args: one("the tag's name"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.request(plan.Operation{Verb: plan.TagRemove, Tags: args})
			if err != nil {
				return err
			}
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	f.add(c)
	f.addDryRun(c)
	c.Flags().BoolVar(&f.yes, "skip-confirmation", false, "The same as --yes")
	return c
}

func (a *app) tagRepair() *cobra.Command {
	var (
		f        operationFlags
		revision string
	)
	c := &cobra.Command{
		Use: "repair [TAG]", Short: "Let all parts of a split tag lead to one revision again; all tags when none is named",
		Long: `A tag is split when its injector, its Service or its validator lead to different revisions, or when one of
them is missing. The revision whose injector answers now is kept, so that nothing moves, unless --revision
names another.`,
		Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.request(plan.Operation{Verb: plan.TagRepair, Tags: args, Revision: revision})
			if err != nil {
				return err
			}
			return a.operate(c.Context(), operation{request: r, flags: f, again: typed(c, args)})
		},
	}
	f.add(c)
	f.addDryRun(c)
	c.Flags().StringVarP(&revision, "revision", "r", "", "Revision that it is to lead to; the one whose injector answers when not given")
	return c
}

func (a *app) tagGenerate() *cobra.Command {
	var (
		t         tagFlags
		overwrite bool
	)
	c := &cobra.Command{
		Use: "generate TAG --revision REVISION", Short: "Print what a tag is made of, to be committed; writes nothing to the cluster",
		Args: one("the tag's name"),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := t.operation(c, args[0])
			if err != nil {
				return err
			}
			return a.generate(c.Context(), o, overwrite)
		},
	}
	t.add(c)
	c.Flags().BoolVar(&overwrite, "overwrite", false, "Do not warn that the tag is there and leads elsewhere")
	return c
}

// generate prints the parts of a tag, also of one that is there: the file says
// where it is to lead.
func (a *app) generate(ctx context.Context, o plan.Operation, overwrite bool) error { //nolint:revive // a flag, as it was typed
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	s, err := reader.Observe(ctx)
	if err != nil {
		return fmt.Errorf("looking at the mesh: %w", err)
	}
	v, ok := s.ControlPlane(o.Revision)
	if !ok {
		return refused("revision %s: no control plane has this name; there are %s\n  remedy: name one that is there", o.Revision, strings.Join(s.Revisions(), ", "))
	}
	for _, f := range plan.Build(s, plan.Request{Operation: &o}).Findings {
		if f.Code == "SRN1201" { // a name that two injectors would answer to, or that is none
			return refused("%s: %s\n  remedy: %s", f.Object, f.Reason, f.Remedy)
		}
	}
	if t, there := s.Tag(o.Tags[0]); there && t.Revision != o.Revision && !overwrite {
		_, _ = fmt.Fprintf(a.io.ErrOut, "warning: tag %s leads to %s; what is printed moves it (--overwrite leaves this line out)\n", t.Name, t.Revision)
	}
	st := plan.Step{Kind: plan.SetTag, Tag: o.Tags[0], From: o.Revision, To: o.Revision, Version: v.Version, Injector: o.WebhookName, Auto: o.AutoInject}
	b, err := a.world.Manifest(ctx, a.target, Rendering{Step: st, Before: s})
	if err != nil {
		return err
	}
	_, err = a.io.Out.Write(b)
	return err
}
