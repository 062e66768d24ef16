package gate

import (
	"fmt"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// OldRevision names the verdict of Well. No step asks for it: an undo does.
const OldRevision Name = "old-revision"

// oldUnwell begins what a gate says of an old revision that fails.
const oldUnwell = "the old revision is unwell: "

// Well judges the revisions that an undo would go back to, as they are now: it is
// safe only onto istiods at full size whose injectors can answer (S-48).
func Well(old []string, s mesh.Snapshot) Verdict {
	for _, rev := range old {
		c, ok := s.ControlPlane(rev)
		why := uncertified(s, rev, false)
		switch {
		case !ok:
			why = "there is no control plane of revision " + rev
		case c.Ready < max(c.Replicas, 1):
			why = fmt.Sprintf("%d of %d istiods of %s ready", c.Ready, max(c.Replicas, 1), rev)
		}
		if why != "" {
			return Verdict{Gate: OldRevision, State: Shut, Reason: oldUnwell + why}
		}
	}
	if len(old) == 0 {
		return Verdict{Gate: OldRevision, State: Unknown, Reason: "there is no old revision"}
	}
	return Verdict{Gate: OldRevision, State: Open, Reason: strings.Join(old, ", ") + " is well"}
}

// OldUnwell says whether a verdict says that the old revision is unwell: then
// nothing is undone onto it (S-10, S-48).
func OldUnwell(vs []Verdict) bool {
	for _, v := range vs {
		if strings.Contains(v.Reason, oldUnwell) {
			return true
		}
	}
	return false
}
