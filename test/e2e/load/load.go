package load

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/serin-mesh/serin/test/e2e/service"
)

// Load is a load that runs, or has run.
type Load struct {
	cfg      Config
	from, to time.Time
	counters map[Kind]*counter
	stop     context.CancelFunc
	done     chan struct{}
	ledger   *ledger
	before   map[string]service.Count // what the pods had answered when it began
}

func start(ctx context.Context, cfg Config, books *ledger) *Load {
	ctx, stop := context.WithCancel(ctx)
	l := &Load{cfg: cfg, from: time.Now(), counters: map[Kind]*counter{}, stop: stop, done: make(chan struct{}), ledger: books, before: books.copy()}
	var wg sync.WaitGroup
	for kind := range cfg.Rates {
		c := &counter{kind: kind}
		l.counters[kind] = c
		if kind.Held() {
			wg.Go(func() { held(ctx, cfg, kind, c) })
		} else {
			wg.Go(func() { requests(ctx, cfg, kind, c) })
		}
	}
	go func() { wg.Wait(); close(l.done) }()
	return l
}

// settle is how long the services' last counts may take to arrive.
const settle = 1500 * time.Millisecond

// end stops the load and waits until all is accounted for.
func (l *Load) end() {
	if l.to.IsZero() {
		l.to = time.Now()
	}
	l.stop()
	<-l.done
	<-time.After(settle)
}

func (l *Load) report() Report {
	r := Report{From: l.from, To: l.to, Served: map[string]map[Kind]int{}}
	if r.To.IsZero() {
		r.To = time.Now()
	}
	for _, k := range Kinds() {
		if c, ok := l.counters[k]; ok {
			r.Counts = append(r.Counts, c.count())
		}
	}
	for pod, c := range l.ledger.copy() {
		if r.Served[c.Name] == nil {
			r.Served[c.Name] = map[Kind]int{}
		}
		for k, n := range c.Answered {
			r.Served[c.Name][Kind(k)] += n - l.before[pod].Answered[k]
		}
	}
	return r
}

// ledger is what the services have answered, by pod.
type ledger struct {
	mu   sync.Mutex
	pods map[string]service.Count
}

func (b *ledger) add(c service.Count) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pods[c.Pod] = c
}

func (b *ledger) copy() map[string]service.Count {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.pods)
}

// Services are the names of the services that have answered.
func (r Report) Services() []string { return slices.Sorted(maps.Keys(r.Served)) }

func cutLast(id string) (string, string, bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return id, "", false
	}
	return id[:i], id[i+1:], true
}
