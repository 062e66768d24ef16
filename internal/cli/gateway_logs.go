package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/accesslog"
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
	var f logFlags
	c := &cobra.Command{
		Use: "logs NAME", Args: one("a gateway"), Short: "Show the access logs of a gateway and of those beside it, each line with the revision that served",
		Long: `The lines of the proxies of all pods behind the gateway's Service, of whichever Deployment they are: each begins with the
revision and the pod, so that it shows which gateway, the old one or the new one, served a request. Only access logs are
shown unless --all is given; that they are written is for the mesh to say (meshConfig.accessLogFile), or for a Telemetry.

Where they are not written, --telemetry adds a Telemetry for exactly these pods, tried first, and removes it when the
command ends, however it is ended; one that is there already is never changed, and access logs go on going where else they
go. The pods' listeners are renewed when it comes and when it goes: connections that outlive the drain time are cut. Of a
command that was killed, serin status shows what is left, and serin repair or the next --telemetry removes it.`,
		Example: `  serin gateway logs istio-ingress -f
  serin gateway logs istio-ingress --telemetry
  serin gateway logs istio-ingress --since 5m --all`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.q.Tail < -1 || f.q.Since < 0:
				return errors.New("--tail and --since cannot be negative")
			case f.dryRun && !f.telemetry:
				return errors.New("--dry-run shows what --telemetry would add: without that nothing is written")
			}
			g, err := a.namedGateway(c.Context(), args[0])
			if err != nil {
				return err
			}
			f.q.Follow = f.q.Follow || f.telemetry
			return a.showLogs(c.Context(), g, f, recorded(c, args))
		},
	}
	fs := c.Flags()
	fs.BoolVarP(&f.q.Follow, "follow", "f", false, "Go on as lines are written, and as pods come, until interrupted")
	fs.IntVar(&f.q.Tail, "tail", 100, "Lines of each pod's end to begin with; -1 is all")
	fs.DurationVar(&f.q.Since, "since", 0, "Only lines that are no older")
	fs.BoolVar(&f.all, "all", false, "Also what the proxy says of itself")
	fs.BoolVar(&f.telemetry, "telemetry", false, "Have access logs written while this runs, where they are not: by a Telemetry that goes when it ends; follows")
	fs.BoolVar(&f.dryRun, "dry-run", false, "Show the Telemetry that --telemetry would add, and add nothing")
	return c
}

// logFlags is `serin gateway logs` as it was typed.
type logFlags struct {
	q                      LogQuestion
	all, telemetry, dryRun bool
}

// logged is a pod whose lines are shown, and how they begin.
type logged struct {
	pod    mesh.Pod
	prefix string
}

func (a *app) showLogs(ctx context.Context, g mesh.Gateway, f logFlags, again string) error {
	s, err := a.observe(ctx)
	if err != nil {
		return err
	}
	pods := behind(s, g.Ref)
	if len(pods) == 0 {
		return refused("gateway %s has no pods\n  remedy: serin gateway restore %s", g.Ref, g.Ref.Name)
	}
	logs, err := a.world.AccessLogs(a.target)
	if err != nil {
		return err
	}
	t := telemetered{app: a, logs: logs, by: again, s: s, ask: accesslog.Ask{Gateway: g, Services: serving(s, g), Pods: pods}}
	if f.telemetry {
		return t.during(ctx, f.dryRun, func(ctx context.Context) error { return a.copyLogs(ctx, g.Ref, pods, f, true) })
	}
	told, err := t.tellUnwritten(ctx, g.Ref.Name)
	if err != nil {
		return err
	}
	return a.copyLogs(ctx, g.Ref, pods, f, told)
}

// behind are the pods of a gateway, and of those beside it.
func behind(s mesh.Snapshot, ref mesh.Ref) []mesh.Pod {
	g, found := s.Gateway(ref)
	if !found { // its Deployment is gone, its last pods may still be going
		return s.PodsOf(ref)
	}
	var pods []mesh.Pod
	for _, r := range g.Together() {
		pods = append(pods, s.PodsOf(r)...)
	}
	return pods
}

// newcomers is how often who follows looks for pods that have come.
const newcomers = 5 * time.Second

// copying is the lines of several pods on their way.
type copying struct {
	*app

	f      logFlags
	out    *lines
	known  map[string]bool // pods that are, or were, read
	ended  chan error      // one for each of them
	active int
}

// copyLogs writes the lines of the pods until there are no more; who follows sees those
// of pods that come later, too. Where there is none to be seen it says so, unless that
// was told.
func (a *app) copyLogs(ctx context.Context, g mesh.Ref, pods []mesh.Pod, f logFlags, told bool) error { //nolint:revive // what was said
	c := &copying{app: a, f: f, known: map[string]bool{}, ended: make(chan error), out: &lines{w: a.io.Out, want: func(line string) bool { return f.all || accessLog(line) }}}
	c.begin(ctx, pods)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	var failed []error
	for look := c.looks(waiting); c.active > 0; {
		select {
		case err := <-c.ended:
			c.active--
			failed = append(failed, err)
			if c.active == 0 {
				c.later(ctx, g)
			}
		case <-look:
			c.later(ctx, g)
		}
	}
	if interrupted(ctx) {
		return nil // it was ended by who looked at it
	}
	err := errors.Join(failed...)
	if err == nil && c.out.n == 0 && !f.all && !told {
		_, err = fmt.Fprintln(a.io.ErrOut, "no access log among the lines: --all shows what else is written")
	}
	return err
}

// looks tells now and then that it is time to look for pods that have come.
func (c *copying) looks(ctx context.Context) <-chan struct{} {
	look := make(chan struct{})
	if !c.f.q.Follow {
		return look
	}
	go func() {
		for c.world.Wait(ctx, newcomers) == nil {
			select {
			case look <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return look
}

// later begins with the pods that have come since, as soon as they have lines; what
// cannot be seen now is looked for again.
func (c *copying) later(ctx context.Context, g mesh.Ref) {
	if !c.f.q.Follow || interrupted(ctx) {
		return
	}
	s, err := c.observe(ctx)
	if err != nil {
		return
	}
	c.f.q.Tail, c.f.q.Since = -1, 0 // all that they have written is new
	c.begin(ctx, slices.DeleteFunc(behind(s, g), func(p mesh.Pod) bool { return p.Leaving || !p.Ready && !p.Held }))
}

// begin reads the pods that are not read yet.
func (c *copying) begin(ctx context.Context, pods []mesh.Pod) {
	pods = slices.DeleteFunc(pods, func(p mesh.Pod) bool { return c.known[p.Name] })
	from := make([]logged, 0, len(pods))
	for _, p := range pods {
		prefix := fmt.Sprintf("%s %s", orNone(p.Revision), p.Name)
		c.out.widen(len(prefix))
		c.known[p.Name] = true
		from = append(from, logged{p, prefix})
	}
	c.active += len(from)
	for _, p := range from {
		go func(q LogQuestion) { c.ended <- c.copyLog(ctx, p, q, c.out) }(c.f.q)
	}
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
			if err := out.write(p.prefix, line); err != nil {
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

func (l *lines) write(prefix, line string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	_, err := fmt.Fprintf(l.w, "%-*s  %s\n", l.width, prefix, line)
	return err
}

// widen makes room for a prefix.
func (l *lines) widen(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = max(l.width, n)
}
