package gate

import (
	"math"
	"time"
)

// worsened is how likely it is by chance to see so many failures now, or more,
// when nothing has become worse: Fisher's exact test, one-sided. It is exact for
// any numbers, the smallest too.
func worsened(before, now Window) float64 {
	all, bad := before.Sent+now.Sent, before.Failed+now.Failed
	least := now.Failed
	if least == 0 || now.Sent == 0 || before.Sent == 0 {
		return 1
	}
	whole := choose(all, now.Sent)
	sum := 0.0
	for k := least; k <= min(bad, now.Sent); k++ {
		if all-bad < now.Sent-k {
			continue
		}
		term := math.Exp(choose(bad, k) + choose(all-bad, now.Sent-k) - whole)
		sum += term
		if k > least && term < sum*1e-12 {
			break
		}
	}
	return min(1, sum)
}

// choose is the logarithm of how many ways there are to take k of n.
func choose(n, k int) float64 {
	ln := func(n int) float64 {
		v, _ := math.Lgamma(float64(n) + 1)
		return v
	}
	return ln(n) - ln(k) - ln(n-k)
}

// slowed is how likely it is by chance that what was measured now lies so much
// higher: the test of Mann, Whitney and Wilcoxon, one-sided, by the normal
// approximation with its corrections for ties and continuity. What is in one
// bucket is a tie. It asks nothing of how latencies are distributed.
func slowed(before, now []Bucket) float64 {
	n, m := float64(total(now)), float64(total(before))
	if n == 0 || m == 0 {
		return 1
	}
	all := n + m
	below, above, ties := 0.0, 0.0, 0.0
	i := 0
	for _, b := range merged(before, now) {
		here, there := 0.0, 0.0
		for ; i < len(before) && before[i].UpTo <= b; i++ {
			there += float64(before[i].N)
		}
		for _, x := range now {
			if x.UpTo == b {
				here += float64(x.N)
			}
		}
		above += here * (below + there/2)
		below += there
		t := here + there
		ties += t*t*t - t
	}
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	if variance <= 0 {
		return 1
	}
	z := (above - n*m/2 - 0.5) / math.Sqrt(variance)
	return math.Erfc(z/math.Sqrt2) / 2
}

// merged are the bounds of both, sorted, each once.
func merged(a, b []Bucket) []time.Duration {
	var out []time.Duration
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		var next time.Duration
		switch {
		case j == len(b) || i < len(a) && a[i].UpTo <= b[j].UpTo:
			next = a[i].UpTo
			i++
		default:
			next = b[j].UpTo
			j++
		}
		if len(out) == 0 || out[len(out)-1] != next {
			out = append(out, next)
		}
	}
	return out
}

func total(buckets []Bucket) int {
	n := 0
	for _, b := range buckets {
		n += b.N
	}
	return n
}

// beyond counts what certainly took as long as the limit, or longer: a bucket that
// begins below it is not taken for slow.
func beyond(buckets []Bucket, limit time.Duration) int {
	n := 0
	for _, b := range buckets {
		if b.From >= limit {
			n += b.N
		}
	}
	return n
}

// atMost is the largest rate of failures that would still show so few, one time in
// twenty: what 95 % sureness is of. It is the upper bound of Wilson.
func atMost(w Window) float64 {
	if w.Sent == 0 {
		return 1
	}
	const z = 1.6449
	n, p := float64(w.Sent), float64(w.Failed)/float64(w.Sent)
	return min(1, (p+z*z/(2*n)+z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n)))/(1+z*z/n))
}
