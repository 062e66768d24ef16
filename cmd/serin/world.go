package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime/debug"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/hooks"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/journal"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/xds"
)

// version is set by the linker in releases.
var version string

func world() cli.World {
	return cli.World{
		Reader: func(t cli.Target) (drive.Reader, error) { return reader(t) }, Journal: newJournal,
		Workload: workload, Proxies: proxies, Connections: connections, Admin: admin, Logs: logs, AccessLogs: accessLogs, Lacks: lacks, Asker: asker, Drivers: drivers,
		Manifest: manifest, Content: content, Evidence: collected, Carried: carried, Kept: kept, CreateNamespaces: createNamespaces,
		Rehearsals: rehearsals, Hooks: asked,
		Now: clock.Now, Wait: clock.Wait, Who: who, Version: build(),
	}
}

func reader(t cli.Target) (*cluster.Reader, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	return cluster.NewReader(cfg, t.IstioNamespace)
}

func workload(ctx context.Context, t cli.Target, ref mesh.Ref) (mesh.Workload, bool, error) {
	r, err := reader(t)
	if err != nil {
		return mesh.Workload{}, false, err
	}
	return r.Workload(ctx, ref)
}

// gatherer collects evidence of the plan's steps; probers is nil where none is wanted.
func gatherer(t cli.Target, p plan.Plan, probers *evidence.Probers) (*evidence.Gatherer, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	r, err := reader(t)
	if err != nil {
		return nil, err
	}
	asker, err := newAsker(t)
	if err != nil {
		return nil, err
	}
	return evidence.New(evidence.Config{
		REST: cfg, Client: client, Reader: r, IstioNamespace: t.IstioNamespace, Probers: probers, Now: clock.Now,
		Prover: asker, Moves: evidence.Moves{To: p.To, From: p.From, Workloads: p.Moved()}, Prometheus: p.Request.Prometheus,
	}), nil
}

// lacks asks the API server what of the rules the user may not do.
func lacks(ctx context.Context, t cli.Target, rules []access.Rule) ([]string, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	c, err := cluster.NewClients(cfg)
	if err != nil {
		return nil, err
	}
	return cluster.Lacks(ctx, c, rules)
}

func proxies(ctx context.Context, t cli.Target) ([]gate.Proxy, error) {
	return gathered(t, func(g *evidence.Gatherer) ([]gate.Proxy, error) { return g.Proxies(ctx) })
}

func connections(ctx context.Context, t cli.Target) ([]xds.Answer, error) {
	return gathered(t, func(g *evidence.Gatherer) ([]xds.Answer, error) { return g.Connections(ctx) })
}

func admin(ctx context.Context, t cli.Target, at cli.Endpoint, path string) ([]byte, error) {
	return gathered(t, func(g *evidence.Gatherer) ([]byte, error) { return g.Get(ctx, at.Namespace, at.Pod, at.Port, path) })
}

// gathered is what one question to a gatherer of its own answers.
func gathered[T any](t cli.Target, ask func(*evidence.Gatherer) (T, error)) (T, error) {
	g, err := gatherer(t, plan.Plan{}, nil)
	if err != nil {
		return *new(T), err
	}
	defer g.Close()
	return ask(g)
}

func logs(ctx context.Context, t cli.Target, q cli.LogQuestion) (io.ReadCloser, error) {
	r, err := reader(t)
	if err != nil {
		return nil, err
	}
	o := corev1.PodLogOptions{Container: q.Container, Follow: q.Follow}
	if q.Tail >= 0 {
		n := int64(q.Tail)
		o.TailLines = &n
	}
	if q.Since > 0 {
		n := int64(q.Since.Seconds() + 1)
		o.SinceSeconds = &n
	}
	return r.Kube.CoreV1().Pods(q.Namespace).GetLogs(q.Pod, &o).Stream(ctx)
}

func accessLogs(t cli.Target) (cli.AccessLogs, error) {
	r, err := reader(t)
	if err != nil {
		return nil, err
	}
	return cluster.Logger{Reader: r}, nil
}

func asker(t cli.Target) (cli.Asker, error) { return newAsker(t) }

func newAsker(t cli.Target) (*istiod.Asker, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	c, err := cluster.NewClients(cfg)
	if err != nil {
		return nil, err
	}
	return istiod.New(istiod.Config{Client: c.Kube, Dynamic: c.Dynamic, Forward: evidence.NewForwarder(cfg), Namespace: t.IstioNamespace}), nil
}

// rehearsal makes copies, and asks them.
type rehearsal struct {
	*cluster.Rehearsal
	*evidence.Gatherer
}

