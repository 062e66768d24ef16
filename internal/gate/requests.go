package gate

import "fmt"

// minSamples is how few requests say nothing.
const minSamples = 20

// requests compares serin's own requests with the time before the step.
func requests(c *Comparison) (State, string) {
	if c == nil {
		return Unknown, "no probe sends requests"
	}
	now, before := c.Now, c.Before
	text := fmt.Sprintf("%d sent, %d failed", now.Sent, now.Failed)
	if now.Failed > 0 && float64(now.Failed)*float64(max(before.Sent, 1)) > 2*float64(before.Failed)*float64(max(now.Sent, 1)) {
		return Shut, fmt.Sprintf("%s; before the step %d of %d; for example: %s", text, before.Failed, before.Sent, now.Example)
	}
	if now.Sent < minSamples {
		return Unknown, fmt.Sprintf("%s, %d are needed", text, minSamples)
	}
	return Open, text
}
