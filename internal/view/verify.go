package view

import (
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// Asked is what is asked of a step.
type Asked string

// The questions: whether it may begin, whether it is done, whether it is taken back.
const (
	Before Asked = "before"
	After  Asked = "after"
	Back   Asked = "back"
)

// Verified is whether the mesh is as a step wants it.
type Verified struct {
	Step    int            `json:"step"`
	Steps   int            `json:"steps"`
	Kind    plan.Kind      `json:"kind"`
	Target  string         `json:"target"`
	Asked   Asked          `json:"asked"`
	Yes     bool           `json:"yes"`
	Missing []string       `json:"missing,omitempty"` // what is not there, or still there
	Gates   []gate.Verdict `json:"gates,omitempty"`
}

// Write writes it as text: the answer, then what it rests on.
func (v Verified) Write(w io.Writer) error {
	p := &printer{w: w}
	answer := map[Asked][2]string{
		Before: {"it may begin", "it may not begin"}, After: {"as it wants", "not as it wants"}, Back: {"taken back", "not taken back"},
	}[v.Asked]
	said := answer[1]
	if v.Yes {
		said = answer[0]
	}
	p.f("step %d/%d %s %s: %s\n", v.Step, v.Steps, v.Kind, v.Target, said)
	for _, m := range v.Missing {
		p.f("  %-8s %s\n", "no", m)
	}
	if len(v.Missing) == 0 && v.Asked != Before {
		p.f("  %-8s nothing of it is missing\n", "yes")
	}
	for _, g := range v.Gates {
		p.f("  %-8s %s: %s\n", g.State, g.Gate, strings.TrimSpace(g.Reason))
	}
	if v.Asked == Before && len(v.Gates) == 0 {
		p.f("  %-8s it needs nothing first\n", "yes")
	}
	return p.err
}
