package shadow

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Difference is a pattern of changes, and how often it was met.
type Difference struct {
	Class     Class     `json:"class"`
	Kind      Kind      `json:"kind"`
	Path      string    `json:"path"` // empty: the whole resource
	Op        Operation `json:"op"`
	From      any       `json:"from,omitempty"`
	To        any       `json:"to,omitempty"`
	Various   bool      `json:"various,omitempty"` // the values differ from one to the next: From and To are the example's
	Resources Count     `json:"resources"`
	Workloads Count     `json:"workloads"`
	Example   Example   `json:"example"`
	Why       string    `json:"why,omitempty"`    // it is dangerous, or what a rule says
	Rule      string    `json:"rule,omitempty"`   // its code
	Source    string    `json:"source,omitempty"` // of the rule
	Link      string    `json:"link,omitempty"`
}

// Count is "20 of 57".
type Count struct {
	N  int `json:"n"`
	Of int `json:"of"`
}

// Example is the first place where a difference was met.
type Example struct {
	Workload string `json:"workload"`
	Resource string `json:"resource"`
	Where    string `json:"where,omitempty"`
}

// Unasked is a workload of which nothing is known.
type Unasked struct {
	Workload string `json:"workload"`
	Why      string `json:"why"`
	Later    bool   `json:"later,omitempty"` // the step that moves it asks, and stops at what differs
}

// Report is what came of a comparison.
type Report struct {
	Sides
	Workloads   int          `json:"workloads"` // that were compared
	Resources   int          `json:"resources"`
	Differences []Difference `json:"differences"`
	Unasked     []Unasked    `json:"unasked,omitempty"`
}

// many is how many values a pattern may have before they are shown as one.
const many = 3

// tally is a difference while it is counted.
type tally struct {
	Difference
	resources map[string]bool
	workloads map[string]bool
}

// Comparison compares subjects one by one and keeps only what came of it: what a
// proxy is given is megabytes. It may be used by several goroutines.
type Comparison struct {
	sides Sides
	hosts []string

	mu      sync.Mutex
	asked   int
	found   map[string]*tally
	per     map[Kind]int // resources that were compared
	unasked []Unasked
}

// NewComparison compares nothing yet. hosts are the names of the control planes'
// own Services, "istiod.istio-system.svc": they are left out.
func NewComparison(s Sides, hosts []string) *Comparison {
	return &Comparison{sides: s, hosts: hosts, found: map[string]*tally{}, per: map[Kind]int{}}
}

