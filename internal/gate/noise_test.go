package gate //nolint:testpackage // it counts how often a comparison is bad news, which is not exported

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 20))} }

func (r random) float() float64 { return r.Float64() }

// target is how something behind a probe behaves at a second: how many of its
// requests fail, and how long the others take.
type target func(r random, second int) (failing float64, took func() time.Duration)

// the step begins here, its deed is done here, and it is proven so long.
const (
	rate   = 20
	begins = 120
	done   = 130
	ends   = 190
)

// watched plays a step second by second and returns the worst that the gate said
// while the step was proven, and whether it was open in the end.
func watched(seed uint64, t target) (string, bool, int) {
	open := false
	r := newRandom(seed)
	type answer struct {
		failed bool
		took   time.Duration
	}
	seconds := make([][]answer, ends)
	for s := range seconds {
		failing, took := t(r, s)
		for range rate {
			seconds[s] = append(seconds[s], answer{r.float() < failing, took()})
		}
	}
	window := func(from, to int) Window {
		var w Window
		var all []time.Duration
		for _, s := range seconds[from:to] {
			for _, a := range s {
				w.Sent++
				if a.failed {
					w.Failed++
				} else {
					all = append(all, a.took)
				}
			}
		}
		slices.Sort(all)
		for _, d := range all { // in buckets of an eighth, as the prober's
			size := time.Duration(math.Exp2(math.Floor(math.Log2(float64(d))*8)/8 + 0.125))
			if n := len(w.Latencies); n > 0 && w.Latencies[n-1].UpTo == size {
				w.Latencies[n-1].N++
			} else {
				w.Latencies = append(w.Latencies, Bucket{From: size - size/9, UpTo: size, N: 1})
			}
		}
		if len(all) > 0 {
			w.P50, w.P99 = all[len(all)/2], all[len(all)*99/100]
		}
		return w
	}
	before := window(0, begins)
	for at := done + 1; at <= ends; at += 3 {
		c := Comparison{Name: "probe", Before: before, Now: window(begins, at), Lately: window(max(done, at-15), at), Long: at-done >= 30}
		state, why := requests([]Comparison{c})
		if state == Shut {
			return why, false, at - begins
		}
		open = state == Open
	}
	return "", open, 0
}

func ms(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }

// lognormal is how latencies usually lie: a median and a long tail.
func lognormal(r random, median, sigma float64) func() time.Duration {
	return func() time.Duration { return ms(median * math.Exp(sigma*r.NormFloat64())) }
}

func constant(failing, median, sigma float64) target {
	return func(r random, _ int) (float64, func() time.Duration) { return failing, lognormal(r, median, sigma) }
}

// from is one target until a second, and another one from then on.
func from(second int, before, after target) target {
	return func(r random, s int) (float64, func() time.Duration) {
		if s < second {
			return before(r, s)
		}
		return after(r, s)
	}
}

// Twelve things that happen in every mesh and are no reason to stop an upgrade.
func TestNoise_doesNotShut(t *testing.T) {
	calm := constant(0, 80, 0.3)
	harmless := map[string]target{
		"nothing at all":                     calm,
		"a failure in a thousand, as before": constant(0.001, 80, 0.3),
		"two in a hundred, as before":        constant(0.02, 80, 0.3),
		"a long tail":                        constant(0, 20, 1.2),
		"a twentieth slower":                 from(begins, calm, constant(0, 84, 0.3)),
		"a quarter slower":                   from(begins, calm, constant(0, 100, 0.3)),
		"three times as slow, of 2 ms":       from(begins, constant(0, 2, 0.3), constant(0, 6, 0.3)),
		"twice as fast":                      from(begins, calm, constant(0, 40, 0.3)),
		"fewer failures":                     from(begins, constant(0.03, 80, 0.3), constant(0.001, 80, 0.3)),
		"pods that have just started are slow for eight seconds": from(done, calm, from(done+8, constant(0, 400, 0.5), calm)),
		"one in a hundred takes a second": func(r random, _ int) (float64, func() time.Duration) {
			usual := lognormal(r, 80, 0.3)
			return 0, func() time.Duration {
				if r.float() < 0.01 {
					return time.Second
				}
				return usual()
			}
		},
		"a wave of load that comes and goes each minute": func(r random, s int) (float64, func() time.Duration) {
			return 0, lognormal(r, 80*(1+0.3*math.Sin(2*math.Pi*float64(s)/60)), 0.3)
		},
	}
	if len(harmless) != 12 {
		t.Fatalf("there are %d", len(harmless))
	}
	const seeds = 40
	for name, is := range harmless {
		closed := 0
		for seed := range uint64(seeds) {
			shut, open, _ := watched(seed, is)
			if shut != "" {
				t.Errorf("%s, seed %d: %s", name, seed, shut)
			}
			if !open {
				closed++
			}
		}
		if closed > seeds/10 {
			t.Errorf("%s: %d of %d are not open at the end", name, closed, seeds)
		}
	}
}

// And what a new revision does when it is wrong shuts, each time.
func TestRegressions_shut(t *testing.T) {
	calm := constant(0.0005, 80, 0.3)
	flaps := func(r random, s int) (float64, func() time.Duration) {
		if s >= begins && s/3%2 == 0 {
			return 0.5, lognormal(r, 80, 0.3)
		}
		return calm(r, s)
	}
	for name, is := range map[string]target{
		"two in a hundred fail":   from(begins, calm, constant(0.02, 80, 0.3)),
		"all fail":                from(begins, calm, constant(1, 80, 0.3)),
		"one of three pods fails": from(done, calm, constant(0.33, 80, 0.3)),
		"a target that flaps":     flaps,
		"twice as slow":           from(begins, calm, constant(0, 160, 0.3)),
		"one in ten takes far longer": from(begins, calm, func(r random, _ int) (float64, func() time.Duration) {
			usual := lognormal(r, 80, 0.3)
			return 0, func() time.Duration {
				if r.float() < 0.12 {
					return 600 * time.Millisecond
				}
				return usual()
			}
		}),
	} {
		missed, latest := 0, 0
		for seed := range uint64(40) {
			shut, _, after := watched(seed, is)
			if shut == "" {
				missed++
			}
			latest = max(latest, after)
		}
		t.Logf("%s: shut within %d s of the step's begin, %d of 40 missed", name, latest, missed)
		if missed > 2 {
			t.Errorf("%s: missed %d times of 40", name, missed)
		}
	}
}
