package shadow

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Operation is what happened to a value.
type Operation string

// The operations, as seen from today's side.
const (
	Added     Operation = "added"
	Removed   Operation = "removed"
	Changed   Operation = "changed"
	Reordered Operation = "reordered" // elements of a list whose order counts
	Rejected  Operation = "rejected"  // it would not come to be
)

// change is one difference between two documents.
type change struct {
	kind     Kind
	resource string
	path     string // without what names one host or route: the pattern
	where    string // with it
	op       Operation
	from, to any
}

// pair are two values at one place.
type pair struct {
	path, where string
	from, to    any
}

// walker collects the changes of one resource.
type walker struct {
	kind     Kind
	resource string
	out      []change
}

func (w *walker) add(p pair, op Operation) {
	w.out = append(w.out, change{w.kind, w.resource, p.path, p.where, op, p.from, p.to})
}

// walk compares two values that are there on both sides.
func (w *walker) walk(p pair) {
	from, isMap := p.from.(map[string]any)
	to, bothMaps := p.to.(map[string]any)
	if isMap && bothMaps {
		w.objects(p, from, to)
		return
	}
	older, isList := p.from.([]any)
	newer, bothLists := p.to.([]any)
	if isList && bothLists {
		w.lists(p, older, newer)
		return
	}
	if !reflect.DeepEqual(p.from, p.to) {
		w.add(p, Changed)
	}
}

func (w *walker) objects(p pair, from, to map[string]any) {
	into := under
	if p.path == "endpoints" && w.kind == Endpoints || p.path == "table" && w.kind == Names {
		into = keyedBy
	}
	w.both(from, to, sorted(from), sorted(to), func(k string) pair { return into(p, k) })
}

// both compares what two maps hold under the same keys, each in its own order;
// what only one of them has was removed or added.
func (w *walker) both(from, to map[string]any, fromKeys, toKeys []string, at func(key string) pair) {
	for _, k := range fromKeys {
		next := at(k)
		next.from = from[k]
		if v, ok := to[k]; ok {
			next.to = v
			w.walk(next)
		} else {
			w.add(next, Removed)
		}
	}
	for _, k := range toKeys {
		if _, ok := from[k]; !ok {
			next := at(k)
			next.to = to[k]
			w.add(next, Added)
		}
	}
}

// keyedBy is the place of a field that is a name of hosts or addresses: it is no
// part of a pattern.
func keyedBy(p pair, field string) pair {
	return pair{path: p.path + "[]", where: p.where + "[" + field + "]"}
}

// under is the place of any other field.
func under(p pair, field string) pair {
	if strings.ContainsAny(field, "./") {
		return pair{path: p.path + "[" + field + "]", where: p.where + "[" + field + "]"}
	}
	return pair{path: strings.TrimPrefix(p.path+"."+field, "."), where: strings.TrimPrefix(p.where+"."+field, ".")}
}

// lists compares two lists by what their elements are called, not by position.
func (w *walker) lists(p pair, from, to []any) {
	field := p.path[strings.LastIndexByte(p.path, '.')+1:]
	older, oldKeys := keyed(field, from)
	newer, newKeys := keyed(field, to)
	w.both(older, newer, oldKeys, newKeys, func(k string) pair { return element(p, field, k) })
	w.order(p, field, common(oldKeys, newer), common(newKeys, older))
}

func (w *walker) order(p pair, field string, from, to []string) {
	if inOrder(field) && !slices.Equal(from, to) {
		w.add(pair{p.path, p.where, list(from), list(to)}, Reordered)
	}
}

func list(keys []string) []any {
	out := make([]any, len(keys))
	for i, k := range keys {
		out[i] = k
	}
	return out
}

func common(keys []string, other map[string]any) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { _, ok := other[k]; return !ok })
}

// inOrder says whether the first element that matches counts, or each acts on
// what the one before it left.
func inOrder(field string) bool {
	switch field {
	case "routes", "httpFilters", "filters", "listenerFilters", "transportSocketMatches", "containers", "initContainers":
		return true
	}
	return false
}

// element is the place of an element. A filter's name says what it does and is
// part of the pattern; a route's or a host's is one of many.
func element(p pair, field, key string) pair {
	where := p.where + "[" + key + "]"
	switch field {
	case "httpFilters", "filters", "listenerFilters", "transportSocketMatches", "accessLog",
		"containers", "initContainers", "volumes", "env", "volumeMounts", "ports", "args", "add", "drop":
		return pair{path: p.path + "[" + key + "]", where: where}
	}
	return pair{path: p.path + "[]", where: where}
}

// keyed returns the elements by what they are called. Elements of the same name
// are numbered; those without one are told apart by position.
func keyed(field string, elements []any) (map[string]any, []string) {
	out, keys := make(map[string]any, len(elements)), make([]string, 0, len(elements))
	for i, e := range elements {
		key := called(field, e, i)
		for n := 2; ; n++ {
			if _, taken := out[key]; !taken {
				break
			}
			key = fmt.Sprintf("%s#%d", called(field, e, i), n)
		}
		out[key] = e
		keys = append(keys, key)
	}
	return out, keys
}

func called(field string, e any, position int) string {
	m, ok := e.(map[string]any)
	if !ok {
		return text(e) + other(e)
	}
	if field == "routes" { // several share a name: that of their VirtualService
		return compact(mesh.Redacted(m["match"]))
	}
	for _, k := range []string{"name", "mountPath", "@type"} {
		if s := text(m[k]); s != "" {
			return s
		}
	}
	if match, ok := m["filterChainMatch"]; ok {
		return compact(match)
	}
	return strconv.Itoa(position)
}

// other is a scalar that is no string.
func other(e any) string {
	if _, ok := e.(string); ok {
		return ""
	}
	return compact(e)
}
