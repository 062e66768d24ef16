package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Reading is what a query to a Prometheus answered, and what of it is well.
type Reading struct {
	Name    string             `json:"name"`
	Now     map[string]float64 `json:"now,omitempty"`    // by the labels of each series, in words
	Before  map[string]float64 `json:"before,omitempty"` // the same, as the step began
	Bounds  Bounds             `json:"bounds"`
	Missing string             `json:"missing,omitempty"` // why there is no answer
}

// Bounds are what a reading must keep to.
type Bounds struct {
	AtMost      *float64 `json:"atMost,omitempty"`
	AtLeast     *float64 `json:"atLeast,omitempty"`
	TimesBefore float64  `json:"timesBefore,omitempty"` // no more than so many times what it was as the step began
	By          float64  `json:"by,omitempty"`          // more by this is let pass as well
}

// The traffic of the proxies of the new release, as a Prometheus knows it.
const (
	TrafficOf   = "traffic-to-moved"   // as those who answer count it; a gateway is nobody's destination and never shows any
	TrafficFrom = "traffic-from-moved" // as those who ask count it; who calls nobody never shows any
)

// metrics judges what a Prometheus answered: each query, and the traffic that the
// proxies counted. What could not be asked, or has no data, is unknown (S-47).
func metrics(readings []Reading, traffic []Comparison) (State, string) {
	if len(readings)+len(traffic) == 0 {
		return Unknown, "no Prometheus was asked"
	}
	var reasons [3][]string
	for _, r := range readings {
		state, reason := r.judge()
		reasons[worst(state)] = append(reasons[worst(state)], r.Name+": "+reason)
	}
	for _, c := range traffic {
		state, reason := c.judge()
		if silent(c) && (c.Name == TrafficFrom || slices.ContainsFunc(traffic, speaks)) {
			state, reason = Open, "there is none, as before"
		}
		reasons[worst(state)] = append(reasons[worst(state)], c.Name+": "+reason)
	}
	for i, state := range []State{Shut, Unknown} {
		if len(reasons[i]) > 0 {
			return state, some(reasons[i])
		}
	}
	return Open, some(reasons[worst(Open)])
}

// silent says of a side that it has counted nothing, now or before the step.
func silent(c Comparison) bool { return c.Before.Sent+c.Now.Sent == 0 }

// speaks says of the side of those who ask that it has: what moves is seen.
func speaks(c Comparison) bool { return c.Name == TrafficFrom && !silent(c) }

// judge asks each series for itself: one that is bad is not made up for by others.
func (r Reading) judge() (State, string) {
	switch {
	case r.Missing != "":
		return Unknown, r.Missing
	case len(r.Now) == 0:
		return Unknown, "no data"
	}
	unknown := ""
	for _, series := range slices.Sorted(maps.Keys(r.Now)) {
		state, reason := r.of(series)
		if series != "" {
			reason = series + " " + reason
		}
		switch state {
		case Shut:
			return Shut, reason
		case Unknown:
			unknown = reason
		case Open:
		}
	}
	if unknown != "" {
		return Unknown, unknown
	}
	if len(r.Now) > 1 {
		return Open, fmt.Sprintf("%d series within bounds", len(r.Now))
	}
	_, reason := r.of(slices.Collect(maps.Keys(r.Now))[0])
	return Open, reason
}

func (r Reading) of(series string) (State, string) {
	now, b := r.Now[series], r.Bounds
	switch {
	case math.IsNaN(now):
		return Unknown, "is not a number: there was nothing to divide by"
	case b.AtMost != nil && now > *b.AtMost:
		return Shut, fmt.Sprintf("is %s, at most %s may be", figure(now), figure(*b.AtMost))
	case b.AtLeast != nil && now < *b.AtLeast:
		return Shut, fmt.Sprintf("is %s, at least %s has to be", figure(now), figure(*b.AtLeast))
	case b.TimesBefore == 0:
		return Open, "is " + figure(now)
	}
	before, known := r.Before[series]
	if !known || math.IsNaN(before) {
		return Unknown, fmt.Sprintf("is %s, and nothing is known from before the step", figure(now))
	}
	if now > b.TimesBefore*before && now > before+b.By {
		return Shut, fmt.Sprintf("is %s, before the step it was %s: %s times that may be", figure(now), figure(before), figure(b.TimesBefore))
	}
	return Open, fmt.Sprintf("is %s, before the step it was %s", figure(now), figure(before))
}

func figure(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
