package mesh

import (
	"maps"
	"slices"
)

// DefaultValidator is the name of the validator that belongs to the default tag (R§2.3).
const DefaultValidator = "istiod-default-validator"

// Tag is a revision tag as its parts tell it. The parts cannot move in one
// instant, so that they may disagree (R§2.1).
type Tag struct {
	Name      string `json:"name"`
	Revision  string `json:"revision"`            // what its injector calls; without one, what its Service selects
	Injector  string `json:"injector,omitempty"`  // the name of its MutatingWebhookConfiguration, empty if there is none
	Service   string `json:"service,omitempty"`   // the revision its Service selects, empty if it has none
	Validator string `json:"validator,omitempty"` // the revision its validator calls, empty if it has none
	Split     bool   `json:"split,omitempty"`     // the parts disagree
	Owner     Owner  `json:"owner"`
}

// Tags returns the tags, sorted by name. What has neither injector nor Service
// is no tag: the base chart's validator alone makes none.
func (s Snapshot) Tags() []Tag {
	tags := map[string]Tag{}
	for _, in := range s.Injectors {
		if in.Tag == "" {
			continue
		}
		t := tags[in.Tag]
		split := t.Injector != "" && t.Revision != in.Revision
		tags[in.Tag] = Tag{Name: in.Tag, Revision: in.Revision, Injector: in.Name, Owner: s.tagOwner(in), Split: split || calls(in, s)}
	}
	for _, svc := range s.TagServices {
		t, ok := tags[svc.Tag]
		if !ok {
			t = Tag{Name: svc.Tag, Revision: svc.Revision, Owner: Owner{Kind: OwnerNone}}
		}
		t.Service = svc.Revision
		t.Split = t.Split || svc.Revision != t.Revision
		tags[svc.Tag] = t
	}
	for _, v := range s.Validators {
		t, ok := tags[v.tag()]
		if !ok {
			continue
		}
		t.Validator = v.Revision
		t.Split = t.Split || v.Revision != t.Revision
		tags[t.Name] = t
	}
	return slices.SortedFunc(maps.Values(tags), func(a, b Tag) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// tagOwner is who a tag's injector belongs to. istioctl copies the marks of the
// revision's own injector onto the tags it sets, Helm's among them (R§2.2): a tag
// is Helm's only if its release renders it.
func (s Snapshot) tagOwner(in Injector) Owner {
	r, ok := s.Release(in.Owner)
	if !ok || r.rendersTag(in.Tag) {
		return in.Owner
	}
	return Owner{Kind: OwnerNone}
}

// rendersTag says whether the release's values ask for the tag.
func (r Release) rendersTag(tag string) bool {
	pilot, _ := r.Values["pilot"].(map[string]any)
	for _, v := range []any{r.Values["revisionTags"], pilot["revisionTags"]} {
		switch tags := v.(type) {
		case []any:
			if slices.Contains(tags, any(tag)) {
				return true
			}
		case []string:
			if slices.Contains(tags, tag) {
				return true
			}
		}
	}
	return false
}

// calls says whether an entry of a tag's injector calls another revision's
// Service than the one its label names.
func calls(in Injector, s Snapshot) bool {
	for _, w := range in.Webhooks {
		for _, c := range s.ControlPlanes {
			if w.Service == c.Namespace+"/"+c.Name && c.Revision != in.Revision {
				return true
			}
		}
	}
	return false
}

// tag is the tag that a validator belongs to, empty for a revision's own.
func (v Validator) tag() string {
	if v.Name == DefaultValidator {
		return DefaultTag
	}
	return v.Tag
}

// Tag returns the tag of that name.
func (s Snapshot) Tag(name string) (Tag, bool) {
	for _, t := range s.Tags() {
		if t.Name == name {
			return t, true
		}
	}
	return Tag{}, false
}

// Resolve says which revision a label istio.io/rev stands for: a tag's, before a
// revision of that name (a live default tag hides the revision "default"). It is
// empty when the label names nothing.
func (s Snapshot) Resolve(label string) string {
	for _, t := range s.Tags() {
		if t.Name == label && t.Injector != "" {
			return t.Revision
		}
	}
	if _, ok := s.ControlPlane(label); ok {
		return label
	}
	return ""
}

// DefaultValidator returns the validator of the default tag, or that which the
// base chart renders while there is no tag.
func (s Snapshot) DefaultValidator() (Validator, bool) {
	for _, v := range s.Validators {
		if v.tag() == DefaultTag {
			return v, true
		}
	}
	return Validator{}, false
}