func rehearsals(t cli.Target) (cli.Rehearsals, func(), error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, nil, err
	}
	r, err := cluster.NewRehearsal(cfg, t.IstioNamespace)
	if err != nil {
		return nil, nil, err
	}
	g, err := gatherer(t, plan.Plan{}, nil)
	if err != nil {
		return nil, nil, err
	}
	return rehearsal{r, g}, g.Close, nil
}

// probed is what collects evidence, and the probers, nil if the plan has none.
func probed(t cli.Target, p plan.Plan) (*evidence.Gatherer, *evidence.Probers, error) {
	probers := evidence.NewProbers(p.Request.Sends(), clock.Now)
	g, err := gatherer(t, p, probers)
	return g, probers, err
}

// collected collects evidence for a command that drives nothing.
func collected(ctx context.Context, t cli.Target, p plan.Plan) (drive.Gatherer, func(), error) {
	g, probers, err := probed(t, p)
	if err != nil {
		return nil, nil, err
	}
	return g, sync.OnceFunc(probing(ctx, probers, g)), nil
}

// drivers starts the probers, if the plan has any, and what carries out deeds.
func drivers(ctx context.Context, t cli.Target, p plan.Plan) (cli.Drivers, error) {
	g, probers, err := probed(t, p)
	if err != nil {
		return cli.Drivers{}, err
	}
	w, err := writer(t, p)
	if err != nil {
		return cli.Drivers{}, err
	}
	cfg, err := t.REST()
	if err != nil {
		return cli.Drivers{}, err
	}
	watcher, err := cluster.NewWatcher(cfg, t.IstioNamespace)
	if err != nil {
		return cli.Drivers{}, err
	}
	end := probing(ctx, probers, g)
	d := cli.Drivers{Writer: w, Gatherer: g, Watcher: watcher, Close: sync.OnceFunc(func() { watcher.Close(); end() })}
	if probers != nil {
		d.Requests = probers.Ended
	}
	return d, nil
}

// probing sends requests until the function it returns is called. That a
// probe cannot be sent at all is seen by the gate that waits for its answers.
func probing(ctx context.Context, probers *evidence.Probers, g *evidence.Gatherer) func() {
	if probers == nil {
		return g.Close
	}
	// Not bound to ctx: after ctrl-C the current deed goes on, and is watched.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = probers.Run(ctx)
	}()
	return func() {
		stop()
		<-ended
		g.Close()
	}
}

// asked asks and tells the user's own hooks.
func asked(hs []plan.Hook, commands bool) (drive.Hooks, func()) {
	h := hooks.New(hs, commands, clock.Now)
	return h, h.Close
}

func writer(t cli.Target, p plan.Plan) (*cluster.Writer, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	r, err := reader(t)
	if err != nil {
		return nil, err
	}
	w, err := cluster.NewWriter(cfg, t.IstioNamespace, istio.NewHelm(cfg, istio.NewCharts(p.Request.Charts)), r)
	if err != nil {
		return nil, err
	}
	asker, err := newAsker(t)
	if err != nil {
		return nil, err
	}
	return w.Compares(evidence.Alike{Reader: r, Shadower: asker}), nil
}

func manifest(ctx context.Context, t cli.Target, r cli.Rendering) ([]byte, error) {
	w, err := writer(t, r.Plan)
	if err != nil {
		return nil, err
	}
	return w.Manifest(ctx, r.Step, r.Plan, r.Before, r.Server)
}

func content(ctx context.Context, t cli.Target, r cli.Rendering) (plan.Content, error) {
	w, err := writer(t, r.Plan)
	if err != nil {
		return plan.Content{}, err
	}
	return w.Content(ctx, r.Step, r.Plan, r.Before)
}

func carried(t cli.Target, p plan.Plan, st plan.Step, before mesh.Snapshot) (mesh.Release, error) {
	w, err := writer(t, p)
	if err != nil {
		return mesh.Release{}, err
	}
	return w.Carried(st, p, before), nil
}

func kept(ctx context.Context, t cli.Target, c mesh.ControlPlane) (string, error) {
	w, err := writer(t, plan.Plan{})
	if err != nil {
		return "", err
	}
	return w.Kept(ctx, c)
}

func createNamespaces(ctx context.Context, t cli.Target, names []string) error {
	w, err := writer(t, plan.Plan{})
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := w.CreateNamespace(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// newJournal is the journal in Istio's namespace.
func newJournal(t cli.Target) (cli.Journal, error) {
	cfg, err := t.REST()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return journal.New(client, t.IstioNamespace, clock.Now), nil
}

// who is the person at this machine, for the record: no proof of identity.
func who() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// build is serin's own version: the release's, the module's, or the commit's.
func build() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return info.Main.Version
}
