package shadow

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

//go:embed rules.json
var rulesFile []byte

// Rule explains a difference between two releases: the type of resource, the field
// and both values are named, nothing is left open.
type Rule struct {
	Code     string    `json:"code"` // SRD and a number
	Kind     Kind      `json:"kind"`
	Path     string    `json:"path"`
	Op       Operation `json:"op"`
	From     any       `json:"from,omitempty"`
	To       any       `json:"to,omitempty"`
	Swap     bool      `json:"swap,omitempty"`     // from is to, with the old version or revision for the new
	Absolute bool      `json:"absolute,omitempty"` // to is the name of its virtual host with a dot at the end
	Until    string    `json:"until,omitempty"`    // the last minor release with the old way
	Since    string    `json:"since,omitempty"`    // the first with the new one
	What     string    `json:"what"`
	Source   string    `json:"source"`
	Link     string    `json:"link"`
}

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var loadRules = sync.OnceValue(func() []Rule {
	var r []Rule
	if err := json.Unmarshal(rulesFile, &r); err != nil {
		return nil // a test reads the file
	}
	return r
})

// Rules returns every rule.
func Rules() []Rule { return slices.Clone(loadRules()) }

// explains says whether the rule is about this change between these sides.
func (r Rule) explains(c change, s Sides) bool {
	if r.Kind != c.kind || r.Path != c.path || r.Op != c.op || !r.between(s) {
		return false
	}
	if r.Swap {
		return swapped(c, s)
	}
	if r.Absolute {
		return absolute(c)
	}
	return reflect.DeepEqual(r.From, c.from) && reflect.DeepEqual(r.To, c.to)
}

// always is a rule about what has another name with every revision.
func (r Rule) always() bool { return r.Swap && r.Until == "" && r.Since == "" }

// between says whether an upgrade crosses what the rule is about.
func (r Rule) between(s Sides) bool {
	if r.always() {
		return s.Old.Version != "" && s.New.Version != ""
	}
	return minor(s.Old.Version, r.Until) <= 0 && minor(s.New.Version, r.Since) >= 0 && known(s.Old.Version) && known(s.New.Version)
}

func known(v string) bool {
	_, err := semver.NewVersion(v)
	return err == nil
}

// minor compares the minor releases of two versions.
func minor(a, b string) int {
	x, errX := semver.NewVersion(a)
	y, errY := semver.NewVersion(b)
	if errX != nil || errY != nil {
		return 2 // no rule begins or ends here
	}
	return int(x.Major())*1000 + int(x.Minor()) - int(y.Major())*1000 - int(y.Minor()) //nolint:gosec // releases are counted in tens
}

// absolute says whether a domain is the name of the virtual host it is added to,
// with a dot at its end: "virtualHosts[a.b:80].domains[a.b.:80]".
func absolute(c change) bool {
	_, host, ok := strings.Cut(c.where, "virtualHosts[")
	if !ok {
		return false
	}
	host, _, _ = strings.Cut(host, "]")
	host, port, _ := strings.Cut(host, ":")
	to := text(c.to)
	return to == host+"." || to == host+".:"+port
}

// swapped says whether all that changed is the name of the version or of the revision.
func swapped(c change, s Sides) bool {
	from, to := compact(c.from), compact(c.to)
	return from != to && inWords(from, s.Old) == inWords(to, s.New)
}

// inWords is a value in which a side's own names are replaced by words.
func inWords(v string, s Side) string {
	istiod := "istiod-" + s.Revision + "."
	if s.Revision == "default" {
		istiod = "istiod."
	}
	return strings.NewReplacer(istiod, "{istiod}.", s.Version, "{version}", `"`+s.Revision+`"`, `"{revision}"`, `\"`+s.Revision+`\"`, `\"{revision}\"`).Replace(v)
}
