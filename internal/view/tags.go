package view

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// tagRow is a tag as `tag list` shows it: the first three fields are istioctl's.
type tagRow struct {
	Tag        string   `json:"tag"`
	Revision   string   `json:"revision"`
	Namespaces []string `json:"namespaces"` // that it injects, by either label
	State      string   `json:"state"`
	Service    string   `json:"service,omitempty"`
	Validator  string   `json:"validator,omitempty"`
	Gateways   []string `json:"gateways,omitempty"`  // managed ones that follow it
	Workloads  []string `json:"workloads,omitempty"` // that name it themselves
	Owner      string   `json:"owner"`
}

// Tags writes the tags as istioctl orders them, by revision, with what istioctl
// does not look at: whether the parts agree, and who follows without a label of
// that name.
func Tags(w io.Writer, s mesh.Snapshot, f Format) error {
	rows := tagRows(s)
	if f == JSON || f == YAML {
		return Encode(w, f, rows)
	}
	p := &printer{w: w}
	if len(rows) == 0 {
		p.f("No Istio revision tags found.\n")
		return p.err
	}
	heads := []string{"TAG", "REVISION", "NAMESPACES", "STATE"}
	if f == Wide {
		heads = append(heads, "SERVICE", "VALIDATOR", "GATEWAYS", "WORKLOADS", "OWNER")
	}
	t := newTable(heads...)
	for _, r := range rows {
		cells := []string{r.Tag, r.Revision, strings.Join(r.Namespaces, ","), r.State}
		if f == Wide {
			cells = append(cells, r.Service, r.Validator, strings.Join(r.Gateways, ","), strings.Join(r.Workloads, ","), r.Owner)
		}
		t.add(cells...)
	}
	t.print(p)
	return p.err
}

func tagRows(s mesh.Snapshot) []tagRow {
	rows := []tagRow{}
	for _, t := range s.Tags() {
		r := tagRow{
			Tag: t.Name, Revision: t.Revision, Namespaces: []string{}, State: tagState(s, t), Service: t.Service, Validator: t.Validator,
			Owner: strings.TrimSpace(string(t.Owner.Kind) + " " + t.Owner.Name),
		}
		for _, n := range s.Namespaces {
			if s.Injection(n.Labels, nil).Tag == t.Name || n.Labels[mesh.RevLabel] == t.Name {
				r.Namespaces = append(r.Namespaces, n.Name)
			}
		}
		for _, wl := range s.Workloads {
			if ns, _ := s.Namespace(wl.Namespace); !ns.Labelled() && s.InjectionOf(wl).Tag == t.Name {
				r.Workloads = append(r.Workloads, wl.String())
			}
		}
		for _, g := range s.ManagedGateways {
			if g.Revision == t.Name {
				r.Gateways = append(r.Gateways, g.Namespace+"/"+g.Name)
			}
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b tagRow) int { return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Tag, b.Tag)) })
	return rows
}

func tagState(s mesh.Snapshot, t mesh.Tag) string {
	switch {
	case t.Injector == "":
		return "no injector"
	case !s.Serves(t.Revision):
		return "dangling"
	case t.Split:
		return "split"
	}
	return "ok"
}
