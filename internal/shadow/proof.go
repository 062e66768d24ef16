package shadow

import (
	"cmp"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Object is a stored object of Istio's and what the validators say of it.
type Object struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Denied    string   `json:"denied,omitempty"`   // why the new revision would not take it
	Before    string   `json:"before,omitempty"`   // why the revision that is there would not either
	Warnings  []string `json:"warnings,omitempty"` // of the new revision
	Failed    string   `json:"failed,omitempty"`   // why it could not be asked
}

// Class is what an object means for a move: one that only the new revision
// refuses is read by it as broken, or not at all.
func (o Object) Class() Class {
	switch {
	case o.Denied != "" && o.Before == "":
		return Dangerous
	case o.Denied != "" || o.Failed != "":
		return Unexplained
	}
	return Expected
}

// Judged is an object of which there is something to say.
type Judged struct {
	Class Class `json:"class"`
	Object
}

// Validation is what the new revision's validator says of what is stored.
type Validation struct {
	Objects int      `json:"objects"` // that it was asked about
	Found   []Judged `json:"found"`
}

// Validated sorts out the objects of which there is something to say.
func Validated(objects []Object) Validation {
	v := Validation{Objects: len(objects), Found: []Judged{}}
	for _, o := range objects {
		o.Denied, o.Before, o.Failed = mesh.RedactedText(o.Denied), mesh.RedactedText(o.Before), mesh.RedactedText(o.Failed)
		if o.Denied != "" || o.Failed != "" || len(o.Warnings) > 0 {
			v.Found = append(v.Found, Judged{o.Class(), o})
		}
	}
	slices.SortFunc(v.Found, func(a, b Judged) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Classes(), a.Class), slices.Index(Classes(), b.Class)),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		)
	})
	return v
}

// Worst is the worst class that was met.
func (v Validation) Worst() Class {
	if len(v.Found) == 0 {
		return Expected
	}
	return v.Found[0].Class
}

// Proof is everything that is known of a move before it is begun.
type Proof struct {
	Sides
	Verdict       Class      `json:"verdict"`
	Ground        []Ground   `json:"ground"`        // what the move stands on: certificates, room, answers in time
	Injection     Report     `json:"injection"`     // the pods, today's against those that would be
	Validation    Validation `json:"validation"`    // the stored objects
	Configuration Report     `json:"configuration"` // what the proxies are given
}

// Checked is what was asked, part by part.
type Checked struct {
	Ground        []Ground
	Pods, Configs Report
	Objects       []Object
}

// Prove puts the parts together.
func Prove(q Question, c Checked) Proof {
	p := Proof{Sides: q.Sides, Verdict: Expected, Ground: c.Ground, Injection: c.Pods, Validation: Validated(c.Objects), Configuration: c.Configs}
	if p.Ground == nil {
		p.Ground = []Ground{}
	}
	worst := []Class{p.Injection.Worst(), p.Validation.Worst(), p.Configuration.Worst()}
	for _, g := range p.Ground {
		worst = append(worst, g.Class)
	}
	for _, c := range worst {
		if slices.Index(Classes(), c) < slices.Index(Classes(), p.Verdict) {
			p.Verdict = c
		}
	}
	return p
}
