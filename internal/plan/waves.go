package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// wave is what moves together in one namespace: its labels if they have not
// moved yet, then its workloads.
type wave struct {
	ns      string
	units   []unit
	approve bool
	soak    Duration
	windows []gate.Hours
	why     string
}

// waves splits what follows labels into waves: those asked for (S-13), or one
// canary workload, the rest of its namespace, and the other namespaces.
func (b *builder) waves() []wave {
	left := slices.Clone(b.scope.byLabel)
	var out []wave
	done := map[string]bool{} // namespaces without workloads left that a wave has named
	for i, w := range b.req.Waves {
		var picked []unit
		picked, left = b.pick(w, left)
		parts := b.split(picked, w)
		for _, ns := range b.named(w) {
			if !done[ns] && !slices.ContainsFunc(picked, func(u unit) bool { return u.w.Namespace == ns }) {
				parts = append(parts, wave{ns: ns, soak: w.Soak, windows: w.Windows, why: "a wave of the request names it"})
			}
			done[ns] = true
		}
		if len(parts) > 0 {
			parts[0].approve = w.Approve
		} else {
			b.find(codeEmptyWave, Warning, fmt.Sprintf("wave %d", i+1), "nothing that is left to move fits it: it is left out", "")
		}
		out = append(out, parts...)
	}
	if len(b.req.Waves) == 0 && len(left) > 0 {
		canary, why := b.canary(left)
		left = slices.DeleteFunc(left, func(u unit) bool { return u.w.Ref == canary.w.Ref })
		out = append(out, wave{ns: canary.w.Namespace, units: []unit{canary}, why: why})
	}
	return append(out, b.rest(left, out)...)
}

// followers splits what follows only a tag (S-9): its own labels inject it, so
// that it can move only after the tag. Workloads come by namespace, gateways
// after them; one canary goes first if nothing has gone before that follows labels.
func (b *builder) followers() []wave {
	left := slices.Clone(b.scope.byTag)
	slices.SortFunc(left, func(x, y unit) int {
		return cmp.Or(cmp.Compare(gatewayRank(x), gatewayRank(y)), cmp.Compare(x.w.Namespace, y.w.Namespace), cmp.Compare(x.tag, y.tag), byRef(x, y))
	})
	var out []wave
	if len(b.scope.byLabel) == 0 && len(left) > 1 {
		canary, why := b.canary(left)
		left = slices.DeleteFunc(left, func(u unit) bool { return u.w.Ref == canary.w.Ref })
		out = append(out, wave{ns: canary.w.Namespace, units: []unit{canary}, why: why})
	}
	for i, u := range left {
		if i > 0 && gatewayRank(left[i-1]) == gatewayRank(u) && left[i-1].w.Namespace == u.w.Namespace && left[i-1].tag == u.tag {
			last := &out[len(out)-1]
			last.units = append(last.units, u)
			continue
		}
		why := "its own labels inject it, so that it follows only the tag " + u.tag
		if u.w.Gateway() {
			why = "an in-place gateway follows only the tag " + u.tag + ", and is a wave of its own"
		}
		out = append(out, wave{ns: u.w.Namespace, units: []unit{u}, why: why})
	}
	return out
}

func gatewayRank(u unit) int {
	if u.w.Gateway() {
		return 1
	}
	return 0
}

// rest is a wave for each namespace that has something left, that of the first wave before the others.
func (b *builder) rest(left []unit, before []wave) []wave {
	names := map[string]bool{}
	for _, u := range left {
		names[u.w.Namespace] = true
	}
	for _, n := range b.scope.namespaces {
		if !slices.ContainsFunc(before, func(w wave) bool { return w.ns == n.name }) {
			names[n.name] = true
		}
	}
	ordered := sortedKeys(names)
	if len(before) > 0 && names[before[0].ns] {
		ordered = slices.DeleteFunc(ordered, func(n string) bool { return n == before[0].ns })
		ordered = slices.Insert(ordered, 0, before[0].ns)
	}
	var out []wave
	for _, ns := range ordered {
		var units []unit
		for _, u := range left {
			if u.w.Namespace == ns {
				units = append(units, u)
			}
		}
		out = append(out, gatewaysApart(wave{ns: ns, units: units, why: "the rest of namespace " + ns})...)
	}
	return out
}

// gatewaysApart makes gateways a wave of their own, after what they lead to.
func gatewaysApart(w wave) []wave {
	var apps, gateways []unit
	for _, u := range w.units {
		if u.w.Gateway() {
			gateways = append(gateways, u)
		} else {
			apps = append(apps, u)
		}
	}
	if len(apps) == 0 || len(gateways) == 0 {
		return []wave{w}
	}
	first, second := w, w
	first.units, second.units = apps, gateways
	second.why = "gateways are a wave of their own"
	return []wave{first, second}
}

