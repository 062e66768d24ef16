package gate_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
)

// A workload that calls nobody does not hold a step for ever; silence of what is
// called does, and so does one that has fallen silent.
func TestMetrics_whoCallsNobody(t *testing.T) {
	some := gate.Window{Sent: 100}
	for name, tt := range map[string]struct {
		c    gate.Comparison
		want gate.State
	}{
		"calls nobody, as before": {gate.Comparison{Name: "traffic-from-moved"}, gate.Open},
		"has fallen silent":       {gate.Comparison{Name: "traffic-from-moved", Before: some}, gate.Unknown},
		"is not called":           {gate.Comparison{Name: "traffic-to-moved"}, gate.Unknown},
	} {
		if v := gate.Judge(gate.Metrics, gate.Question{}, gate.Evidence{Traffic: []gate.Comparison{tt.c}}); v.State != tt.want {
			t.Errorf("%s: %s (%s)", name, v.State, v.Reason)
		}
	}
}
