package gate_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

func reading(name string, now float64, b gate.Bounds) gate.Reading {
	return gate.Reading{Name: name, Now: map[string]float64{"": now}, Bounds: b}
}

func TestMetrics(t *testing.T) {
	none, some := 0.0, 0.99
	fine := gate.Reading{Name: "fine", Now: map[string]float64{"": 0}, Bounds: gate.Bounds{AtMost: &none}}
	relative := func(before, now float64) gate.Reading {
		return gate.Reading{Name: "load", Now: map[string]float64{"pod=a": now, "pod=b": 1}, Before: map[string]float64{"pod=a": before, "pod=b": 1}, Bounds: gate.Bounds{TimesBefore: 2, By: 5}}
	}
	latencies := func(at time.Duration, n int) []gate.Bucket { return []gate.Bucket{{From: at / 2, UpTo: at, N: n}} }
	for name, tt := range map[string]struct {
		readings []gate.Reading
		traffic  []gate.Comparison
		want     gate.State
		reason   string
	}{
		"S47 nothing was asked":    {nil, nil, gate.Unknown, "no Prometheus"},
		"within its bounds":        {[]gate.Reading{fine, reading("rate", 1, gate.Bounds{AtLeast: &some})}, nil, gate.Open, "fine: is 0, rate: is 1"},
		"too many":                 {[]gate.Reading{fine, reading("errors", 3, gate.Bounds{AtMost: &none})}, nil, gate.Shut, "errors: is 3, at most 0 may be"},
		"too few":                  {[]gate.Reading{reading("rate", 0.9, gate.Bounds{AtLeast: &some})}, nil, gate.Shut, "at least 0.99 has to be"},
		"S47 no data":              {[]gate.Reading{fine, {Name: "rate", Bounds: gate.Bounds{AtLeast: &some}}}, nil, gate.Unknown, "rate: no data"},
		"S47 not asked":            {[]gate.Reading{fine, {Name: "rate", Missing: "timed out"}}, nil, gate.Unknown, "rate: timed out"},
		"S47 no number":            {[]gate.Reading{reading("rate", math.NaN(), gate.Bounds{AtLeast: &some})}, nil, gate.Unknown, "is not a number"},
		"twice as before may be":   {[]gate.Reading{relative(10, 20)}, nil, gate.Open, "2 series within bounds"},
		"a little more may be":     {[]gate.Reading{relative(1, 5)}, nil, gate.Open, ""},
		"more than twice":          {[]gate.Reading{relative(10, 21)}, nil, gate.Shut, "pod=a is 21, before the step it was 10"},
		"S47 nothing from before":  {[]gate.Reading{{Name: "load", Now: map[string]float64{"pod=new": 3}, Bounds: gate.Bounds{TimesBefore: 2}}}, nil, gate.Unknown, "nothing is known from before the step"},
		"bad news beats no news":   {[]gate.Reading{{Name: "rate", Missing: "timed out"}, reading("errors", 3, gate.Bounds{AtMost: &none})}, nil, gate.Shut, "errors"},
		"two in a hundred, of new": {[]gate.Reading{fine}, []gate.Comparison{{Name: "traffic", Before: gate.Window{Sent: 2000}, Now: gate.Window{Sent: 600, Failed: 12}}}, gate.Shut, "traffic: 600 sent, 12 failed"},
		"twice as slow, for long": {[]gate.Reading{fine}, []gate.Comparison{{
			Name: "traffic", Before: gate.Window{Sent: 2000, P50: 100 * time.Millisecond, Latencies: latencies(100*time.Millisecond, 2000)},
			Now: gate.Window{Sent: 600}, Lately: gate.Window{Sent: 600, P50: 200 * time.Millisecond, Latencies: latencies(200*time.Millisecond, 600)}, Long: true,
		}}, gate.Shut, "slower: p50 200ms, before the step 100ms"},
		"S47 too few requests": {[]gate.Reading{fine}, []gate.Comparison{{Name: "traffic", Before: gate.Window{Sent: 2000}, Now: gate.Window{Sent: 6}}}, gate.Unknown, "20 are needed"},
	} {
		v := gate.Judge(gate.Metrics, gate.Question{}, gate.Evidence{Readings: tt.readings, Traffic: tt.traffic})
		if v.State != tt.want || !strings.Contains(v.Reason, tt.reason) {
			t.Errorf("%s: %+v, want %s with %q", name, v, tt.want, tt.reason)
		}
	}
}
