package rehearse

import (
	"strings"
)

// Object is a Kubernetes object as JSON has it. What is in it is other people's:
// nothing is taken to be of the type that it should be.
type Object map[string]any

// Group is the API group, empty for the core's.
func (o Object) Group() string {
	group, _, ok := strings.Cut(text(o, "apiVersion"), "/")
	if !ok {
		return ""
	}
	return group
}

// Kind is the object's kind.
func (o Object) Kind() string { return text(o, "kind") }

// Name is the object's name.
func (o Object) Name() string { return text(o, "metadata", "name") }

// at is what stands at a path, nil if nothing does.
func at(m map[string]any, path ...string) any {
	var v any = m
	for _, key := range path {
		below, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = below[key]
	}
	return v
}

func text(m map[string]any, path ...string) string {
	s, _ := at(m, path...).(string)
	return s
}

func yes(m map[string]any, path ...string) bool {
	b, _ := at(m, path...).(bool)
	return b
}

func below(m map[string]any, path ...string) map[string]any {
	v, _ := at(m, path...).(map[string]any)
	return v
}

// elements are the maps of a list; what is no map is left out.
func elements(m map[string]any, path ...string) []map[string]any {
	list, _ := at(m, path...).([]any)
	var out []map[string]any
	for _, e := range list {
		if one, ok := e.(map[string]any); ok {
			out = append(out, one)
		}
	}
	return out
}

// words are the texts of a list.
func words(m map[string]any, path ...string) []string {
	list, _ := at(m, path...).([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// texts are the pairs of a map whose values are text.
func texts(m map[string]any, path ...string) map[string]string {
	out := map[string]string{}
	for k, v := range below(m, path...) {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// number is a whole number, as either decoder gives it.
func number(m map[string]any, path ...string) (int, bool) {
	switch n := at(m, path...).(type) {
	case int64:
		return int(n), true
	case int:
		return n, true
	case float64:
		return int(n), float64(int(n)) == n
	}
	return 0, false
}

// put sets a value at a path; what stands in its way is no map and goes.
func put(m map[string]any, v any, path ...string) {
	for _, key := range path[:len(path)-1] {
		below, ok := m[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			m[key] = below
		}
		m = below
	}
	m[path[len(path)-1]] = v
}

// changed is a copy of a value in which each text is what turn makes of it.
func changed(v any, turn func(string) string) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = changed(e, turn)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = changed(e, turn)
		}
		return out
	case string:
		return turn(v)
	}
	return v
}

// clone shares nothing with the object.
func (o Object) clone() Object {
	out, _ := changed(map[string]any(o), func(s string) string { return s }).(map[string]any)
	return out
}

// moved is the object in another namespace, without what belongs to its life so
// far, and without the marks of tools: one that owns the original would take the
// copy for its own and remove it, or publish its name.
func (o Object) moved(r Request) Object {
	out := o.clone()
	delete(out, "status")
	labels, annotations := map[string]any{Label: r.Namespace}, map[string]any{}
	for key, v := range texts(o, "metadata", "labels") {
		if ofIstio(key) {
			labels[key] = v
		}
	}
	for key, v := range texts(o, "metadata", "annotations") {
		if ofIstio(key) {
			annotations[key] = v
		}
	}
	meta := map[string]any{"name": o.Name(), "namespace": r.Copy, "labels": labels}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	out["metadata"] = meta
	return out
}

// ofIstio says whether the key of a label or annotation is Istio's.
func ofIstio(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	return ok && (domain == "istio.io" || strings.HasSuffix(domain, ".istio.io"))
}