// Add compares the two sides of a subject.
func (c *Comparison) Add(s Subject) {
	per := map[Kind]int{}
	var found []change
	switch {
	case s.Failed != "":
	case s.Refused != "":
		per[Pods], found = 1, []change{{kind: Pods, resource: "pod", op: Rejected, to: s.Refused}}
	default:
		for _, kind := range Kinds() {
			older, newer := s.Old.normal(c.hosts)[kind], s.New.normal(c.hosts)[kind]
			per[kind] += len(union(older, newer))
			found = append(found, changes(kind, older, newer)...)
			found = append(found, rejected(kind, s.Rejects[kind], older, newer)...)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Failed != "" {
		c.unasked = append(c.unasked, Unasked{s.Workload, mesh.RedactedText(s.Failed), s.Later})
		return
	}
	c.asked++
	for kind, n := range per {
		c.per[kind] += n
	}
	for _, f := range found {
		count(c.found, f, c.sides, s.Workload)
	}
}

// Report is what has come of it so far. The same subjects give the same report,
// whatever their order.
func (c *Comparison) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{Sides: c.sides, Workloads: c.asked, Differences: []Difference{}}
	r.Unasked = slices.SortedFunc(slices.Values(c.unasked), func(a, b Unasked) int { return cmp.Compare(a.Workload, b.Workload) })
	for _, n := range c.per {
		r.Resources += n
	}
	for _, t := range merged(c.found) {
		t.Resources = Count{len(t.resources), c.per[t.Kind]}
		t.Workloads = Count{len(t.workloads), r.Workloads}
		r.Differences = append(r.Differences, t.Difference)
	}
	slices.SortStableFunc(r.Differences, before)
	return r
}

// Compare is the comparison of all subjects at once.
func Compare(subjects []Subject, s Sides, hosts []string) Report {
	c := NewComparison(s, hosts)
	for _, subject := range subjects {
		c.Add(subject)
	}
	return c.Report()
}

func union(a, b map[string]any) map[string]bool {
	out := map[string]bool{}
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// changes are the differences between the resources of one kind of one proxy.
func changes(kind Kind, older, newer map[string]any) []change {
	var out []change
	for _, name := range sorted(union(older, newer)) {
		w := walker{kind: kind, resource: name}
		from, was := older[name]
		to, is := newer[name]
		switch {
		case !is:
			w.add(pair{from: from}, Removed)
		case !was:
			w.add(pair{to: to}, Added)
		case kind == Endpoints && emptied(from, to):
			w.add(pair{path: "endpoints", where: "endpoints", from: from, to: to}, Removed)
		default:
			w.walk(pair{from: from, to: to})
		}
		out = append(out, w.out...)
	}
	return out
}

// rejected are the resources that Envoy would not accept. One that proxies are given
// today in the same words they have accepted.
func rejected(kind Kind, why map[string]string, older, newer map[string]any) []change {
	var out []change
	for _, name := range sorted(why) {
		now, was := older[name]
		if next, is := newer[name]; is && (!was || !reflect.DeepEqual(now, next)) {
			out = append(out, change{kind: kind, resource: name, op: Rejected, to: why[name]})
		}
	}
	return out
}

// emptied says whether a cluster that had endpoints has none.
func emptied(from, to any) bool {
	size := func(v any) int {
		m, _ := v.(map[string]any)
		e, _ := m["endpoints"].(map[string]any)
		return len(e)
	}
	return size(from) > 0 && size(to) == 0
}

func count(found map[string]*tally, c change, s Sides, workload string) {
	// Order: judged by what it is, kept by what may be shown.
	d := judged(c, s)
	d.From, d.To = mesh.Redacted(d.From), mesh.Redacted(d.To)
	key := string(d.Class) + "|" + d.pattern() + "|" + compact(d.From) + "|" + compact(d.To)
	t := found[key]
	if t == nil {
		t = &tally{Difference: d, resources: map[string]bool{}, workloads: map[string]bool{}}
		found[key] = t
	}
	if t.Example.Workload == "" || workload < t.Example.Workload { // the first by name, whoever was asked first
		t.Example = Example{workload, c.resource, mesh.RedactedText(c.where)}
	}
	t.resources[workload+"|"+c.resource] = true
	t.workloads[workload] = true
}

// judged is the class of a change. A rule comes first: it names the change to the
// last value, so it says more than the kind of danger.
func judged(c change, s Sides) Difference {
	d := Difference{Class: Unexplained, Kind: c.kind, Path: c.path, Op: c.op, From: c.from, To: c.to}
	for _, r := range loadRules() {
		if r.explains(c, s) {
			d.Class, d.Why, d.Rule, d.Source, d.Link = Expected, r.What, r.Code, r.Source, r.Link
			return d
		}
	}
	if why := danger(c, s); why != "" {
		d.Class, d.Why = Dangerous, why
	}
	return d
}

func (d Difference) pattern() string { return string(d.Kind) + "|" + d.Path + "|" + string(d.Op) }

// Pattern names the difference by where it is and what it does, as an accepted one is kept.
func (d Difference) Pattern() string {
	p := string(d.Kind) + " " + string(d.Op)
	if d.Path != "" {
		p = string(d.Kind) + " " + d.Path + " " + string(d.Op)
	}
	return p
}

// CheckPattern says what is wrong with a pattern that no difference could have.
func CheckPattern(s string) error {
	words := strings.Fields(s)
	ops := []Operation{Added, Removed, Changed, Reordered}
	if len(words) < 2 || !slices.Contains(Kinds(), Kind(words[0])) || !slices.Contains(ops, Operation(words[len(words)-1])) {
		return fmt.Errorf("%q is no pattern of a difference\n  remedy: copy it from serin diff --all, where it follows the class, as in %q",
			s, Difference{Kind: Clusters, Path: "connectTimeout", Op: Changed}.Pattern())
	}
	return nil
}

// merged makes one difference of those that differ only in their values, where
// there are many.
func merged(found map[string]*tally) []*tally {
	alike := map[string][]*tally{}
	for _, key := range sorted(found) {
		t := found[key]
		at := string(t.Class) + "|" + t.Rule + "|" + t.Why + "|" + t.pattern()
		alike[at] = append(alike[at], t)
	}
	var out []*tally
	for _, at := range sorted(alike) {
		group := alike[at]
		if len(group) <= many {
			out = append(out, group...)
			continue
		}
		one := group[0]
		one.Various = true
		for _, t := range group[1:] {
			maps.Copy(one.resources, t.resources)
			maps.Copy(one.workloads, t.workloads)
		}
		out = append(out, one)
	}
	return out
}

func before(a, b Difference) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Classes(), a.Class), slices.Index(Classes(), b.Class)),
		cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)),
		cmp.Compare(a.Path, b.Path), cmp.Compare(a.Op, b.Op),
		cmp.Compare(compact(a.From), compact(b.From)), cmp.Compare(compact(a.To), compact(b.To)),
	)
}

// Worst is the worst class that was met, and whether everything was compared.
func (r Report) Worst() Class {
	worst := Expected
	if len(r.Unasked) > 0 {
		worst = Unexplained
	}
	for _, d := range r.Differences {
		if slices.Index(Classes(), d.Class) < slices.Index(Classes(), worst) {
			worst = d.Class
		}
	}
	return worst
}
