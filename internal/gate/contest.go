package gate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
)

// A status is fought over when what one revision writes the other takes back. Two that
// disagree do so some fifty times a second; two that agree never. One that hears of a
// change a moment later than the other takes it back once, so a hundred routes that
// come at once may look like a fight for a moment: it must last.
const (
	fightBacks  = 20               // so many times taken back
	fightWithin = 10 * time.Second // within so long
	fightLasts  = 2 * time.Second  // and for as long as this
)

// Contest is what was seen of a managed Gateway while two revisions claim it, when
// both may write its status (S-23).
type Contest struct {
	Patience time.Duration // for which a Route that it had accepted may be without its word

	now, last string      // the two newest statuses
	backs     []time.Time // when the newest was the one before the last again, lately
	writes    int
	taken     int                  // how often one was taken back
	lost      map[string]time.Time // Routes that it accepts no more, since when
}

// Status notes the Gateway's status. The same once more is nobody's write.
func (c *Contest) Status(at time.Time, status string) {
	switch status {
	case c.now:
		return
	case c.last:
		c.taken++
		c.backs = append(lately(c.backs, at), at)
	}
	if c.now != "" {
		c.writes++
	}
	c.last, c.now = c.now, status
}

// lately leaves those of a fight that is still on.
func lately(backs []time.Time, at time.Time) []time.Time {
	return slices.DeleteFunc(backs, func(t time.Time) bool { return at.Sub(t) > fightWithin })
}

// Route notes whether a Route that was accepted before is so still. One that is gone,
// or is attached no more, is as good as accepted: that was somebody's will.
func (c *Contest) Route(at time.Time, route string, accepted bool) {
	_, lost := c.lost[route]
	switch {
	case accepted:
		delete(c.lost, route)
	case !lost:
		if c.lost == nil {
			c.lost = map[string]time.Time{}
		}
		c.lost[route] = at
	}
}

// Writes is how often the status was written, and how often one was taken back.
func (c *Contest) Writes() (int, int) { return c.writes, c.taken }

// Steady says whether nothing is being waited out.
func (c *Contest) Steady() bool { return len(c.lost) == 0 }

// Shut says why the move must not go on, or nothing.
func (c *Contest) Shut(at time.Time) string {
	recent := lately(slices.Clone(c.backs), at)
	if len(recent) >= fightBacks && recent[len(recent)-1].Sub(recent[0]) >= fightLasts {
		return fmt.Sprintf("both revisions write its status, and fight over it: in %s it was put back to what it had been %d times",
			recent[len(recent)-1].Sub(recent[0]).Round(time.Second), len(recent))
	}
	var gone []string
	for _, r := range slices.Sorted(maps.Keys(c.lost)) {
		if at.Sub(c.lost[r]) > c.Patience {
			gone = append(gone, r)
		}
	}
	if len(gone) > 0 {
		return fmt.Sprintf("%s that it had accepted it has not accepted for %s: %s", mesh.Count(len(gone), "Route"), c.Patience, first(gone))
	}
	return ""
}
