package plan_test

import (
	"fmt"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// probed asks for 1.29.1 with a probe, so that no choice is open.
func probed() plan.Request {
	return plan.Request{To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}}
}

// bookinfo is the plan of the usual mesh.
func bookinfo() (plan.Plan, promise) {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	p := plan.Build(s, probed())
	return p, promise{p, s}
}

// outline is a plan in as few words as a test needs.
func outline(p plan.Plan) string {
	var b strings.Builder
	for _, st := range p.Steps {
		fmt.Fprintf(&b, "%d %s %s", st.Number, st.Kind, st.Target)
		if len(st.Workloads) > 1 {
			fmt.Fprintf(&b, " (%d)", len(st.Workloads))
		}
		if st.UndoFirst > 0 {
			fmt.Fprintf(&b, " <%d", st.UndoFirst)
		}
		b.WriteString("\n")
	}
	for _, f := range p.Findings {
		if f.Severity != plan.Info {
			fmt.Fprintf(&b, "%s %s %s: %s\n", f.Severity, f.Code, f.Object, f.Reason)
		}
	}
	return b.String()
}

func lines(s []string) string { return strings.Join(s, "\n") }
