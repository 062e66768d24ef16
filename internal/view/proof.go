package view

import (
	"cmp"
	"io"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// WriteProof shows what is known of a move before it is begun.
func WriteProof(w io.Writer, f Format, proof shadow.Proof) error {
	if f == JSON || f == YAML {
		return Encode(w, f, proof)
	}
	p := &printer{w: w}
	p.f("%s -> %s\n", proof.Old, proof.New)
	for _, g := range proof.Ground {
		p.f("\n%s  %s\n", strings.ToUpper(string(g.Class)), g.About)
		for line := range strings.SplitSeq(g.Said, "\n") {
			p.f("    %s\n", strings.TrimSpace(line))
		}
	}
	p.f("\ninjection: %s\n", mesh.Count(proof.Injection.Workloads, "workload"))
	p.differences(proof.Injection)
	p.f("\nvalidation: %s\n", mesh.Count(proof.Validation.Objects, "object"))
	for _, o := range proof.Validation.Found {
		p.object(o)
	}
	p.f("\nconfiguration: %s, %s\n", mesh.Count(proof.Configuration.Workloads, "workload"), mesh.Count(proof.Configuration.Resources, "resource"))
	p.differences(proof.Configuration)
	switch proof.Verdict {
	case shadow.Dangerous:
		p.f("\nDo not move: something is dangerous.\n")
	case shadow.Unexplained:
		p.f("\nTo decide: something is unexplained.\n")
	case shadow.Expected:
		p.f("\nAll as expected.\n")
	}
	return p.err
}

func (p *printer) object(o shadow.Judged) {
	p.f("\n%s  %s %s\n", strings.ToUpper(string(o.Class)), o.Kind, strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"))
	if why := cmp.Or(o.Denied, o.Failed); why != "" {
		p.f("    %s\n", why)
	}
	if o.Before != "" {
		p.f("    the revision that serves now refuses it too: %s\n", o.Before)
	}
	for _, warning := range o.Warnings {
		p.f("    warning: %s\n", warning)
	}
}
