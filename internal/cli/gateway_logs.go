package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/mesh"
)

// LogQuestion asks for what a pod's container has written.
type LogQuestion struct {
	Namespace, Pod, Container string
	Follow                    bool
	Tail                      int           // lines; negative is all
	Since                     time.Duration // zero is all
}

// gatewayLogs shows which gateway serves, old or new: the lines of all pods behind
// the same Service, each with its revision.
func (a *app) gatewayLogs() *cobra.Command {
	var (
		q   LogQuestion
		all bool
	)
	c := &cobra.Command{
		Use: "logs NAME", Args: one("a gateway"), Short: "Show the access logs of a gateway and of those beside it, each line with the revision that served",
		Long: `The lines of the proxies of all pods behind the gateway's Service, of whichever Deployment they are: each begins with the
revision and the pod, so that it shows which gateway, the old one or the new one, served a request. Only access logs are
shown unless --all is given; that they are written is for the mesh to say (meshConfig.accessLogFile), or for a Telemetry.`,
		Example: `  serin gateway logs istio-ingress -f
  serin gateway logs istio-ingress --since 5m --all`,
		RunE: func(c *cobra.Command, args []string) error {
			if q.Tail < -1 || q.Since < 0 {
				return errors.New("--tail and --since cannot be negative")
			}
			g, err := a.namedGateway(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showLogs(c.Context(), g, q, all)
		},
	}
	fs := c.Flags()
	fs.BoolVarP(&q.Follow, "follow", "f", false, "Go on as lines are written, until interrupted")
	fs.IntVar(&q.Tail, "tail", 100, "Lines of each pod's end to begin with; -1 is all")
	fs.DurationVar(&q.Since, "since", 0, "Only lines that are no older")
	fs.BoolVar(&all, "all", false, "Also what the proxy says of itself")
	return c
}

// logged is a pod whose lines are shown, and how they begin.
type logged struct {
	pod    mesh.Pod
	prefix string
}

func (a *app) showLogs(ctx context.Context, g mesh.Gateway, q LogQuestion, all bool) error { //nolint:revive // what is shown
	s, err := a.observe(ctx)
	if err != nil {
		return err
	}
	var pods []logged
	width := 0
	for _, ref := range append([]mesh.Ref{g.Ref}, g.Beside...) {
		for _, p := range s.PodsOf(ref) {
			prefix := fmt.Sprintf("%s %s", orNone(p.Revision), p.Name)
			width = max(width, len(prefix))
			pods = append(pods, logged{p, prefix})
		}
	}
	if len(pods) == 0 {
		return refused("gateway %s has no pods\n  remedy: serin gateway restore %s", g.Ref, g.Ref.Name)
	}
	out := &lines{w: a.io.Out, width: width, want: func(line string) bool { return all || accessLog(line) }}
	var group sync.WaitGroup
	failed := make([]error, len(pods))
	for i, p := range pods {
		group.Go(func() {
			failed[i] = a.copyLog(ctx, p, q, out)
		})
	}
	group.Wait()
	if interrupted(ctx) {
		return nil // it was ended by who looked at it
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if out.n == 0 && !all {
		_, err = fmt.Fprintln(a.io.ErrOut, "no access log among the lines: is meshConfig.accessLogFile set, or a Telemetry? --all shows what else is written")
	}
	return err
}

func orNone(rev string) string {
	if rev == "" {
		return "none"
	}
	return rev
}

// copyLog writes the lines of one pod that are wanted, whole and with its prefix.
func (a *app) copyLog(ctx context.Context, p logged, q LogQuestion, out *lines) error {
	q.Namespace, q.Pod, q.Container = p.pod.Namespace, p.pod.Name, "istio-proxy"
	r, err := a.world.Logs(ctx, a.target, q)
	if err != nil {
		return fmt.Errorf("reading the log of %s/%s: %w", q.Namespace, q.Pod, err)
	}
	defer func() { _ = r.Close() }()
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" && out.want(line) {
			if err := out.write(fmt.Sprintf("%-*s  %s\n", out.width, p.prefix, line)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || err != nil && interrupted(ctx):
			return nil
		case err != nil:
			return fmt.Errorf("reading the log of %s/%s: %w", q.Namespace, q.Pod, err)
		}
	}
}

// accessLog says whether a line is a request's: Istio's text format begins with the
// time in brackets and has the request in quotes; its JSON has a response code.
func accessLog(line string) bool {
	if strings.HasPrefix(line, "{") {
		return strings.Contains(line, `"response_code"`)
	}
	return strings.HasPrefix(line, "[2") && strings.Contains(line, `] "`)
}

// lines are written by several at once, each whole.
type lines struct {
	mu sync.Mutex
	w  io.Writer
	n  int

	width int               // of the longest prefix
	want  func(string) bool // which are shown
}

func (l *lines) write(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	_, err := io.WriteString(l.w, text)
	return err //nolint:wrapcheck // of the terminal
}
