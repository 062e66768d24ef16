package view

import (
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/plan"
)

// PlanDiff shows how the plan that was approved differs from what the same
// request gives now: steps that go or come on a line each, and for those that
// stay the lines that changed.
func PlanDiff(w io.Writer, was, now plan.Plan) error {
	p := &printer{w: w}
	p.f("- the plan\n+ what the same request gives now\n")
	if heading(was) != heading(now) {
		p.f("- %s\n+ %s\n", heading(was), heading(now))
	}
	if size(was.Counts) != size(now.Counts) {
		p.f("- %s\n+ %s\n", size(was.Counts), size(now.Counts))
	}
	if err := diffSteps(p, was.Steps, now.Steps); err != nil {
		return err
	}
	for _, c := range diff(said(was.Findings), said(now.Findings)) {
		if c.sign == ' ' {
			continue
		}
		sign := c.sign
		for _, l := range wrap(c.text, width-2) {
			p.f("%c %s\n", sign, l)
			sign = ' '
		}
	}
	return p.err
}

func said(fs []plan.Finding) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = string(f.Severity) + " " + f.Code + " " + f.Object + ": " + f.Reason
	}
	return out
}

// diffSteps pairs the steps by what they do to what, and compares the pairs.
func diffSteps(p *printer, was, now []plan.Step) error {
	i, j := 0, 0
	for _, c := range diff(deeds(was), deeds(now)) {
		switch c.sign {
		case '-':
			p.f("- step %s\n", c.text)
			i++
		case '+':
			p.f("+ step %s\n", c.text)
			j++
		default:
			if err := diffStep(p, c.text, was[i], now[j]); err != nil {
				return err
			}
			i, j = i+1, j+1
		}
	}
	return nil
}

func deeds(ss []plan.Step) []string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = string(s.Kind) + " " + s.Target
	}
	return out
}

func diffStep(p *printer, name string, was, now plan.Step) error {
	a, err := lines(was)
	if err != nil {
		return err
	}
	b, err := lines(now)
	if err != nil {
		return err
	}
	if slices.Equal(a, b) {
		return nil
	}
	p.f("  step %s\n", name)
	for _, c := range diff(a, b) {
		if c.sign != ' ' {
			p.f("%c   %s\n", c.sign, c.text)
		}
	}
	return nil
}

// lines writes a step as YAML. Its number is left out: a step more would
// otherwise change every step that follows.
func lines(s plan.Step) ([]string, error) {
	s.Number, s.Question.Step, s.UndoFirst = 0, 0, 0
	b, err := yaml.Marshal(s)
	return strings.Split(strings.TrimSpace(string(b)), "\n"), err
}

type change struct {
	text string
	sign byte // '-', '+' or ' '
}

// diff is the shortest edit of a into b, by the longest common subsequence. What
// they begin and end with is set aside first: plans of a large mesh have
// thousands of lines of which few differ.
func diff(a, b []string) []change {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []change
	for _, l := range a[:head] {
		out = append(out, change{l, ' '})
	}
	out = append(out, edits(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, l := range a[len(a)-tail:] {
		out = append(out, change{l, ' '})
	}
	return out
}

func edits(a, b []string) []change {
	common := lengths(a, b)
	var out []change
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			out = append(out, change{a[i], ' '})
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			out = append(out, change{a[i], '-'})
			i++
		default:
			out = append(out, change{b[j], '+'})
			j++
		}
	}
	for _, l := range a[i:] {
		out = append(out, change{l, '-'})
	}
	for _, l := range b[j:] {
		out = append(out, change{l, '+'})
	}
	return out
}

// lengths holds, for each i and j, how many lines a[i:] and b[j:] have in common.
func lengths(a, b []string) [][]int {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	return common
}
