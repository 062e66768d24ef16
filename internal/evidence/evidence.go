package evidence

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// atOnce bounds the dry-run pods and the pods' metrics that are asked for at the
// same time: enough for a thousand in seconds, little enough for any API server.
const atOnce = 16

// idlePods is how many port-forwards to workload pods are kept open between two
// rounds; a wave is usually smaller, and a larger one is dialled again.
const idlePods = 64

// Reader looks at the mesh.
type Reader interface {
	Observe(ctx context.Context) (mesh.Snapshot, error)
}

// Config is what a Gatherer needs. Forwarder may be nil: then it is made from REST.
// Probers may be nil: then the requests gate is Unknown.
type Config struct {
	REST           *rest.Config
	Client         kubernetes.Interface
	Reader         Reader
	IstioNamespace string
	Probers        *Probers
	Now            func() time.Time
	Forwarder      Forwarder
	Prover         Prover // may be nil: then the prove gate is Unknown
	Moves          Moves
	Prometheus     *plan.Prometheus // may be nil: then the metrics gate is Unknown
}

// Gatherer collects evidence. It is safe for concurrent use and keeps one
// port-forward to each istiod open between calls.
type Gatherer struct {
	client    kubernetes.Interface
	reader    Reader
	namespace string
	probers   *Probers
	now       func() time.Time
	forwarder Forwarder
	istiods   *http.Client // one kept connection an istiod
	pods      *http.Client // to workload pods, few kept
	prover    Prover
	moves     Moves
	foresight foresight
	stale     stale    // proxies, and since when
	known     known    // of the step, from before it
	metrics   *queries // nil where there is no Prometheus

	mu     sync.Mutex
	step   int
	told   bool // Mark named the step, it was not inferred
	marked time.Time
	done   time.Time // since when the step is proven; zero before
}

// New returns a Gatherer.
func New(c Config) *Gatherer {
	forwarder := c.Forwarder
	if forwarder == nil {
		forwarder = NewForwarder(c.REST)
	}
	g := &Gatherer{
		client:    c.Client,
		reader:    c.Reader,
		namespace: c.IstioNamespace,
		probers:   c.Probers,
		now:       c.Now,
		forwarder: forwarder,
		istiods:   clientOver(forwarder, connections{each: 1}),
		pods:      clientOver(forwarder, connections{each: 1, idle: idlePods}),
		prover:    c.Prover,
		moves:     c.Moves,
	}
	if p := c.Prometheus; p != nil {
		g.metrics = &queries{asks: *p, at: direct(p.URL)}
		if p.Service != "" {
			g.metrics.at = g.behindService(p.ServiceName())
		}
	}
	return g
}

// Close ends the port-forwards that are idle, and asks nobody any more.
func (g *Gatherer) Close() {
	g.foresight.end()
	g.istiods.CloseIdleConnections()
	g.pods.CloseIdleConnections()
}

// Mark says that a step begins now: requests sent before are what it is compared
// with. Repeating it for the same step changes nothing, so that a deed that is
// tried again is still compared with the time before the first try.
func (g *Gatherer) Mark(step int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = time.Time{}
	if g.step == step && g.told {
		return
	}
	g.step, g.told, g.marked = step, true, g.now()
}

// Since says when a step began that another process began: what was sent since
// then is not from before it. Of a step that was marked here it is known better.
func (g *Gatherer) Since(step int, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.step == step && g.told || at.IsZero() {
		return
	}
	g.step, g.told, g.marked, g.done = step, true, at, time.Time{}
}

// Cold says what is missing for a step to be compared with the time before it, empty
// if nothing is.
func (g *Gatherer) Cold() string {
	if g.probers == nil {
		return ""
	}
	return g.probers.cold()
}

// begun returns when the step began: when Mark said so, else when it was first asked
// about; and since when it is proven, which is when it was first asked about.
func (g *Gatherer) begun(step int) (time.Time, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.step != step || g.marked.IsZero() {
		g.step, g.told, g.marked, g.done = step, false, now, time.Time{}
	}
	if g.done.IsZero() {
		g.done = now
	}
	return g.marked, g.done
}