// split divides what a wave of the request picked by namespace.
func (b *builder) split(picked []unit, w Wave) []wave {
	by := map[string][]unit{}
	for _, u := range picked {
		by[u.w.Namespace] = append(by[u.w.Namespace], u)
	}
	var out []wave
	for _, ns := range sortedKeys(by) {
		slices.SortFunc(by[ns], byRef)
		out = append(out, gatewaysApart(wave{ns: ns, units: by[ns], soak: w.Soak, windows: w.Windows, why: "a wave of the request"})...)
	}
	return out
}

// pick takes from what is left the workloads that the wave names: every part of
// it that is given must fit.
func (b *builder) pick(w Wave, left []unit) ([]unit, []unit) {
	slices.SortFunc(left, b.lessDependedOn)
	limit := len(left)
	if w.Percent > 0 {
		limit = (len(left)*w.Percent + 99) / 100
	}
	var picked, rest []unit
	for _, u := range left {
		if len(picked) < limit && b.inWave(w, u) {
			picked = append(picked, u)
		} else {
			rest = append(rest, u)
		}
	}
	return picked, rest
}

func (b *builder) inWave(w Wave, u unit) bool {
	if len(w.Namespaces)+len(w.Tags) > 0 && !slices.Contains(w.Namespaces, u.w.Namespace) && !slices.Contains(w.Tags, b.tagOf(u.w.Namespace)) {
		return false
	}
	if len(w.Workloads) > 0 && !slices.Contains(w.Workloads, u.w.Namespace+"/"+u.w.Name) {
		return false
	}
	return mesh.Selector{MatchLabels: w.Selector}.Matches(u.w.TemplateLabels)
}

// named are the moving namespaces that a wave names as wholes.
func (b *builder) named(w Wave) []string {
	if len(w.Workloads)+len(w.Selector)+w.Percent > 0 {
		return nil
	}
	var out []string
	for _, n := range b.scope.namespaces {
		if slices.Contains(w.Namespaces, n.name) || n.tags != "" && slices.Contains(w.Tags, n.tags) {
			out = append(out, n.name)
		}
	}
	return out
}

func (b *builder) tagOf(ns string) string {
	for _, n := range b.scope.namespaces {
		if n.name == ns {
			return n.tags
		}
	}
	return ""
}

// canary is the workload on which least depends, and why it is the one.
func (b *builder) canary(units []unit) (unit, string) {
	c := slices.MinFunc(units, b.lessDependedOn)
	return c, "the canary: " + strings.Join(b.dependence(c), ", ")
}

// lessDependedOn orders units so that those come first whose loss would be felt
// least and whose proof still means something: a workload that nobody can call
// proves nothing.
func (b *builder) lessDependedOn(x, y unit) int {
	return cmp.Or(cmp.Compare(b.rank(x), b.rank(y)), byRef(x, y))
}

func (b *builder) rank(u unit) int {
	r := 0
	if !b.shared(u) {
		r++
	}
	if risky(u.w) {
		r += 2
	}
	if len(u.w.Services) == 0 {
		r += 4
	}
	if b.routed(u) {
		r += 8
	}
	if u.w.Gateway() {
		r += 16
	}
	return r
}

func (b *builder) dependence(u unit) []string {
	var out []string
	if b.routed(u) {
		out = append(out, "every candidate is routed to from a gateway")
	} else {
		out = append(out, "no gateway routes to it")
	}
	switch {
	case len(u.w.Services) == 0:
		out = append(out, "no Service selects it")
	case b.shared(u):
		out = append(out, "others stand behind its Service too")
	default:
		out = append(out, "the first by name of those alone behind their Service")
	}
	return out
}

func (b *builder) routed(u unit) bool {
	return slices.ContainsFunc(u.w.Services, func(s string) bool { return slices.Contains(b.s.RoutedServices, s) })
}

// shared says whether each of the workload's Services has another workload behind it.
func (b *builder) shared(u unit) bool {
	if len(u.w.Services) == 0 {
		return false
	}
	for _, svc := range u.w.Services {
		if !slices.ContainsFunc(b.s.Workloads, func(o mesh.Workload) bool { return o.Ref != u.w.Ref && slices.Contains(o.Services, svc) }) {
			return false
		}
	}
	return true
}

func byRef(x, y unit) int {
	return cmp.Or(cmp.Compare(x.w.Namespace, y.w.Namespace), cmp.Compare(x.w.Kind, y.w.Kind), cmp.Compare(x.w.Name, y.w.Name))
}
