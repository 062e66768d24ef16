package check

import (
	"cmp"
	"slices"
)

// Severity is how much a Finding weighs.
type Severity string

// The severities. Mandatory and Overridable stop a plan; --ignore-check makes a
// Warning of an Overridable one.
const (
	Mandatory   Severity = "mandatory"
	Overridable Severity = "overridable"
	Warning     Severity = "warning"
	Info        Severity = "info"
)

// Finding is a reason why not, or something to know.
type Finding struct {
	Code     string   `json:"code"` // SRN####
	Severity Severity `json:"severity"`
	Object   string   `json:"object"`
	Reason   string   `json:"reason"`
	Remedy   string   `json:"remedy"`
}

// Blocking says whether the finding stops a plan.
func (f Finding) Blocking() bool { return f.Severity == Mandatory || f.Severity == Overridable }

// Sorted orders findings, the gravest first, and drops those said twice.
func Sorted(fs []Finding) []Finding {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(weight(a.Severity)-weight(b.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(fs)
}

func weight(s Severity) int {
	return slices.Index([]Severity{Mandatory, Overridable, Warning, Info}, s)
}
