package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// CleanValues returns a copy of a revision's Helm values without those that name
// the revision or its release (S-15), and the paths that it left out, sorted. The
// chart computes them anew for the next revision.
func CleanValues(values map[string]any) (map[string]any, []string) {
	var dropped []string
	out := maps.Clone(values)
	for _, path := range namingValues() {
		if next, ok := without(out, strings.Split(path, ".")); ok {
			out = next
			dropped = append(dropped, path)
		}
	}
	slices.Sort(dropped)
	return out, dropped
}

// namingValues are the paths of values that name a revision or a release.
func namingValues() []string {
	return []string{
		"revision", "revisionTags", "defaultRevision", "global.hub", "global.tag", "global.caAddress", "pilot.hub", "pilot.tag",
		"meshConfig.defaultConfig.discoveryAddress", "meshConfig.caAddress",
	}
}

// without copies the maps on the path, so that the values it is given stay whole.
func without(values map[string]any, path []string) (map[string]any, bool) {
	v, ok := values[path[0]]
	if !ok {
		return values, false
	}
	out := maps.Clone(values)
	if len(path) == 1 {
		delete(out, path[0])
		return out, true
	}
	inner, ok := v.(map[string]any)
	if !ok {
		return values, false
	}
	next, ok := without(inner, path[1:])
	if !ok {
		return values, false
	}
	if len(next) == 0 {
		delete(out, path[0])
	} else {
		out[path[0]] = next
	}
	return out, true
}

// judgeValues says which values are not carried over. That "revision" and the
// image's tag are not goes without saying.
func (b *builder) judgeValues() {
	quiet := []string{"revision", "global.tag", "pilot.tag", "defaultRevision"}
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		r, ok := b.s.Release(c.Owner)
		if !ok {
			continue
		}
		object := "release " + r.Namespace + "/" + r.Name
		_, dropped := CleanValues(r.Values)
		for _, path := range dropped {
			switch {
			case path == "revisionTags":
				if tags, _ := r.Values[path].([]any); len(tags) > 0 {
					b.find(codeHelmTag, Mandatory, object, "its value revisionTags renders tags: they cannot move between releases without a moment with none",
						"take them out of the release and set them by hand: istioctl tag set TAG --revision "+rev+" --overwrite")
				}
			case !slices.Contains(quiet, path):
				b.find(codeCleaned, Warning, object, "its value "+path+" names the old revision or release: it is not carried over", "set it in the request's values if it must stay")
			}
		}
	}
	if _, dropped := CleanValues(b.req.Values); len(dropped) > 0 && b.req.Values != nil {
		b.find(codeCleaned, Warning, "request", "its values "+strings.Join(dropped, ", ")+" name a revision or a release: make sure that they fit "+b.to, "")
	}
}

// judgeObjects is about configuration that names a revision (R§1.6).
func (b *builder) judgeObjects() {
	for _, o := range b.s.PinnedObjects {
		name := strings.ToLower(o.Kind) + " " + o.Namespace + "/" + o.Name
		_, plane := b.s.ControlPlane(o.Revision)
		switch _, tag := b.s.Tag(o.Revision); {
		case b.leaves(o.Revision):
			b.find(codePinnedObject, Overridable, name, "its label "+mesh.RevLabel+"="+o.Revision+" hides it from every other revision: what moves would lose it",
				"take the label off")
		case tag && !plane:
			b.find(codePinnedToTag, Warning, name, "its label "+mesh.RevLabel+" names the tag "+o.Revision+", and control planes do not resolve tags there: nobody reads it",
				"take the label off")
		}
	}
}
