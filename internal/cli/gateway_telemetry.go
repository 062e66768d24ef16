package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

const (
	// telemetryLife is for how long a Telemetry is its command's without a word of it.
	telemetryLife = 2 * time.Minute
	// telemetryBeat is how often the command says that it runs.
	telemetryBeat = 30 * time.Second
	// removalTime is how long a removal may take, whatever ended the command.
	removalTime = 30 * time.Second
)

// telemetered is a Telemetry of serin's and what looks after it.
type telemetered struct {
	*app

	logs AccessLogs
	ask  accesslog.Ask
	by   string // what is typed
	s    mesh.Snapshot
}

// serving are the Services behind which the gateway is.
func serving(s mesh.Snapshot, g mesh.Gateway) []mesh.Service {
	var out []mesh.Service
	for _, ref := range g.Together() {
		o, _ := s.Gateway(ref)
		for _, svc := range o.Services {
			if !slices.ContainsFunc(out, func(x mesh.Service) bool { return x.Namespace == svc.Namespace && x.Name == svc.Name }) {
				out = append(out, svc)
			}
		}
	}
	return out
}

// unwritten says in a line which of the pods write no access logs, and why; empty
// where all do, or where it cannot be told.
func unwritten(f accesslog.Facts, pods []mesh.Pod) string {
	why := map[string][]string{}
	var order []string
	for _, p := range pods {
		v := f.Of(p)
		if v.State == accesslog.Written || v.State == accesslog.Unknown {
			continue
		}
		if why[v.Why] == nil {
			order = append(order, v.Why)
		}
		if rev := orNone(p.Revision); !slices.Contains(why[v.Why], rev) {
			why[v.Why] = append(why[v.Why], rev)
		}
	}
	var out []string
	for _, w := range order {
		out = append(out, "on revision "+strings.Join(why[w], ", ")+": "+w)
	}
	return strings.Join(out, "; ")
}

// tellUnwritten says so beforehand, with the remedy. Where the user may not look, the
// lines themselves must do.
func (t telemetered) tellUnwritten(ctx context.Context, name string) (bool, error) {
	f, err := t.facts(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // it is a hint: the logs are shown all the same
	}
	why := unwritten(f, t.ask.Pods)
	if why == "" {
		return false, nil
	}
	remedy := "serin gateway logs " + name + " --telemetry has them written while it runs"
	var r *accesslog.Refusal
	if _, err := f.Wanted(t.ask); errors.As(err, &r) {
		remedy = r.Object + ": " + r.Remedy
	}
	_, err = fmt.Fprintf(t.io.ErrOut, "%s access logs are missing %s; %s\n", accesslog.CodeUnshown, why, remedy)
	return true, err
}

func (t telemetered) facts(ctx context.Context) (accesslog.Facts, error) {
	return t.logs.Logging(ctx, t.s.ControlPlanes, t.ask.Gateway.Ref.Namespace)
}

// wanted is the Telemetry to add; one without a name where all access logs are
// written already. What a killed command has left of it is removed first, or named.
func (t telemetered) wanted(ctx context.Context, dryRun bool) (accesslog.Telemetry, error) { //nolint:revive // it looks only
	f, err := t.facts(ctx)
	if err != nil {
		return accesslog.Telemetry{}, err
	}
	left := func(x accesslog.Telemetry) bool {
		return x.Own != nil && x.Own.Left && t.ask.For(x)
	}
	for _, x := range f.Telemetries {
		if !left(x) {
			continue
		}
		said := "removed"
		if dryRun {
			said = "would be removed first:"
		} else if err := t.logs.Remove(ctx, *x.Own); err != nil {
			return accesslog.Telemetry{}, err
		}
		if _, err := fmt.Fprintf(t.io.ErrOut, "%s %s, which was left by %s\n", said, x.Own, x.Own.Typed()); err != nil {
			return accesslog.Telemetry{}, err
		}
	}
	f.Telemetries = slices.DeleteFunc(f.Telemetries, left)
	without := f // what other commands have written ends with them
	without.Telemetries = slices.DeleteFunc(slices.Clone(f.Telemetries), func(x accesslog.Telemetry) bool { return x.Own != nil })
	if all := !slices.ContainsFunc(t.ask.Pods, func(p mesh.Pod) bool { return without.Of(p).State != accesslog.Written }); all {
		return accesslog.Telemetry{}, nil
	}
	out, err := f.Wanted(t.ask)
	if err != nil {
		return out, exit{code: exitRefused, cause: err}
	}
	return out, nil
}

