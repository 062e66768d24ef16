package view

import (
	"io"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/rehearse"
)

// Rehearsal shows what would be copied, how, and what not.
func Rehearsal(w io.Writer, plan rehearse.Plan) error {
	p := &printer{w: w}
	p.f("%s -> %s on %s (%s)\n", plan.Namespace, plan.Copy, plan.Revision, plan.Version)
	p.items("copied, changed as said", plan.Copied)
	p.items("not copied", plan.Left)
	p.items("missing", plan.Missing)
	if len(plan.Notes) > 0 {
		p.f("\nto know:\n")
		for _, n := range plan.Notes {
			for i, line := range wrap(n, width-4) {
				p.f("%s%s\n", [2]string{"  - ", "    "}[min(i, 1)], line)
			}
		}
	}
	return p.err
}

func (p *printer) items(title string, items []rehearse.Item) {
	if len(items) == 0 {
		return
	}
	p.f("\n%s: %s\n", title, mesh.Count(len(items), "object"))
	t := &table{indent: "  ", gap: "   ", max: []int{0, 0, 60}}
	for _, i := range items {
		if i.Why == "" {
			t.add(i.Kind, i.Name)
			continue
		}
		t.add(i.Kind, i.Name, i.Why)
	}
	t.print(p)
}

// RehearsalProof shows what a rehearsal has proven.
func RehearsalProof(w io.Writer, r rehearse.Result) error {
	p := &printer{w: w}
	p.f("\nproof:\n")
	t := &table{indent: "  ", gap: "   ", max: []int{0, 0, 70}}
	for _, v := range r.Proof {
		t.add(string(v.Gate), string(v.State), v.Reason)
	}
	t.print(p)
	switch r.State {
	case gate.Open:
		p.f("\nProven: the copies of %s run on %s as the originals do.\n", r.Plan.Namespace, r.Plan.Revision)
	case gate.Shut:
		p.f("\nNot as the originals: see what is shut.\n")
	case gate.Unknown:
		p.f("\nNot proven: see what is unknown.\n")
	}
	return p.err
}
