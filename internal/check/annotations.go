package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// alpha lists annotations of alpha features, one finding an annotation: a release
// may change or drop them without notice.
func alpha(s mesh.Snapshot, q Question) []Finding {
	carriers := map[string][]string{}
	for _, w := range s.Workloads {
		for key := range w.TemplateAnnotations {
			carriers[key] = append(carriers[key], "workload "+w.String())
		}
	}
	if s.Survey != nil {
		for key, objects := range s.Survey.Annotations {
			carriers[key] = append(carriers[key], objects...)
		}
	}
	var out []Finding
	for _, key := range slices.Sorted(maps.Keys(carriers)) {
		have := slices.DeleteFunc(carriers[key], func(o string) bool { return !q.asksAbout(o) })
		if skew.Alpha(key) && len(have) > 0 {
			out = append(out, Finding{codeAlpha, Info, few(have), "annotation " + key + " is of an alpha feature", ""})
		}
	}
	return out
}

// few names the first of many.
func few(names []string) string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= 1 {
		return append(names, "")[0]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}
