package skew

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-mesh/serin/internal/mesh"
)

//go:embed notes.json
var notesFile []byte

// UpgradeNote is one thing that a release changes, and the signs by which a mesh
// tells whether it is concerned: an entry of the release's upgrade notes, a default
// that changed, a field that went.
type UpgradeNote struct {
	Code     string   `json:"code"`                // SRN, the minor and a number: SRN2704
	Minor    string   `json:"minor"`               // the release that brought it
	Backport []string `json:"backports,omitempty"` // the patches of older releases that have it, too
	What     string   `json:"what"`                // the fact
	Weight   Weight   `json:"severity,omitempty"`  // when it fires
	Any      []Sign   `json:"any,omitempty"`       // one of these must show …
	All      []Sign   `json:"all,omitempty"`       // … and each of these
	Unless   []Sign   `json:"unless,omitempty"`    // where one of these shows, it does not apply
	ByHand   string   `json:"byHand,omitempty"`    // why no sign can tell
	Addition bool     `json:"addition,omitempty"`  // it changes nothing until it is used
	Profile  bool     `json:"profile,omitempty"`   // compatibilityVersion keeps the old way
	Remedy   string   `json:"remedy,omitempty"`
	Istio    string   `json:"istio,omitempty"` // istioctl's code for it
	Source   string   `json:"source"`
}

// Weight is how much a note weighs that fires.
type Weight string

// The weights: Breaking stands in the way unless it is ignored.
const (
	Breaking Weight = "overridable"
	Notable  Weight = "warning"
	Mild     Weight = "info"
)

// Answer says whether a note concerns a mesh.
type Answer string

// The answers.
const (
	Fires        Answer = "fires"
	DoesNotApply Answer = "does not apply"
	CannotTell   Answer = "cannot tell"
)

// Noted is an upgrade note and what it means for a mesh.
type Noted struct {
	UpgradeNote
	Answer Answer `json:"answer"`
	Why    string `json:"why"`
}

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var loadNotes = sync.OnceValue(func() []UpgradeNote {
	var n []UpgradeNote
	if err := json.Unmarshal(notesFile, &n); err != nil {
		return nil // a test reads the file
	}
	return n
})

// AllNotes returns every upgrade note, oldest release first.
func AllNotes() []UpgradeNote { return slices.Clone(loadNotes()) }

// Link is the page of the release's own upgrade notes.
func (n UpgradeNote) Link() string {
	return "https://istio.io/latest/news/releases/" + n.Minor + ".x/announcing-" + n.Minor + "/upgrade-notes/"
}

// Notes judges each upgrade note between two versions for what leaves the
// revisions. Of releases that the data does not know there are none: Judge says so.
func Notes(from, to string, revisions []string, s mesh.Snapshot) []Noted {
	a, errA := Parse(from)
	b, errB := Parse(to)
	if errA != nil || errB != nil {
		return nil
	}
	look := looker{s: s, revisions: revisions}
	var out []Noted
	for _, n := range loadNotes() {
		if n.in(b) && !n.in(a) {
			answer, why := look.judge(n)
			out = append(out, Noted{UpgradeNote: n, Answer: answer, Why: why})
		}
	}
	return out
}

// in says whether a version has what the note is about: its minor release, newer
// ones, and of older ones those from a patch on to which it was brought back.
func (n UpgradeNote) in(v *semver.Version) bool {
	m, err := Parse(n.Minor)
	if err != nil || m.Major() != v.Major() {
		return false
	}
	return m.Minor() <= v.Minor() || slices.ContainsFunc(n.Backport, func(patch string) bool {
		p, err := Parse(patch)
		return err == nil && p.Minor() == v.Minor() && !v.LessThan(p)
	})
}

func (l looker) judge(n UpgradeNote) (Answer, string) {
	if n.Addition {
		return DoesNotApply, "it changes nothing until it is used"
	}
	if n.Profile && l.compatible(n.Minor) {
		return DoesNotApply, "compatibilityVersion keeps the old way"
	}
	kept, keptWhy := l.anyOf(n.Unless)
	if kept == Fires {
		return DoesNotApply, keptWhy
	}
	if n.ByHand != "" {
		return CannotTell, n.ByHand
	}
	some, why := Fires, ""
	if len(n.Any) > 0 {
		some, why = l.anyOf(n.Any)
	}
	each, eachWhy := l.allOf(n.All)
	if some != Fires || each != Fires {
		return lesser(some, why, each, eachWhy)
	}
	if kept == CannotTell {
		return kept, keptWhy
	}
	return Fires, strings.Trim(why+"; "+eachWhy, "; ")
}

// lesser is what two conditions come to of which not both fire: one that is not
// met counts more than one of which nothing can be told.
func lesser(some Answer, why string, each Answer, eachWhy string) (Answer, string) {
	if some == DoesNotApply || each == Fires || some == CannotTell && each == CannotTell {
		return some, why
	}
	return each, eachWhy
}

// anyOf is Fires when a sign shows, CannotTell when one that could not be looked
// for might have, and DoesNotApply otherwise.
func (l looker) anyOf(signs []Sign) (Answer, string) {
	answer, why := DoesNotApply, ""
	var absent []string
	for _, sign := range signs {
		switch a, text := l.shows(sign); a {
		case Fires:
			return a, text
		case CannotTell:
			answer, why = a, text
		case DoesNotApply:
			absent = append(absent, text)
		}
	}
	if why == "" {
		why = strings.Join(absent, ", ")
	}
	return answer, why
}

func (l looker) allOf(signs []Sign) (Answer, string) {
	answer, why := Fires, ""
	for _, sign := range signs {
		switch a, text := l.shows(sign); {
		case a == DoesNotApply:
			return a, text
		case a == CannotTell:
			answer, why = a, text
		case answer == Fires:
			why = strings.Trim(why+"; "+text, "; ")
		}
	}
	return answer, why
}
