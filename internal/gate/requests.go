package gate

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	// minSamples is how few requests say nothing.
	minSamples = 20
	// sure is how unlikely by chance bad news has to be. The gates are judged each
	// second for as long as a step takes, several probes at a time: one in a hundred
	// would come by itself.
	sure = 0.001
	// doubt is how unlikely by chance it may be that what is seen is no worse than
	// before. What is less likely waits for more requests.
	doubt = 0.01
	// unfit is the share of failures before a step from which on a target says nothing.
	unfit = 0.1
	// tail is the share of slow requests that is news, whatever the median.
	tail = 0.05

	defaultSlower = 1.5
	defaultBy     = 50 * time.Millisecond
)

// Warm is how many requests have to be sent before a step for something to compare with.
func (l Limits) Warm() int { return 3 * cmp.Or(l.Samples, minSamples) }

// requests compares each probe with the time before the step. The worst of them counts.
func requests(list []Comparison) (State, string) {
	if len(list) == 0 {
		return Unknown, "no probe sends requests"
	}
	var reasons [3][]string
	for _, c := range list {
		state, reason := c.judge()
		if len(list) > 1 {
			reason = c.Name + ": " + reason
		}
		i := worst(state)
		reasons[i] = append(reasons[i], reason)
	}
	for i, state := range []State{Shut, Unknown, Open} {
		if len(reasons[i]) > 0 {
			return state, some(reasons[i])
		}
	}
	return Unknown, ""
}

// worst orders the answers, bad news first.
func worst(s State) int {
	switch s {
	case Shut:
		return 0
	case Open:
		return 2
	case Unknown:
	}
	return 1
}

// judge says whether it has become worse: first whether more fail, then whether it
// is slower. Each is bad news only if chance is ruled out, and what is neither
// clearly bad nor clearly well is unknown.
func (c Comparison) judge() (State, string) {
	before, reference := c.Before, fmt.Sprintf("before the step %d of %d", c.Before.Failed, c.Before.Sent)
	if before.Sent < minSamples { // a step that is taken up by another process: what was before it is gone
		before, reference = Window{Sent: 100, Failed: 1}, "nothing is known from before the step, 1 of 100 is taken for it"
	}
	now := c.Now
	p, more := worsened(before, now), now.Failed*before.Sent > before.Failed*now.Sent
	text := fmt.Sprintf("%d sent, %d failed", now.Sent, now.Failed)
	switch {
	case more && p < sure:
		return Shut, fmt.Sprintf("%s; %s (by chance %s)%s", text, reference, odds(p), example(now))
	case float64(before.Failed) > unfit*float64(before.Sent):
		return Unknown, fmt.Sprintf("it says nothing: %d of %d failed before the step as well", before.Failed, before.Sent)
	case now.Sent < cmp.Or(c.Limits.Samples, minSamples):
		return Unknown, fmt.Sprintf("%s, %d are needed", text, cmp.Or(c.Limits.Samples, minSamples))
	case more && p < doubt:
		return Unknown, fmt.Sprintf("%s; %s (by chance %s): more will tell%s", text, reference, odds(p), example(now))
	}
	state, slow := c.latency()
	text += fmt.Sprintf(", at most %.2g%% (95%% sure)", 100*atMost(now))
	if slow != "" {
		text += ", " + slow
	}
	return state, text
}

func example(w Window) string {
	if w.Example == "" {
		return ""
	}
	return "; for example: " + w.Example
}

// odds are a probability in words.
func odds(p float64) string {
	if p < 1e-9 {
		return "never"
	}
	if p > 0.5 {
		return "as likely as not"
	}
	return "1 in " + strings.TrimSuffix(fmt.Sprintf("%.0f", roundTo2(1/p)), ".")
}

// roundTo2 keeps two digits: nobody is as sure as 1 in 48,713.
func roundTo2(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Round(v/scale) * scale
}

// latency compares how long the newest requests took. What is slow is bad news once
// it lasts: pods that have just started are slow for a while.
func (c Comparison) latency() (State, string) {
	before, now := c.Before.Latencies, c.Lately.Latencies
	least := cmp.Or(c.Limits.Samples, minSamples)
	switch {
	case total(before) < least:
		return Open, "" // a reference of a few says nothing, and there will be no other in this step
	case total(now) < least:
		return Unknown, fmt.Sprintf("%d of the newest were answered, %d are needed", total(now), least)
	}
	slow := c.slower()
	switch {
	case slow == "":
		return Open, fmt.Sprintf("p50 %s, p99 %s", short(c.Lately.P50), short(c.Lately.P99))
	case !c.Long:
		return Unknown, slow + ": it will show whether that lasts"
	}
	return Shut, slow
}

// slower says how the newest requests are slower than before, empty where they are
// not: most of them, or one in twenty of them by far. It has to be by much as well as
// beyond chance: with thousands of requests chance is ruled out for a millisecond.
func (c Comparison) slower() string {
	factor, by := cmp.Or(c.Limits.Slower, defaultSlower), cmp.Or(c.Limits.By, defaultBy)
	limit := func(d time.Duration) time.Duration { return max(time.Duration(factor*float64(d)), d+by) }
	before, now := c.Before, c.Lately
	if p := slowed(before.Latencies, now.Latencies); now.P50 >= limit(before.P50) && p < sure {
		return fmt.Sprintf("slower: p50 %s, before the step %s (by chance %s)", short(now.P50), short(before.P50), odds(p))
	}
	from := limit(before.P99)
	was := Window{Sent: total(before.Latencies), Failed: beyond(before.Latencies, from)}
	is := Window{Sent: total(now.Latencies), Failed: beyond(now.Latencies, from)}
	if p := worsened(was, is); float64(is.Failed) >= tail*float64(is.Sent) && p < sure {
		return fmt.Sprintf("slower: %d of the newest %d took more than %s, before the step %d of %d (by chance %s)", is.Failed, is.Sent, short(from), was.Failed, was.Sent, odds(p))
	}
	return ""
}

// short is a duration in about three digits.
func short(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
