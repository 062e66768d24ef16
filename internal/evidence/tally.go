package evidence

import (
	"math/bits"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

const (
	// latencyKept is for how many seconds latencies are kept; counts are kept for
	// good. It bounds the memory of a probe in a run of weeks to some three megabytes.
	latencyKept = 3 * 3600
	// examplesKept is how many failures are remembered in words, the last ones.
	examplesKept = 1000
	// unit is the finest latency told apart.
	unit = 50 * time.Microsecond
	// slots of a histogram: sixteen units, then eight to each doubling up to the
	// 2^17 units (6.5 s) that are longer than any request may take.
	slots = 16 + 13*8
)

// histogram counts latencies to within an eighth.
type histogram [slots]uint16

func slot(d time.Duration) int {
	v := uint64(max(0, d) / unit)
	if v < 16 {
		return int(v)
	}
	e := bits.Len64(v) - 1
	return min(slots-1, 16+(e-4)*8+int(v>>(e-3)&7))
}

// top is the longest latency that falls into a slot.
func top(i int) time.Duration {
	if i < 16 {
		return time.Duration(i+1) * unit
	}
	e := (i-16)/8 + 4
	return time.Duration(8+(i-16)%8+1) << (e - 3) * unit
}

// bottom is where a slot begins.
func bottom(i int) time.Duration {
	if i == 0 {
		return 0
	}
	return top(i - 1)
}

// second counts the requests that were sent in one second and have finished.
type second struct {
	ok, failed uint32
	latencies  *histogram // of those that went well
}

type failure struct {
	second int
	what   string
}

// tally accounts for finished requests by the second they were sent in, so that
// any stretch of hours is quickly added up.
type tally struct {
	start    time.Time
	seconds  []second
	failures []failure
}

// index is the second a time falls into, counted from the start.
func (t *tally) index(at time.Time) int { return max(0, int(at.Sub(t.start)/time.Second)) }

// at returns the bucket of a second.
func (t *tally) at(i int) *second {
	for len(t.seconds) <= i {
		t.seconds = append(t.seconds, second{})
		if old := len(t.seconds) - 1 - latencyKept; old >= 0 {
			t.seconds[old].latencies = nil
		}
	}
	return &t.seconds[i]
}

func (t *tally) good(sent time.Time, took time.Duration) {
	s := t.at(t.index(sent))
	s.ok++
	if s.latencies == nil {
		s.latencies = &histogram{}
	}
	if n := &s.latencies[slot(took)]; *n < 1<<16-1 {
		*n++
	}
}

func (t *tally) bad(sent time.Time, what string) {
	i := t.index(sent)
	t.at(i).failed++
	if len(t.failures) == examplesKept {
		t.failures = append(t.failures[:0], t.failures[1:]...)
	}
	t.failures = append(t.failures, failure{i, what})
}

// window adds up the seconds from lo up to, not including, hi.
func (t *tally) window(lo, hi int) gate.Window {
	lo, hi = max(0, lo), min(hi, len(t.seconds))
	var w gate.Window
	var sum [slots]int
	for i := lo; i < hi; i++ {
		s := t.seconds[i]
		w.Sent += int(s.ok) + int(s.failed)
		w.Failed += int(s.failed)
		if s.latencies != nil {
			for j, n := range s.latencies {
				sum[j] += int(n)
			}
		}
	}
	w.P50, w.P99 = quantile(sum, 50), quantile(sum, 99)
	for i, n := range sum {
		if n > 0 {
			w.Latencies = append(w.Latencies, gate.Bucket{From: bottom(i), UpTo: top(i), N: n})
		}
	}
	for _, f := range t.failures {
		if f.second >= lo && f.second < hi {
			w.Example = f.what
			break
		}
	}
	return w
}

// quantile returns the latency that percent of the requests did not exceed; 0 for none.
func quantile(sum [slots]int, percent int) time.Duration {
	total := 0
	for _, n := range sum {
		total += n
	}
	need := (total*percent + 99) / 100
	if need == 0 {
		return 0
	}
	for i, n := range sum {
		if need -= n; need <= 0 {
			return top(i)
		}
	}
	return top(slots - 1)
}
