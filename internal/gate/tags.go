package gate

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

func tags(q Question, s mesh.Snapshot) (State, string) {
	var agree []string
	for _, t := range s.Tags() {
		if q.Tag != "" && t.Name != q.Tag {
			continue
		}
		if t.Split {
			return Shut, fmt.Sprintf("tag %s is split: its injector calls %s, its Service selects %q, its validator calls %q", t.Name, t.Revision, t.Service, t.Validator)
		}
		if q.Tag != "" && q.Revision != "" && t.Revision != q.Revision { // whole, and somebody else's doing
			return Shut, fmt.Sprintf("tag %s leads to %s, not to %s", t.Name, t.Revision, q.Revision)
		}
		agree = append(agree, t.Name+" -> "+t.Revision)
	}
	if len(agree) == 0 && q.Tag != "" {
		return Unknown, "there is no tag " + q.Tag
	}
	if len(agree) == 0 {
		return Unknown, "there is no tag"
	}
	return Open, some(agree)
}
