package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

// statusRequest is `serin status` as it was typed.
type statusRequest struct {
	out   output
	watch bool
	every time.Duration
}

func (a *app) status() *cobra.Command {
	var (
		req statusRequest
		out string
	)
	c := &cobra.Command{
		Use: "status", Short: "Show revisions, tags, namespaces, workloads, proxies and the upgrade under way",
		Example: `  serin status
  serin status -n shop -o wide
  serin status -w`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if req.out, err = parseOutput(out, view.Text, view.Wide, view.JSON, view.YAML); err != nil {
				return err
			}
			if req.every <= 0 {
				return errors.New("--poll-interval must be more than nothing")
			}
			if req.watch && (req.out.format == view.JSON || req.out.format == view.YAML) {
				return fmt.Errorf("-o %s is one document, and --watch goes on: it writes text or wide\n  remedy: %s -o %s, again and again", out, c.CommandPath(), out)
			}
			if !req.watch {
				return a.showStatus(c.Context(), req.out)
			}
			return a.watch(c.Context(), req)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, wide, json or yaml")
	c.Flags().BoolVarP(&req.watch, "watch", "w", false, "Look again and again: redrawn in a terminal, a line for each change in a pipe")
	c.Flags().DurationVar(&req.every, "poll-interval", 2*time.Second, "How often to look with --watch")
	return c
}

func (a *app) showStatus(ctx context.Context, out output) error {
	s, err := a.look(ctx)
	if err != nil {
		return err
	}
	if out.format == view.JSON || out.format == view.YAML {
		return view.Encode(a.io.Out, out.format, s)
	}
	return s.Text(a.io.Out, out.format)
}

// look gathers what there is to see. Proxies and the run may be out of reach,
// for want of a permission: the mesh is shown all the same, and says so.
func (a *app) look(ctx context.Context) (view.Status, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return view.Status{}, err
	}
	l := view.Look{Now: a.world.Now()}
	if l.Snapshot, err = reader.Observe(ctx); err != nil {
		return view.Status{}, fmt.Errorf("looking at the mesh: %w", err)
	}
	if len(l.Snapshot.ControlPlanes) == 0 {
		l.ProxiesUnknown = "there is no istiod to ask"
	} else if l.Proxies, err = a.world.Proxies(ctx, a.target); err != nil {
		l.ProxiesUnknown = err.Error()
	}
	if l.Run, l.Holder, err = a.current(ctx); err != nil {
		l.RunUnknown = err.Error()
	}
	return view.NewStatus(l).In(a.target.namespace()), nil
}

// current is the open run, if there is one, and who drives it.
func (a *app) current(ctx context.Context) (*run.Run, string, error) {
	j, err := a.world.Journal(a.target)
	if err != nil {
		return nil, "", err
	}
	r, err := open(ctx, j)
	if err != nil || r == nil {
		return nil, "", err
	}
	holder, err := j.Holder(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("reading who drives run %s: %w", r.ID, err)
	}
	return r, holder, nil
}

// watch shows the status until it is interrupted, which is no error. Nor is a
// cluster that goes away later: it is shown, and looked for again.
func (a *app) watch(ctx context.Context, req statusRequest) error {
	last := ""
	for first := true; ; first = false {
		s, err := a.look(ctx)
		switch {
		case interrupted(ctx):
			return nil
		case err != nil && first:
			return err
		}
		if terminal(a.io.Out) {
			err = a.redraw(s, err, req.out.format)
		} else {
			last, err = a.changes(s, err, last)
		}
		if err != nil {
			return err
		}
		if !a.waited(ctx, req.every) {
			return nil
		}
	}
}

// redraw fills the terminal anew.
func (a *app) redraw(s view.Status, lost error, f view.Format) error {
	var b bytes.Buffer
	if lost != nil {
		fmt.Fprintf(&b, "%v\n", inWords(lost, a.target))
	} else if err := s.Text(&b, f); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.io.Out, "\x1b[H\x1b[2J%s", b.String())
	return err
}

// changes prints what is new since the last look, and returns what it saw.
func (a *app) changes(s view.Status, lost error, last string) (string, error) {
	now := s.Line()
	if lost != nil {
		now = "unknown: " + lost.Error()
	}
	if now == last {
		return last, nil
	}
	_, err := fmt.Fprintf(a.io.Out, "%s  %s\n", a.world.Now().Format(time.TimeOnly), now)
	return now, err
}

func interrupted(ctx context.Context) bool { return ctx.Err() != nil }

// waited is whether the time has passed, and nobody interrupted it.
func (a *app) waited(ctx context.Context, d time.Duration) bool { return a.world.Wait(ctx, d) == nil }