// during shows lines while the pods write them: by a Telemetry that is there for no
// longer than that, however it ends. Order: tried before it is made; made before
// anything is shown; removed when everything is, also after ctrl-C, SIGTERM, a closed
// terminal or a closed pipe. One that nobody could remove says so by itself: its time
// is over, and status, repair and the next one find it.
func (t telemetered) during(ctx context.Context, dryRun bool, show func(context.Context) error) error { //nolint:revive // it tries only
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	lacks, err := t.world.Lacks(ctx, t.target, access.Logging())
	if err == nil {
		err = refuseLacking(lacks)
	}
	if err != nil {
		return err
	}
	want, err := t.wanted(ctx, dryRun)
	if err != nil {
		return err
	}
	if want.Name == "" {
		if _, err := fmt.Fprintln(t.io.ErrOut, "access logs are written already: nothing is added"); err != nil || dryRun {
			return err
		}
		return show(ctx)
	}
	text, err := t.logs.Try(ctx, want, t.marks())
	if err != nil {
		return err
	}
	if dryRun {
		_, err = t.io.Out.Write(text)
		return err
	}
	return t.with(ctx, want, show)
}

func (t telemetered) marks() accesslog.Marks {
	return accesslog.Marks{By: t.world.Who(), Command: t.by, Until: t.world.Now().Add(telemetryLife)}
}

// with adds the Telemetry, shows, and removes it.
func (t telemetered) with(ctx context.Context, want accesslog.Telemetry, show func(context.Context) error) error {
	adding, end := context.WithTimeout(context.WithoutCancel(ctx), removalTime) // what was sent is seen to its end
	made, err := t.logs.Add(adding, want, t.marks())
	end()
	if err != nil {
		return err
	}
	showing, stop := context.WithCancelCause(ctx)
	beaten := make(chan struct{})
	go func() {
		defer close(beaten)
		stop(t.beat(showing, made))
	}()
	_, err = fmt.Fprintf(t.io.ErrOut, "added %s: access logs are written until this ends. The listeners are renewed now and when it ends: connections that outlive the drain time are cut\n", made)
	if err == nil {
		err = show(showing)
	}
	lost := context.Cause(showing)
	stop(nil)
	<-beaten
	if errors.Is(lost, drive.ErrRefused) { // it is gone already
		return exit{code: exitRefused, cause: lost}
	}
	return errors.Join(err, t.remove(ctx, made))
}

// beat says now and then that the command runs, until it ends or nobody needs to
// know any more. An API server that is away for a moment is told the next time.
func (t telemetered) beat(ctx context.Context, made mesh.Telemetry) error {
	for t.world.Wait(ctx, telemetryBeat) == nil && ctx.Err() == nil {
		if err := t.logs.Renew(ctx, made, t.world.Now().Add(telemetryLife)); errors.Is(err, drive.ErrRefused) {
			return err
		}
	}
	return nil
}

func (t telemetered) remove(ctx context.Context, made mesh.Telemetry) error {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer end()
	if err := t.logs.Remove(ctx, made); err != nil {
		return fmt.Errorf("%w\n  remedy: serin repair, or kubectl -n %s delete telemetry %s", err, made.Namespace, made.Name)
	}
	_, err := fmt.Fprintf(t.io.ErrOut, "removed %s\n", made)
	return err
}
