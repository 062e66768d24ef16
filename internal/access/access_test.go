package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/skew"
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
			asks := slices.Equal(r.Resources, []string{"pods/portforward"}) || slices.Equal(r.Resources, []string{"selfsubjectaccessreviews"})
			if !slices.Contains([]string{"get", "list", "watch"}, v) && !asks {
				t.Errorf("%+v", r)
			}
		}
	}
}

// Every kind that the survey lists is in the role: what is not would be unseen.
func TestReadOnly_listsWhatTheNotesAskAbout(t *testing.T) {
	kinds := skew.Kinds()
	for _, text := range skew.Texts() {
		resource, _, _ := strings.Cut(text, " ")
		kinds = append(kinds, resource)
	}
	for _, kind := range kinds {
		resource, group, _ := strings.Cut(kind, ".")
		if !slices.ContainsFunc(access.ReadOnly(), func(r access.Rule) bool {
			return r.Group == group && (slices.Contains(r.Resources, resource) || slices.Contains(r.Resources, "*")) && slices.Contains(r.Verbs, "list")
		}) {
			t.Errorf("%s is not in the role", kind)
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

// With a definition goes all that is stored of it: no command may take one away. S-53.
func TestEverything_takesNoDefinitionAway(t *testing.T) {
	seen := false
	for _, r := range access.Everything() {
		if !slices.Contains(r.Resources, "customresourcedefinitions") {
			continue
		}
		seen = true
		for _, v := range r.Verbs {
			if v == "delete" || v == "deletecollection" {
				t.Errorf("%+v", r)
			}
		}
	}
	if !seen {
		t.Error("nobody may upgrade definitions")
	}
}

// Detaching writes pods, their status and evictions, and nothing else; what may not
// be written is rolled out where that is allowed, so that a plan of both needs less.
func TestNeeds_ofDetaching(t *testing.T) {
	var writes []string
	for _, r := range access.Detaching() {
		for _, v := range r.Verbs {
			if !slices.Contains([]string{"get", "list", "watch"}, v) {
				for _, res := range r.Resources {
					writes = append(writes, v+" "+res)
				}
			}
		}
	}
	slices.Sort(writes)
	if d := cmp.Diff([]string{"create pods/eviction", "patch pods", "patch pods/status"}, writes); d != "" {
		t.Error(d)
	}
	st := plan.Step{Kind: plan.Restart, Detach: []mesh.Ref{{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}}}
	for method, want := range map[plan.Method]bool{plan.Detach: true, plan.Auto: false} {
		p := plan.Plan{Request: plan.Request{Restarts: method}, Steps: []plan.Step{st}}
		if got := slices.ContainsFunc(access.Needs(p), func(r access.Rule) bool { return slices.Contains(r.Resources, "pods/eviction") }); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
}

// S-34: whatever serin does, its roles let it write no Gateway of Istio's, and of
// Istio's configuration nothing but Telemetries: the API server would refuse to pin one.
func TestS34_noRoleMayWriteAGateway(t *testing.T) {
	for _, r := range access.Everything() {
		writes := slices.ContainsFunc(r.Verbs, func(v string) bool { return !slices.Contains([]string{"get", "list", "watch"}, v) })
		if strings.HasSuffix(r.Group, "istio.io") && writes && (r.Group != "telemetry.istio.io" || !slices.Equal(r.Resources, []string{"telemetries"})) {
			t.Errorf("%+v", r)
		}
	}
	for _, r := range access.ReadOnly() {
		if r.Group == "telemetry.istio.io" && slices.Contains(r.Verbs, "create") {
			t.Errorf("who only looks may add a Telemetry: %+v", r)
		}
	}
}
