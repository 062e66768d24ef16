package mesh_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
)

func TestTerms_sayWhatThereIs(t *testing.T) {
	s := mesh.Selector{
		MatchLabels:      map[string]string{"b": "1", "a": "1"},
		MatchExpressions: []mesh.Requirement{{Key: "c", Operator: "In", Values: []string{"x", "y"}}, {Key: "d", Operator: "DoesNotExist"}},
	}
	want := []mesh.Term{
		{Term: "a=1", Key: "a", Has: "a=1", Holds: true},
		{Term: "b=1", Key: "b", Has: "b=2"},
		{Term: "c In [x,y]", Key: "c", Has: "no c"},
		{Term: "d DoesNotExist", Key: "d", Has: "no d", Holds: true},
	}
	if d := cmp.Diff(want, s.Terms(map[string]string{"a": "1", "b": "2"})); d != "" {
		t.Error(d)
	}
}

// All terms hold exactly when the selector matches, over every selector of one and
// two conditions that can be made of a few words, an operator nobody knows included.
func TestTerms_agreeWithMatches(t *testing.T) {
	var requirements []mesh.Requirement
	for _, op := range []string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", ""} {
		for _, values := range [][]string{nil, {""}, {"x"}, {"x", "y"}} {
			requirements = append(requirements, mesh.Requirement{Key: "k", Operator: op, Values: values}, mesh.Requirement{Key: "", Operator: op, Values: values})
		}
	}
	for _, a := range requirements {
		for _, b := range requirements {
			for _, labels := range []map[string]string{nil, {"k": ""}, {"k": "x"}, {"k": "z"}, {"": "x"}} {
				s := mesh.Selector{MatchLabels: map[string]string{"k": "x"}, MatchExpressions: []mesh.Requirement{a, b}}
				for _, s := range []mesh.Selector{s, {MatchExpressions: s.MatchExpressions}} {
					all := !slices.ContainsFunc(s.Terms(labels), func(t mesh.Term) bool { return !t.Holds })
					if all != s.Matches(labels) {
						t.Fatal(fmt.Sprint(s, labels, all))
					}
				}
			}
		}
	}
}
