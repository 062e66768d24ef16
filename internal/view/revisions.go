package view

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// revisionRow is a revision as `revisions` shows it.
type revisionRow struct {
	Revision  string   `json:"revision"`
	Version   string   `json:"version,omitempty"` // empty: something names it, and it has no control plane
	Namespace string   `json:"namespace,omitempty"`
	Ready     int      `json:"ready"`
	Replicas  int      `json:"replicas"`
	Default   bool     `json:"default"`   // it injects namespaces labelled istio-injection=enabled
	Validates bool     `json:"validates"` // it validates what names no revision
	Tags      []string `json:"tags,omitempty"`
	Injector  string   `json:"injector,omitempty"` // its own
	Off       bool     `json:"off,omitempty"`      // that is switched off: a tag stands in for it
	Validator string   `json:"validator,omitempty"`
	Pods      int      `json:"pods"` // that it injected
	Owner     string   `json:"owner,omitempty"`
	Chart     string   `json:"chart,omitempty"`
}

// Revisions writes each revision with its tags, who is the default, who
// validates, and who owns it. What pods, tags or validators name and what has no
// control plane is a row, too: it is what dangles.
func Revisions(w io.Writer, s mesh.Snapshot, f Format) error {
	rows := revisionRows(s)
	if f == JSON || f == YAML {
		return Encode(w, f, rows)
	}
	p := &printer{w: w}
	if len(rows) == 0 {
		p.f("no control plane of Istio in namespace %s\n", s.IstioNamespace)
		return p.err
	}
	heads := []string{"REVISION", "VERSION", "READY", "DEFAULT", "VALIDATES", "TAGS", "PODS", "OWNER"}
	if f == Wide {
		heads = append(heads, "CHART", "INJECTOR", "VALIDATOR", "NAMESPACE")
	}
	t := newTable(heads...)
	t.gap = "  "
	for _, r := range rows {
		cells := []string{r.Revision, r.Version, ratio(r.Ready, r.Replicas), yes(r.Default), yes(r.Validates), strings.Join(r.Tags, ","), strconv.Itoa(r.Pods), r.Owner}
		if r.Version == "" && r.Owner == "" {
			cells[2], cells[7] = "gone", "<unknown>"
		}
		if f == Wide {
			injector := r.Injector
			if r.Off {
				injector += " (off)"
			}
			cells = append(cells, r.Chart, injector, r.Validator, r.Namespace)
		}
		t.add(cells...)
	}
	t.print(p)
	return p.err
}

// revisionList finds rows by name, and makes those that are missing.
type revisionList []*revisionRow

func (l *revisionList) row(rev string) *revisionRow {
	for _, r := range *l {
		if r.Revision == rev {
			return r
		}
	}
	*l = append(*l, &revisionRow{Revision: rev})
	return (*l)[len(*l)-1]
}

func revisionRows(s mesh.Snapshot) []*revisionRow {
	rows := revisionList{}
	for _, c := range s.ControlPlanes {
		r := rows.row(c.Revision)
		r.Version, r.Namespace, r.Ready, r.Replicas, r.Owner = c.Version, c.Namespace, c.Ready, c.Replicas, owner(c.Owner)
		if rel, ok := s.Release(c.Owner); ok {
			r.Chart = rel.Chart + "-" + rel.Version
		}
	}
	rows.webhooks(s)
	for _, p := range s.Pods {
		if p.Revision != "" && !p.Leaving {
			rows.row(p.Revision).Pods++
		}
	}
	slices.SortFunc(rows, func(a, b *revisionRow) int { return strings.Compare(a.Revision, b.Revision) })
	return rows
}

func (l *revisionList) webhooks(s mesh.Snapshot) {
	for _, t := range s.Tags() {
		r := l.row(t.Revision)
		r.Tags = append(r.Tags, t.Name)
	}
	for _, in := range s.Injectors {
		if in.Tag == "" {
			r := l.row(in.Revision)
			r.Injector, r.Off = in.Name, in.IsOff()
		}
	}
	if i := s.Injection(map[string]string{mesh.InjectionLabel: "enabled"}, nil); i.Revision != "" {
		l.row(i.Revision).Default = true
	}
	if v, ok := s.DefaultValidator(); ok {
		l.row(v.Revision).Validates = true
	}
	for _, v := range s.Validators {
		if v.Name != mesh.DefaultValidator && v.Tag == "" {
			l.row(v.Revision).Validator = v.Name
		}
	}
}
