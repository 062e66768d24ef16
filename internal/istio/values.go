package istio

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// minReplicas is what a canary starts with: its injector fails closed, so that
// one istiod that is rescheduled would stop all pod creation behind it (S-16).
const minReplicas = 2

// CleanValues takes out of a release's values what belongs to that revision and
// must not go to the next one (S-15), and names what it dropped, sorted.
//
// A hub stays: it is where a site keeps its mirror of the images, for every
// release of them. A tag goes: it would install the old images under the new
// name. Helm values of istiod may stand at the top, under pilot, under global or
// under the defaults' internal name, so that all are looked at.
func CleanValues(values map[string]any) (map[string]any, []string) {
	clean := copyValues(values)
	var dropped []string
	for _, path := range []string{
		"revision", "revisionTags", "defaultRevision", "tag", "image",
		"global.revision", "global.tag", "global.caAddress", "global.proxy.image", "global.proxy_init.image",
		"pilot.revision", "pilot.revisionTags", "pilot.tag", "pilot.image",
		"meshConfig.defaultConfig.discoveryAddress", "meshConfig.defaultConfig.caAddress", "meshConfig.caAddress",
		"env.REVISION", "pilot.env.REVISION",
	} {
		if drop(clean, strings.Split(path, "."), staysAsImage(path)) {
			dropped = append(dropped, path)
		}
	}
	slices.Sort(dropped)
	return clean, dropped
}

// staysAsImage says which values of a path are kept: an image by name alone
// ("pilot") is a site's choice for every release; one with a tag or a digest
// ("mirror/pilot:1.27.0") pins the old release.
func staysAsImage(path string) func(any) bool {
	if !strings.HasSuffix(path, "image") {
		return func(any) bool { return false }
	}
	return func(v any) bool {
		s, ok := v.(string)
		last := s[strings.LastIndex(s, "/")+1:]
		return !ok || !strings.ContainsAny(last, ":@")
	}
}

// drop removes the value at the path unless it may stay, and maps that this
// leaves empty: an empty map is not what the user wrote either.
func drop(values map[string]any, path []string, stays func(any) bool) bool {
	v, ok := values[path[0]]
	if !ok {
		return false
	}
	if len(path) == 1 {
		if stays(v) {
			return false
		}
		delete(values, path[0])
		return true
	}
	inner, ok := v.(map[string]any)
	if !ok || !drop(inner, path[1:], stays) {
		return false
	}
	if len(inner) == 0 {
		delete(values, path[0])
	}
	return true
}

// RevisionValues returns the values of a new revision: the old release's,
// cleaned, then the user's over them, then the revision's name and a size that
// is at least the old one's ready count and at least two (S-16).
func (*Helm) RevisionValues(old, over map[string]any, revision string, replicas int) map[string]any {
	clean, _ := CleanValues(old)
	out := merge(clean, over)
	out["revision"] = revision
	size(out, max(replicas, minReplicas))
	return out
}

// size raises what decides the number of istiods. It is written under pilot,
// which every chart reads and which wins over the same key at the top.
func size(values map[string]any, least int) {
	pilot, ok := values["pilot"].(map[string]any)
	if !ok {
		pilot = map[string]any{}
		values["pilot"] = pilot
	}
	asked := func(key string) any {
		if v, under := pilot[key]; under {
			return v
		}
		return values[key]
	}
	// Both, also with an HPA: until it has seen its first metrics the Deployment
	// has the replicas it was created with.
	pilot["replicaCount"] = max(number(asked("replicaCount")), least)
	if on, set := asked("autoscaleEnabled").(bool); set && !on {
		return
	}
	lowest := max(number(asked("autoscaleMin")), least)
	pilot["autoscaleMin"] = lowest
	if highest := cmp.Or(number(asked("autoscaleMax")), chartMax); highest < lowest {
		pilot["autoscaleMax"] = lowest
	}
}

// chartMax is the chart's own autoscaleMax.
const chartMax = 5

// number reads what YAML and JSON make of a number.
func number(v any) int {
	switch v := v.(type) {
	case int:
		return v
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return 0
}

// merge lays the second values over the first: maps by key, everything else as a whole.
func merge(under, over map[string]any) map[string]any {
	out := copyValues(under)
	for k, v := range over {
		a, isMap := out[k].(map[string]any)
		b, too := v.(map[string]any)
		if isMap && too {
			out[k] = merge(a, b)
			continue
		}
		out[k] = copyValue(v)
	}
	return out
}

func copyValues(in map[string]any) map[string]any {
	out := maps.Clone(in)
	if out == nil {
		return map[string]any{}
	}
	for k, v := range out {
		out[k] = copyValue(v)
	}
	return out
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return copyValues(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = copyValue(v[i])
		}
		return out
	}
	return v
}
