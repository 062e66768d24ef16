package evidence

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// histogramOf turns cumulative counts by their upper bounds in milliseconds, as Envoy
// and Prometheus have them, into buckets, and finds the median and the slowest
// hundredth, each as it would lie if what is in a bucket were spread evenly.
func histogramOf(cumulative map[float64]float64) ([]gate.Bucket, time.Duration, time.Duration) {
	var out []gate.Bucket
	from, below := time.Duration(0), 0
	for _, le := range slices.Sorted(maps.Keys(cumulative)) {
		upTo := time.Duration(math.MaxInt64)
		if !math.IsInf(le, 1) {
			upTo = time.Duration(le * float64(time.Millisecond))
		}
		if n := int(math.Round(cumulative[le])) - below; n > 0 { // what was extrapolated may go down by one
			out = append(out, gate.Bucket{From: from, UpTo: upTo, N: n})
			below += n
		}
		from = upTo
	}
	return out, spread(out, 0.5), spread(out, 0.99)
}

// spread is the quantile of buckets.
func spread(buckets []gate.Bucket, share float64) time.Duration {
	total := 0
	for _, b := range buckets {
		total += b.N
	}
	need := share * float64(total)
	for _, b := range buckets {
		if need -= float64(b.N); need > 0 {
			continue
		}
		if b.UpTo == math.MaxInt64 { // nobody knows where it ends
			return b.From
		}
		return b.From + time.Duration((1+need/float64(b.N))*float64(b.UpTo-b.From))
	}
	return 0
}