// part is some of the evidence, and the gates that have to do without theirs.
type part struct {
	dryRuns   []gate.DryRun
	proxies   []gate.Proxy
	served    map[string]int
	parity    *gate.Parity
	answers   *gate.Answers
	foresight *gate.Foresight
	readings  []gate.Reading
	traffic   []gate.Comparison
	pods      []gate.Comparison
	missing   map[gate.Name]string
}

// Gather collects what the named gates need, at the same time where it can. The
// error means that the mesh could not be observed at all, or that ctx ended.
func (g *Gatherer) Gather(ctx context.Context, q gate.Question, gates []gate.Name) (gate.Evidence, error) {
	var mark, done time.Time
	if q.Pod == "" { // one pod by itself is asked about beside a step, whose times stay
		mark, done = g.begun(q.Step)
	}
	ev := gate.Evidence{At: g.now(), Missing: map[gate.Name]string{}}
	var parts [6]part
	group, within := errgroup.WithContext(ctx)
	if slices.Contains(gates, gate.Proxies) {
		group.Go(func() error {
			parts[0] = g.proxyPart(within)
			return nil
		})
	}
	group.Go(func() error {
		parts[5] = g.metricsPart(within, q, gates, mark, done)
		return nil
	})
	if slices.ContainsFunc(gates, readsMesh) || waits(gates) && asksPods(q) {
		group.Go(func() error {
			snapshot, err := g.reader.Observe(within)
			if err != nil {
				return fmt.Errorf("observing the mesh: %w", err)
			}
			ev.Snapshot = snapshot
			asking, within := errgroup.WithContext(within)
			asking.Go(func() error {
				parts[1] = g.dryRunPart(within, q, snapshot, gates)
				return nil
			})
			asking.Go(func() error {
				parts[2] = g.servedPart(within, q, snapshot, gates)
				return nil
			})
			asking.Go(func() error {
				parts[3] = g.gatewayPart(within, q, snapshot, gates)
				return nil
			})
			asking.Go(func() error {
				parts[4] = g.foresightPart(within, snapshot, gates)
				return nil
			})
			return asking.Wait()
		})
	}
	if err := group.Wait(); err != nil {
		return gate.Evidence{}, err
	}
	// A cancelled question looks like bad news from everyone who was asked: it is none.
	if err := ctx.Err(); err != nil {
		return gate.Evidence{}, fmt.Errorf("gathering evidence: %w", err)
	}
	for _, p := range parts {
		p.addTo(&ev)
	}
	if slices.Contains(gates, gate.Requests) {
		g.compare(&ev, mark, done)
	}
	return ev, nil
}

// readsMesh says whether a gate needs a Snapshot: all but those that ask a person, the clock, hooks, a Prometheus and the probers.
func readsMesh(n gate.Name) bool {
	return n != gate.Approval && n != gate.Within && n != gate.Requests && n != gate.Metrics && gate.Hooked(n) == ""
}

func (p part) addTo(ev *gate.Evidence) {
	ev.DryRuns = append(ev.DryRuns, p.dryRuns...)
	ev.Proxies = append(ev.Proxies, p.proxies...)
	if p.served != nil {
		ev.Served = p.served
	}
	if p.parity != nil {
		ev.Parity = p.parity
	}
	if p.answers != nil {
		ev.Answers = p.answers
	}
	if p.foresight != nil {
		ev.Foresight = p.foresight
	}
	ev.Readings = append(ev.Readings, p.readings...)
	ev.Traffic = append(ev.Traffic, p.traffic...)
	ev.Pods = append(ev.Pods, p.pods...)
	maps.Copy(ev.Missing, p.missing)
}

func (g *Gatherer) proxyPart(ctx context.Context) part {
	proxies, err := g.Proxies(ctx)
	g.stale.since(proxies, g.now())
	if err != nil {
		return part{proxies: proxies, missing: map[gate.Name]string{gate.Proxies: err.Error()}}
	}
	return part{proxies: proxies}
}

// compare comes last, so that the requests counted are the newest there are.
func (g *Gatherer) compare(ev *gate.Evidence, mark, done time.Time) {
	if g.probers == nil {
		ev.Missing[gate.Requests] = "no probe is configured: name a URL that serin may send requests to"
		return
	}
	// Counts that no longer grow would look like a calm mesh.
	if idle := g.probers.idle(); idle != "" {
		ev.Missing[gate.Requests] = idle
		return
	}
	ev.Requests = g.probers.compare(mark, done)
}
