package evidence

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

const (
	podsOfEach   = 3   // of a workload are read for the time before a step
	podsOfAll    = 100 // of a step
	knownForLong = 30 * time.Second
)

// known is what the pods of a step, and those who call them, had counted before it.
type known struct {
	mu sync.Mutex
	seen
}

// seen is what is known of one step.
type seen struct {
	step    int
	at      time.Time
	done    time.Time         // the step is proven since
	before  counts            // of the pods that go
	callers map[string]counts // by pod: what they had asked of what moves
	there   map[string]bool   // all pods that were there
	asked   sought            // of callers: for what moves
	who     map[string]bool   // the callers' workloads, namespace/name
	read    time.Time         // when the callers were
	since   counts            // what they had then asked of what moves since the step began
}

// look reads, before the deed of a step, what its pods and their callers have counted.
// What cannot be read is not known, which the comparison says; it keeps no step from
// beginning.
func (k *known) look(ctx context.Context, g *Gatherer, q gate.Question, s mesh.Snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := g.now()
	if !asksPods(q) || k.step == q.Step && now.Sub(k.at) < knownForLong {
		return
	}
	reporters := reportersOf(q, s)
	before := newCounts()
	for _, c := range g.read(ctx, going(reporters, q, s), sought{}) {
		before.add(c, 1)
	}
	asked := servicesOf(reporters, s)
	there := map[string]bool{}
	for _, p := range s.Pods {
		there[p.Namespace+"/"+p.Name] = true
	}
	k.seen = seen{step: q.Step, at: now, before: before, asked: asked, who: before.callers, there: there}
	k.callers = g.read(ctx, k.calling(s), asked)
}

// going are pods that the step takes away, a few of each workload.
func going(reporters map[mesh.Ref]string, q gate.Question, s mesh.Snapshot) []target {
	return some(s, func(p mesh.Pod) (string, bool) {
		reporter, ok := reporters[p.Workload]
		return reporter, ok && p.Revision != q.Revision
	})
}

// some are a few pods with a proxy of each workload that is wanted, which stay.
func some(s mesh.Snapshot, wanted func(mesh.Pod) (reporter string, ok bool)) []target {
	var out []target
	each := map[mesh.Ref]int{}
	for _, p := range s.Pods {
		reporter, ok := wanted(p)
		if !ok || p.Leaving || p.Revision == "" {
			continue
		}
		if each[p.Workload]++; each[p.Workload] <= podsOfEach && len(out) < podsOfAll {
			out = append(out, target{p, reporter})
		}
	}
	return out
}

// servicesOf are what callers ask for who ask for what moves.
func servicesOf(reporters map[mesh.Ref]string, s mesh.Snapshot) sought {
	asked := sought{reporter: "source", services: map[string]bool{}}
	for _, w := range s.Workloads {
		if _, ok := reporters[w.Ref]; !ok {
			continue
		}
		for _, name := range w.Services {
			asked.services[name] = true
		}
	}
	return asked
}

// of forgets what was known of another step: this one was not seen to begin.
func (k *known) of(step int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.step != step {
		k.seen = seen{step: step, before: newCounts()}
	}
}

// calling are pods of those who call what moves.
func (k *known) calling(s mesh.Snapshot) []target {
	return some(s, func(p mesh.Pod) (string, bool) {
		return "source", k.who[p.Namespace+"/"+p.Workload.Name]
	})
}

// read is what pods have counted, by pod; those that cannot be read are left out.
func (g *Gatherer) read(ctx context.Context, pods []target, of sought) map[string]counts {
	out := map[string]counts{}
	found, failures := g.countedAll(ctx, pods, of)
	for i, t := range pods {
		if failures[i] == nil {
			out[t.key()] = found[i]
		}
	}
	return out
}

// compare sets what the moved pods have counted since they started, and what their
// callers have counted since the step began, against what was before it.
func (k *known) compare(ctx context.Context, g *Gatherer, s mesh.Snapshot, moved []counts) []gate.Comparison {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := g.now()
	if k.done.IsZero() {
		k.done = now
	}
	long := now.Sub(k.done) >= 2*lately
	sum := newCounts()
	for _, c := range moved {
		sum.add(c, 1)
	}
	out := []gate.Comparison{{Name: "the moved pods", Before: k.before.window(), Now: sum.window(), Long: long}}
	if len(k.who) > 0 {
		before := newCounts()
		for _, c := range k.callers {
			before.add(c, 1)
		}
		if k.read.Before(k.done) || now.Sub(k.read) >= askAgain { // they may be many
			k.since, k.read = k.asking(g.read(ctx, k.calling(s), k.asked)), now
		}
		out = append(out, gate.Comparison{Name: "their callers", Before: before.window(), Now: k.since.window(), Long: long})
	}
	for i := range out {
		out[i].Lately = out[i].Now
	}
	return out
}

// asking is what callers have asked since the step began, of what they have counted.
func (k *known) asking(now map[string]counts) counts {
	since := newCounts()
	for pod, c := range now {
		was, read := k.callers[pod]
		if !read && k.there[pod] { // it had counted before the step too, and nobody knows how much
			continue
		}
		since.add(c, 1)
		since.add(was, -1)
	}
	return since
}

// reportersOf says from which side the requests of what is in question are counted. A
// sidecar counts what it was asked; a gateway is nobody's destination and counts what
// it asked others for its clients.
func reportersOf(q gate.Question, s mesh.Snapshot) map[mesh.Ref]string {
	reporters := map[mesh.Ref]string{}
	for _, ref := range q.Workloads {
		reporters[ref] = "destination"
	}
	for _, w := range s.Workloads {
		if _, ok := reporters[w.Ref]; ok && w.Gateway() {
			reporters[w.Ref] = "source"
		}
	}
	return reporters
}

// asksPods says whether the proof of a step asks what its pods served. Then they are
// read before it, also where it needs nothing to begin.
func asksPods(q gate.Question) bool { return (q.Counted || q.MinServed > 0) && len(q.Workloads) > 0 }

// waits says whether a step has not begun: its proof would ask what its pods served.
func waits(gates []gate.Name) bool { return !slices.Contains(gates, gate.Served) }
