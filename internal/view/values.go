package view

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Values writes how one release's values differ from another's: a line a leaf,
// "-" for what is not carried over, "+" for what is new, " " for what stays.
func Values(w io.Writer, title string, was, is map[string]any) error {
	a, b := leaves(mesh.Masked(was)), leaves(mesh.Masked(is)) // it is shown, and goes into logs
	keys := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	p := &printer{w: w}
	p.f("\n%s\n", title)
	if len(keys) == 0 {
		p.f("  none: the chart's own\n")
	}
	for _, k := range keys {
		old, had := a[k]
		now, has := b[k]
		switch {
		case had && has && old == now:
			p.f("    %s: %s\n", k, now)
		default:
			if had {
				p.f("  - %s: %s\n", k, old)
			}
			if has {
				p.f("  + %s: %s\n", k, now)
			}
		}
	}
	p.f("\n")
	return p.err
}

// leaves are the values by their dotted paths, as JSON writes them; plain words bare.
func leaves(v map[string]any) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			for k, inner := range m {
				walk(strings.TrimPrefix(path+"."+k, "."), inner)
			}
			return
		}
		if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, "\n") {
			out[path] = s
			return
		}
		b, err := json.Marshal(v)
		if err != nil {
			b = fmt.Appendf(nil, "%v", reflect.TypeOf(v))
		}
		out[path] = string(b)
	}
	for k, inner := range v {
		walk(k, inner)
	}
	return out
}
