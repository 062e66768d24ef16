package fields

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

// Scope is what values are for.
type Scope string

// The scopes.
const (
	Operator Scope = "operator" // spec.values of an IstioOperator
	Istiod   Scope = "istiod"   // the charts
	Base     Scope = "base"
	Gateway  Scope = "gateway"
	Mesh     Scope = "mesh" // mesh config
)

// Field is a value that the release does not read, or Kubernetes does not take.
type Field struct {
	Path       string // "pilot.replicaCont", "tolerations[1].efect"
	Nearest    string // the path that may be meant, empty if nothing is near
	Wrong      string // what is wrong with it if not its name: "is a list, and a map is read there"
	Kubernetes bool   // it is handed on to Kubernetes, whose field it is not
}

// Unknown are the values that a release does not read, in the order of their
// paths, and whether anything is known of that release. What users name themselves,
// labels and environments, may have any name; what a chart hands on to Kubernetes
// must have those of Kubernetes' own types.
func Unknown(s Scope, version string, values map[string]any) ([]Field, bool) {
	known, ok := of(s, version)
	if !ok {
		return nil, false
	}
	w := walk{known: known, scope: s, version: version}
	w.below(values, known, nil)
	return w.found, true
}

type walk struct {
	known   tree
	scope   Scope
	version string
	found   []Field
}

func (w *walk) below(values map[string]any, known tree, path []string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		at := append(slices.Clone(path), key)
		inner, there := known[key]
		switch {
		case key == "meshConfig" && len(path) == 0 && w.scope != Mesh, key == "meshConfig" && w.pilot(path):
			w.mesh(values[key], at)
		case key == "pilot" && len(path) == 0 && w.scope == Istiod: // what stands there stands at the top as well
			w.value(values[key], w.known, at)
		case !there:
			w.found = append(w.found, Field{Path: strings.Join(at, "."), Nearest: w.nearest(known, path, key)})
		case len(inner) > 0:
			w.value(values[key], inner, at)
		default:
			w.handed(values[key], formOf(w.scope, at), at)
		}
	}
}

// pilot says whether the path is that below which the chart of istiod takes all its values.
func (w *walk) pilot(path []string) bool {
	return w.scope == Istiod && len(path) == 1 && path[0] == "pilot"
}

// value goes on into a map, or into each of a list's.
func (w *walk) value(v any, known tree, path []string) {
	switch v := v.(type) {
	case map[string]any:
		w.below(v, known, path)
	case []any:
		for i, e := range v {
			w.value(e, known, indexed(path, i))
		}
	}
}

func (w *walk) mesh(v any, path []string) {
	config, ok := v.(map[string]any)
	if !ok {
		return
	}
	found, _ := Unknown(Mesh, w.version, config)
	prefix := strings.Join(path, ".") + "."
	for _, f := range found {
		f.Path = prefix + f.Path
		if f.Nearest != "" {
			f.Nearest = prefix + f.Nearest
		}
		w.found = append(w.found, f)
	}
}

// nearest is the path that may be meant: a name like it at the same place, or the
// very name at another one, where there is only one.
func (w *walk) nearest(known tree, path []string, key string) string {
	if near := nearestOf(slices.Sorted(maps.Keys(known)), path, key); near != "" {
		return near
	}
	var elsewhere []string
	w.known.find(key, "", &elsewhere)
	if len(elsewhere) == 1 {
		return elsewhere[0]
	}
	return ""
}

// nearestOf is the path of the name that is like another, of those that may stand there.
func nearestOf(names, path []string, key string) string {
	best, least := "", 1+max(1, len(key)/4)
	for _, name := range names {
		if d := distance(strings.ToLower(key), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return strings.Join(append(slices.Clone(path), best), ".")
}

// distance is how many letters must be added, taken away or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// tree is what is known below a place; an empty one takes anything.
type tree map[string]tree

func (t tree) find(name, at string, found *[]string) {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		path := strings.TrimPrefix(at+"."+key, ".")
		if key == name {
			*found = append(*found, path)
		}
		t[key].find(name, path, found)
	}
}

func (t tree) add(path []string) {
	below, ok := t[path[0]]
	if !ok {
		below = tree{}
		t[path[0]] = below
	}
	if len(path) > 1 {
		below.add(path[1:])
	}
}

// with is what either takes.
func (t tree) with(other tree) tree {
	if len(t) == 0 || len(other) == 0 {
		return tree{}
	}
	out := maps.Clone(t)
	for key, below := range other {
		if is, ok := out[key]; ok {
			below = is.with(below)
		}
		out[key] = below
	}
	return out
}

//go:embed fields.txt
var file string

// facts are the trees of each release, the oldest release first.
type facts struct {
	releases []*semver.Version
	trees    map[Scope][]tree
}

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var load = sync.OnceValue(func() facts {
	f := facts{trees: map[Scope][]tree{}}
	index := map[string]int{}
	for line := range strings.Lines(file) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if words[0] == "releases" {
			f.begin(words[1:], index)
			continue
		}
		in := words[2:]
		if len(in) == 0 {
			in = slices.Collect(maps.Keys(index))
		}
		for _, release := range in {
			f.trees[Scope(words[0])][index[release]].add(strings.Split(strings.ReplaceAll(words[1], "[]", ""), "."))
		}
	}
	return f
})

func (f *facts) begin(releases []string, index map[string]int) {
	for i, r := range releases {
		v, err := semver.NewVersion(r)
		if err != nil {
			return // a test reads the file
		}
		f.releases, index[r] = append(f.releases, v), i
		for _, s := range []Scope{Operator, Istiod, Base, Gateway, Mesh} {
			f.trees[s] = append(f.trees[s], tree{})
		}
	}
}

// of is what a release takes. One between two that are known takes what either of
// them does; of one that is newer or older than all nothing is known.
func of(s Scope, version string) (tree, bool) {
	v, err := semver.NewVersion(version)
	f := load()
	if err != nil || len(f.trees[s]) == 0 {
		return nil, false
	}
	for i, r := range f.releases {
		switch {
		case minor(r) == minor(v):
			return f.trees[s][i], true
		case minor(r) > minor(v) && i == 0:
			return nil, false
		case minor(r) > minor(v):
			return f.trees[s][i-1].with(f.trees[s][i]), true
		}
	}
	return nil, false
}

// Paths are those that a release whose sources were read takes, sorted; "[]" stands
// behind what is a list of maps. Below each anything may stand.
func Paths(s Scope, version string) []string {
	var out []string
	for line := range strings.Lines(file) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == string(s) && (len(words) == 2 || slices.Contains(words[2:], version)) {
			out = append(out, words[1])
		}
	}
	return out
}

func minor(v *semver.Version) uint64 { return v.Major()<<16 + v.Minor() }

// Releases are those whose sources were read.
func Releases() []string {
	var out []string
	for _, v := range load().releases {
		out = append(out, v.String())
	}
	return out
}
