package gate_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// S-23: a status that goes to and fro for seconds is a fight; one that goes on, or is
// taken back now and then, is none. A Route may be without the Gateway's word for a
// moment, not for long.
func TestS23_contest(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	toAndFro := func(n, every int) func(*gate.Contest) {
		return func(c *gate.Contest) {
			for i := range n {
				c.Status(at(i*every), strconv.Itoa(i%2))
			}
		}
	}
	for _, tt := range []struct {
		name   string
		seen   func(*gate.Contest)
		end    int // milliseconds
		want   string
		steady bool
	}{
		{"nothing was written", func(c *gate.Contest) { c.Status(at(0), "a"); c.Status(at(5), "a") }, 10, "", true},
		{"fifty writes a second, for a second", toAndFro(50, 20), 1000, "", true},
		{"fifty writes a second, for three", toAndFro(150, 20), 3000, "both revisions write its status, and fight over it: in 3s it was put back to what it had been 148 times", true},
		{"as many, long ago", toAndFro(150, 20), 60_000, "", true},
		{"a write a second", toAndFro(60, 1000), 60_000, "", true},
		{"three writes a second", toAndFro(60, 333), 20_000, "in 9s it was put back to what it had been 29 times", true},
		{"a hundred writes that go on", func(c *gate.Contest) {
			for i := range 100 {
				c.Status(at(i*50), strconv.Itoa(i))
			}
		}, 5000, "", true},
		{"forty Routes come, each noted late by one of the two", func(c *gate.Contest) {
			for i := range 40 {
				c.Status(at(i*20), strconv.Itoa(i))
				c.Status(at(i*20+5), strconv.Itoa(i+1))
				c.Status(at(i*20+10), strconv.Itoa(i))
				c.Status(at(i*20+15), strconv.Itoa(i+1))
			}
		}, 2000, "", true},
		{"a Route is accepted again", func(c *gate.Contest) { c.Route(at(0), "r", false); c.Route(at(4000), "r", true) }, 60_000, "", true},
		{"a Route is not accepted yet", func(c *gate.Contest) { c.Route(at(0), "r", false); c.Route(at(4000), "r", false) }, 5000, "", false},
		{"Routes are accepted no more", func(c *gate.Contest) {
			c.Route(at(0), "HTTPRoute shop/b", false)
			c.Route(at(100), "HTTPRoute shop/a", false)
			c.Route(at(4000), "HTTPRoute shop/a", false)
		}, 5101, "2 Routes that it had accepted it has not accepted for 5s: HTTPRoute shop/a, and 1 more", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &gate.Contest{Patience: 5 * time.Second}
			tt.seen(c)
			why := c.Shut(at(tt.end))
			if (why == "") != (tt.want == "") || !strings.Contains(why, tt.want) {
				writes, backs := c.Writes()
				t.Errorf("%q, want %q (%d writes, %d taken back)", why, tt.want, writes, backs)
			}
			if c.Steady() != tt.steady {
				t.Errorf("steady: %t", c.Steady())
			}
		})
	}
}
