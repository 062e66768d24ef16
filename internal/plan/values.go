package plan

import (
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// judgeValues says which of the old release's values cannot go to the new
// revision as they are (S-15): tags that Helm renders stop the plan, addresses of
// the old istiod are not carried over. That "revision" is not goes without saying.
func (b *builder) judgeValues() {
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		r, ok := b.s.Release(c.Owner)
		if !ok {
			continue
		}
		object := "release " + r.Namespace + "/" + r.Name
		for _, path := range []string{"revisionTags", "pilot.revisionTags"} {
			if tags, _ := value(r.Values, path).([]any); len(tags) > 0 {
				b.find(codeHelmTag, Mandatory, object, "its value "+path+" renders tags: they cannot move to another release without a moment with none",
					"take them out of the release and set them by hand: serin tag set TAG --revision "+rev+" --overwrite")
			}
		}
		for _, path := range addresses() {
			if value(r.Values, path) != nil {
				b.find(codeCleaned, Warning, object, "its value "+path+" names the old istiod: it is not carried over", "set it in the request's values if it must stay")
			}
		}
	}
	for _, path := range append([]string{"revision", "revisionTags", "defaultRevision"}, addresses()...) {
		if value(b.req.Values, path) != nil {
			b.find(codeCleaned, Warning, "request", "its value "+path+" names a revision or an istiod: make sure that it fits "+b.to, "")
		}
	}
}

// addresses are the values that may hold the address of one istiod.
func addresses() []string {
	return []string{"global.caAddress", "meshConfig.caAddress", "meshConfig.defaultConfig.caAddress", "meshConfig.defaultConfig.discoveryAddress"}
}

// value is what stands at a dotted path of Helm values, nil if nothing does.
func value(values map[string]any, path string) any {
	var v any = values
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
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
