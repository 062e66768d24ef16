package gate //nolint:testpackage // what is exact is compared with numbers worked out elsewhere

import (
	"math"
	"testing"
	"time"
)

// Worked out by hand from the numbers of ways there are.
func TestWorsened_isFishersExactTest(t *testing.T) {
	for _, tt := range []struct {
		before, now Window
		want        float64
	}{
		{Window{Sent: 4, Failed: 1}, Window{Sent: 4, Failed: 3}, 0.242857142857143}, // the lady tasting tea
		{Window{Sent: 100}, Window{Sent: 2, Failed: 2}, 1.0 / 5151},
		{Window{Sent: 2400}, Window{Sent: 600, Failed: 1}, 0.2},
		{Window{Sent: 10, Failed: 10}, Window{Sent: 10, Failed: 10}, 1},
		{Window{Sent: 10}, Window{Sent: 10}, 1},
		{Window{}, Window{Sent: 10, Failed: 3}, 1},
		{Window{Sent: 15, Failed: 2}, Window{Sent: 15, Failed: 8}, 0.0250875},
	} {
		if got := worsened(tt.before, tt.now); math.Abs(got-tt.want) > 1e-4*math.Max(tt.want, 0.1) {
			t.Errorf("%+v then %+v: %v, want %v", tt.before, tt.now, got, tt.want)
		}
	}
	// A month of requests is no matter of minutes, nor of overflow.
	if p := worsened(Window{Sent: 50_000_000, Failed: 50_000}, Window{Sent: 1_000_000, Failed: 2_000}); p > 1e-12 {
		t.Errorf("twice as many of a million: %v", p)
	}
}

func buckets(of ...int) []Bucket {
	var out []Bucket
	for _, d := range of {
		at := time.Duration(d)
		if n := len(out); n > 0 && out[n-1].UpTo == at {
			out[n-1].N++
			continue
		}
		out = append(out, Bucket{From: at - 1, UpTo: at, N: 1})
	}
	return out
}

// Worked out by hand: U, its mean, its variance with ties, and half for continuity.
func TestSlowed_isTheTestOfMannAndWhitney(t *testing.T) {
	for _, tt := range []struct {
		before, now []int
		want        float64
	}{
		{[]int{1, 2, 3, 4, 5}, []int{6, 7, 8, 9, 10}, 0.006092890177672409},
		{[]int{1, 2, 3, 4, 5}, []int{1, 2, 3, 4, 5}, 0.5418},
		{[]int{6, 7, 8, 9, 10}, []int{1, 2, 3, 4, 5}, 0.9968},
		{[]int{1, 1, 1, 2}, []int{1, 2, 2, 2}, 0.1235},
		{[]int{1, 1, 1}, []int{1, 1, 1}, 1},
		{nil, []int{1, 2}, 1},
	} {
		if got := slowed(buckets(tt.before...), buckets(tt.now...)); math.Abs(got-tt.want) > 2e-3 {
			t.Errorf("%v then %v: %v, want %v", tt.before, tt.now, got, tt.want)
		}
	}
}

// Under no change, a test at level one in a hundred cries wolf one time in a hundred.
func TestWorsened_isHonest(t *testing.T) {
	r := newRandom(1)
	wolf, tries := 0, 4000
	for range tries {
		before, now := Window{Sent: 1000}, Window{Sent: 400}
		for range before.Sent {
			if r.float() < 0.03 {
				before.Failed++
			}
		}
		for range now.Sent {
			if r.float() < 0.03 {
				now.Failed++
			}
		}
		if worsened(before, now) < doubt {
			wolf++
		}
	}
	if share := float64(wolf) / float64(tries); share > 0.012 || share < 0.001 {
		t.Errorf("%d of %d", wolf, tries)
	}
}
