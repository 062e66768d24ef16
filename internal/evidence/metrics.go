package evidence

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

const (
	askAgain = 5 * time.Second // a Prometheus knows nothing new in between, and callers may be many
	leastFor = time.Minute     // the shortest time that rates are of: two scrapes have to be in it
)

// queries asks a Prometheus, not more often than it has news.
type queries struct {
	asks plan.Prometheus
	at   *prometheus

	mu    sync.Mutex
	step  int
	asked time.Time
	last  part
}

// metricsPart is what the Prometheus of the request knows.
func (g *Gatherer) metricsPart(ctx context.Context, q gate.Question, gates []gate.Name, mark, done time.Time) part {
	if !slices.Contains(gates, gate.Metrics) {
		return part{}
	}
	m := g.metrics
	if m == nil {
		return part{missing: map[gate.Name]string{gate.Metrics: "no Prometheus is named in the request"}}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := g.now()
	if m.step == q.Step && now.Sub(m.asked) < askAgain && !done.After(m.asked) {
		return m.last
	}
	p := m.ask(ctx, q, moment{since: now.Sub(mark), settled: now.Sub(done) >= 2*lately, moves: slices.Contains(gates, gate.Proxies)})
	if ctx.Err() == nil {
		m.step, m.asked, m.last = q.Step, now, p
	}
	return p
}

// moment is how long ago the step began, whether what follows its deed has settled, and
// whether it is a step that gives workloads proxies of the new release: of those of
// another step, of a tag's, there is no traffic of theirs yet.
type moment struct {
	since   time.Duration
	settled bool
	moves   bool
	now     time.Time // by the clock of the Prometheus
}

func (m moment) began() time.Time { return m.now.Add(-m.since) }

// span is the time that rates are of, as PromQL writes it.
func (m moment) span() string {
	return strconv.Itoa(int(math.Ceil(max(leastFor, m.since).Seconds()))) + "s"
}

// ask asks everything at once. The Prometheus being away is one reason, not one for
// each query.
func (m *queries) ask(ctx context.Context, q gate.Question, at moment) part {
	var err error
	if at.now, err = m.at.now(ctx); err != nil {
		return part{missing: map[gate.Name]string{gate.Metrics: "Prometheus does not answer: " + err.Error()}}
	}
	queries := m.asks.Asks()
	readings, traffic := make([]gate.Reading, len(queries)), make([]gate.Comparison, 2)
	lacking := make([]error, 2)
	var group errgroup.Group
	group.SetLimit(atOnce / 2)
	for i, query := range queries {
		group.Go(func() error {
			readings[i] = m.read(ctx, query, q, at)
			return nil // one that fails must not stop the others
		})
	}
	sides := []side{{gate.TrafficOf, "destination"}, {gate.TrafficFrom, "source"}}
	for i, s := range sides {
		group.Go(func() error {
			if at.moves && m.asks.Wants(s.name) {
				traffic[i], lacking[i] = m.traffic(ctx, s, q, at)
			}
			return nil // as above
		})
	}
	_ = group.Wait() // no query returns an error to the group
	p := part{readings: readings}
	for i, s := range sides {
		switch {
		case lacking[i] != nil:
			p.readings = append(p.readings, gate.Reading{Name: s.name, Missing: lacking[i].Error()})
		case traffic[i].Name != "":
			p.traffic = append(p.traffic, traffic[i])
		}
	}
	return p
}

func (m *queries) read(ctx context.Context, query plan.Query, q gate.Question, at moment) gate.Reading {
	r := gate.Reading{Name: query.Name, Bounds: query.Bounds()}
	text := filled(query.Query, q, at.span())
	var err error
	if r.Now, err = m.at.values(ctx, text, at.now); err == nil && query.TimesBefore > 0 {
		r.Before, err = m.at.values(ctx, filled(query.Query, q, promSpan(baseline)), at.began())
	}
	if err != nil {
		r.Missing = err.Error()
	}
	return r
}

func promSpan(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + "s" }

// filled is a query with what it is about.
func filled(text string, q gate.Question, span string) string {
	var workloads, namespaces []string
	for _, ref := range q.Workloads {
		workloads = append(workloads, regexp.QuoteMeta(ref.Name))
		namespaces = append(namespaces, regexp.QuoteMeta(ref.Namespace))
	}
	slices.Sort(namespaces)
	return strings.NewReplacer(
		"$version", escaped(regexp.QuoteMeta(q.Version)), "$revision", q.Revision, "$range", span,
		"$workloads", escaped(cmp.Or(strings.Join(workloads, "|"), ".*")),
		"$namespaces", escaped(cmp.Or(strings.Join(slices.Compact(namespaces), "|"), ".*")),
	).Replace(text)
}

// escaped is an expression as it stands between the quotes of PromQL.
func escaped(expression string) string { return strings.ReplaceAll(expression, `\`, `\\`) }

// side is from which side requests are counted.
type side struct{ name, reporter string }

// traffic compares what the proxies of the new release count of what moves with what
// was counted of it before the step, whoever counted it then.
func (m *queries) traffic(ctx context.Context, s side, q gate.Question, at moment) (gate.Comparison, error) {
	c := gate.Comparison{Name: s.name, Long: at.settled}
	build := filled(`max by (instance) (istio_build{component="proxy",tag=~"$version.*"})`, q, "")
	known, err := m.at.one(ctx, "count("+build+")", at.now)
	if err != nil {
		return c, err
	}
	if known == 0 {
		return c, fmt.Errorf("Prometheus knows no proxy of %s: it does not scrape them, or not yet", q.Version) //nolint:staticcheck // its name
	}
	which := filled(fmt.Sprintf(`{reporter=%q,%s_workload=~"$workloads",%s_workload_namespace=~"$namespaces"`, s.reporter, s.reporter, s.reporter), q, "")
	if c.Now, err = m.window(ctx, which, at.span(), " * on (instance) group_left() "+build, at.now); err != nil {
		return c, err
	}
	if c.Before, err = m.window(ctx, which, promSpan(baseline), "", at.began()); err != nil {
		return c, err
	}
	c.Lately = c.Now
	return c, nil
}

// window counts requests, those that failed, and how long they took.
func (m *queries) window(ctx context.Context, which, span, of string, at time.Time) (gate.Window, error) {
	var w gate.Window
	sent, err := m.at.one(ctx, "sum(increase(istio_requests_total"+which+"}["+span+"])"+of+")", at)
	if err != nil {
		return w, err
	}
	failed, err := m.at.one(ctx, "sum(increase(istio_requests_total"+which+`,response_code=~"5.."}[`+span+"])"+of+")", at)
	if err != nil {
		return w, err
	}
	w.Sent, w.Failed = int(math.Round(sent)), int(math.Round(failed))
	all, err := m.at.query(ctx, "sum by (le) (increase(istio_request_duration_milliseconds_bucket"+which+"}["+span+"])"+of+")", at)
	if err != nil {
		return w, err
	}
	bounds := map[float64]float64{}
	for _, s := range all {
		le, err := strconv.ParseFloat(s.Metric["le"], 64)
		if err != nil {
			return w, fmt.Errorf("reading the bucket le=%q: %w", s.Metric["le"], err)
		}
		if bounds[le], err = s.number(); err != nil {
			return w, err
		}
	}
	w.Latencies, w.P50, w.P99 = histogramOf(bounds)
	return w, nil
}
