package gate

import (
	"fmt"
	"strings"
)

func nothingRefers(q Question, ev Evidence) (State, string) {
	if q.Old == "" {
		return Unknown, "no revision to ask about"
	}
	var left []string
	for _, o := range ev.Snapshot.References(q.Old) {
		name := o.Name
		if o.Namespace != "" {
			name = o.Namespace + "/" + name
		}
		left = append(left, strings.ToLower(o.Kind)+" "+name)
	}
	if len(left) > 0 {
		return Shut, fmt.Sprintf("%d still rely on %s: %s", len(left), q.Old, some(left))
	}
	return Open, "nothing relies on " + q.Old
}
