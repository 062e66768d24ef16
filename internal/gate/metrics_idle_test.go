package gate_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
)

// A workload that calls nobody does not hold a step for ever, nor a gateway, which is
// nobody's destination; silence on both sides does, and so does one that has fallen silent.
func TestMetrics_whoCallsNobody(t *testing.T) {
	some := gate.Window{Sent: 1000}
	from := func(before, now gate.Window) gate.Comparison {
		return gate.Comparison{Name: gate.TrafficFrom, Before: before, Now: now}
	}
	for name, tt := range map[string]struct {
		c    []gate.Comparison
		want gate.State
	}{
		"calls nobody, as before":        {[]gate.Comparison{{Name: gate.TrafficFrom}}, gate.Open},
		"has fallen silent":              {[]gate.Comparison{from(some, gate.Window{})}, gate.Unknown},
		"is not called":                  {[]gate.Comparison{{Name: gate.TrafficOf}}, gate.Unknown},
		"is not called, and calls none":  {[]gate.Comparison{{Name: gate.TrafficOf}, {Name: gate.TrafficFrom}}, gate.Unknown},
		"a gateway":                      {[]gate.Comparison{{Name: gate.TrafficOf}, from(some, some)}, gate.Open},
		"a gateway that sends no more":   {[]gate.Comparison{{Name: gate.TrafficOf}, from(some, gate.Window{})}, gate.Unknown},
		"is no longer called, and calls": {[]gate.Comparison{{Name: gate.TrafficOf, Before: some}, from(some, some)}, gate.Unknown},
	} {
		if v := gate.Judge(gate.Metrics, gate.Question{}, gate.Evidence{Traffic: tt.c}); v.State != tt.want {
			t.Errorf("%s: %s (%s)", name, v.State, v.Reason)
		}
	}
}
