package plan

import (
	"strings"

	"github.com/serin-mesh/serin/internal/fields"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
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
		b.judgeKnown(object, fields.Istiod, r.Values, Warning)
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
	b.judgeKnown("request", fields.Istiod, b.req.Values, Overridable)
	for _, path := range append([]string{"revision", "revisionTags", "defaultRevision"}, addresses()...) {
		if value(b.req.Values, path) != nil {
			b.find(codeCleaned, Warning, "request", "its value "+path+" names a revision or an istiod: make sure that it fits "+b.to, "")
		}
	}
}

// judgeSecrets refuses values that look like secrets: a plan is a file, and a run is
// kept in ConfigMaps, which more people read than Secrets.
func (b *builder) judgeSecrets() {
	for _, path := range append(mesh.Secrets(b.req.Values), mesh.Secrets(b.req.Operator)...) {
		b.find(codeSecretValue, Overridable, "request", "its value "+path+" looks like a secret: the plan and the run would keep it where it is read by whoever reads ConfigMaps",
			"let istiod read it from a Secret: pilot.envVarFrom with a secretKeyRef. If it is none: --ignore-check "+codeSecretValue)
	}
}

// judgeKnown names the values that the target does not read: Helm takes any, and
// one that is spelt wrong is lost in silence. Those given now are refused, unless a
// chart of the user's own reads them; those of a release that is there were lost
// before, or are from now on, and stop nothing.
func (b *builder) judgeKnown(object string, scope fields.Scope, values map[string]any, sev Severity) {
	if len(values) == 0 {
		return
	}
	unknown, ok := fields.Unknown(scope, b.req.To, values)
	if _, err := skew.Parse(b.req.To); !ok && err == nil {
		b.find(codeUnknownValue, Info, object, "its values are not checked: serin does not have the list of those that "+b.req.To+" reads", "")
	}
	for _, f := range unknown {
		sev, why, remedy := sev, "is not read by "+string(scope)+" "+b.req.To, "take it out."
		switch {
		case f.Wrong != "":
			why, remedy = f.Wrong, "write it as the chart's own values do."
		case f.Kubernetes && b.newerThanKnown():
			sev, why = Warning, "is not known to serin, whose list is that of Kubernetes "+fields.Kubernetes()+", and this one is newer"
		case f.Kubernetes:
			why = "is no field of Kubernetes', to which " + string(scope) + " " + b.req.To + " hands it on"
		}
		if f.Nearest != "" {
			remedy = "did you mean " + f.Nearest + "?"
		}
		if sev == Overridable {
			remedy += " If a chart of your own reads it: --ignore-check " + codeUnknownValue
		}
		b.find(codeUnknownValue, sev, object, "its value "+f.Path+" "+why, remedy)
	}
}

// newerThanKnown says whether the cluster may have fields that are in no list of ours.
func (b *builder) newerThanKnown() bool {
	have, err := skew.Parse(b.s.KubernetesVersion)
	known, wrong := skew.Parse(fields.Kubernetes())
	return err == nil && wrong == nil && (have.Major() > known.Major() || have.Minor() > known.Minor())
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
