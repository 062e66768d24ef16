package mesh

import (
	"maps"
	"slices"
	"strings"
)

// Term is one condition of a selector, and whether labels fulfil it.
type Term struct {
	Term  string `json:"term"` // "istio.io/rev In [prod]"
	Key   string `json:"key"`
	Has   string `json:"has"` // what there is: "istio.io/rev=default", or "no istio.io/rev"
	Holds bool   `json:"holds"`
}

// Terms evaluates the selector condition by condition, sorted by key where the
// selector itself has no order. It matches when all of them hold.
func (s Selector) Terms(labels map[string]string) []Term {
	out := make([]Term, 0, len(s.MatchLabels)+len(s.MatchExpressions))
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		want := s.MatchLabels[k]
		got, ok := labels[k]
		out = append(out, Term{Term: k + "=" + want, Key: k, Has: labelled(k, labels), Holds: ok && got == want})
	}
	for _, r := range s.MatchExpressions {
		out = append(out, Term{Term: r.String(), Key: r.Key, Has: labelled(r.Key, labels), Holds: r.matches(labels)})
	}
	return out
}

// String writes the expression as kubectl does not: in Kubernetes' own words.
func (r Requirement) String() string {
	if len(r.Values) == 0 {
		return r.Key + " " + r.Operator
	}
	return r.Key + " " + r.Operator + " [" + strings.Join(r.Values, ",") + "]"
}

func labelled(key string, labels map[string]string) string {
	if v, ok := labels[key]; ok {
		return key + "=" + v
	}
	return "no " + key
}
