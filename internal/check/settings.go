package check

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// settings finds what a control plane is told and the target no longer listens
// to: nothing fails, and what it was set for no longer happens.
func settings(s mesh.Snapshot, q Question) []Finding {
	var out []Finding
	for _, rev := range q.From {
		c, _ := s.ControlPlane(rev)
		for _, g := range skew.Dropped(c.Version, q.To) {
			if g.SetIn(s, rev) {
				out = append(out, Finding{
					codeSetting, Warning, "revision " + rev, fmt.Sprintf("the %s is set, and no release from %s on reads it (%s)", g.Name(), g.Since, g.Source),
					"see what it was set for, and leave it out of the new revision's values",
				})
			}
		}
	}
	return out
}
