package access_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/plan"
)

func TestDoing_knowsEachKind(t *testing.T) {
	for _, k := range plan.Kinds() {
		if len(access.Doing(k)) == 0 {
			t.Errorf("%s needs no permission: that cannot be", k)
		}
	}
}

func TestReadOnly_changesNothing(t *testing.T) {
	for _, r := range access.ReadOnly() {
		for _, v := range r.Verbs {
			if !slices.Contains([]string{"get", "list", "watch"}, v) && !slices.Equal(r.Resources, []string{"pods/portforward"}) {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestNeeds_isNoMoreThanThePlan(t *testing.T) {
	p := plan.Plan{Steps: []plan.Step{{Kind: plan.MoveNamespace}, {Kind: plan.Restart}, {Kind: plan.Restart}}}
	var got []string
	for _, r := range access.Needs(p) {
		if slices.Contains(r.Verbs, "patch") {
			got = append(got, r.Group+": "+r.Resources[0])
		}
	}
	if d := cmp.Diff([]string{": configmaps", ": namespaces", "apps: daemonsets"}, got); d != "" {
		t.Error(d)
	}
}
