package gate

import (
	"fmt"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

func nothingRefers(q Question, ev Evidence) (State, string) {
	if q.Old == "" {
		return Unknown, "no revision to ask about"
	}
	var left, leaving []string
	for _, o := range ev.Snapshot.References(q.Old) {
		name := o.Name
		if o.Namespace != "" {
			name = o.Namespace + "/" + name
		}
		if ev.Snapshot.Leaving(o) {
			leaving = append(leaving, name)
			continue
		}
		left = append(left, strings.ToLower(o.Kind)+" "+name)
	}
	if len(left) > 0 {
		return Shut, fmt.Sprintf("%d still rely on %s: %s", len(left), q.Old, some(left))
	}
	if len(leaving) > 0 {
		are, have := "are", "have"
		if len(leaving) == 1 {
			are, have = "is", "has"
		}
		return Unknown, fmt.Sprintf("waiting until %s on %s that %s being deleted %s gone: %s", mesh.Count(len(leaving), "pod"), q.Old, are, have, some(leaving))
	}
	return Open, "nothing relies on " + q.Old
}
