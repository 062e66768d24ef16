package gate

import (
	"fmt"
)

func approval(q Question, ev Evidence) (State, string) {
	if who := ev.Approved[q.Step]; who != "" {
		return Open, "approved by " + who
	}
	return Unknown, fmt.Sprintf("step %d waits for approval", q.Step)
}
