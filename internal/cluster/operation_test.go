package cluster_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// beside is shop with the next revision installed beside the old one.
func beside(t *testing.T) (*world, *helmFake, *cluster.Writer) {
	t.Helper()
	w, h, writer := shop(t)
	p, before := planned(t, w)
	i := slices.IndexFunc(p.Steps, func(st plan.Step) bool { return st.Kind == plan.InstallRevision })
	if err := writer.Apply(t.Context(), p.Steps[i], p, before); err != nil {
		t.Fatal(err)
	}
	return w, h, writer
}

// carry applies the steps of an operation twice each, as after a crash, and
// returns the mesh as it was.
func carry(t *testing.T, w *world, writer *cluster.Writer, r plan.Request) (plan.Plan, mesh.Snapshot) {
	t.Helper()
	before := observed(t, w)
	p := plan.Build(before, r)
	if len(p.Steps) == 0 {
		t.Fatalf("%s has no steps: %+v", r.Operation, p.Findings)
	}
	for _, st := range p.Steps {
		for range 2 {
			if err := writer.Apply(t.Context(), st, p, before); err != nil {
				t.Fatalf("%s: %v", st.Kind, err)
			}
		}
	}
	return p, before
}

// back takes all of it back, twice each.
func back(t *testing.T, writer *cluster.Writer, p plan.Plan, before mesh.Snapshot) {
	t.Helper()
	for _, st := range slices.Backward(p.Steps) {
		for range 2 {
			if err := writer.Revert(t.Context(), st, p, before); err != nil {
				t.Fatalf("taking back %s: %v", st.Kind, err)
			}
		}
	}
}

func tagOp(verb plan.Verb, tag, rev string) plan.Request {
	return plan.Request{Operation: &plan.Operation{Verb: verb, Tags: []string{tag}, Revision: rev}}
}

// whole wants a tag to lead to a revision with every part.
func whole(t *testing.T, s mesh.Snapshot, tag, rev string) {
	t.Helper()
	got, ok := s.Tag(tag)
	if !ok || got.Revision != rev || got.Split || got.Injector == "" {
		t.Errorf("tag %s: %+v, want it whole and at %s", tag, got, rev)
	}
}

func TestTagOperations_thereAndBack(t *testing.T) {
	for name, tt := range map[string]struct {
		first []plan.Request // done before, and kept
		then  plan.Request
		check func(*testing.T, mesh.Snapshot)
	}{
		"S-2 a new tag has all its parts": {
			nil, tagOp(plan.TagSet, "prod", "1-29-1"), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				whole(t, s, "prod", "1-29-1")
				if len(s.TagServices) != 1 {
					t.Errorf("from 1.28 on a tag has a Service: %v", s.TagServices)
				}
			},
		},
		"of a release before 1.28 it has no Service": {
			nil, tagOp(plan.TagSet, "prod", "default"), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				whole(t, s, "prod", "default")
				if len(s.TagServices) != 0 {
					t.Error(s.TagServices)
				}
			},
		},
		"S-2 one that moves takes all parts along": {
			[]plan.Request{tagOp(plan.TagSet, "prod", "default")},
			tagOp(plan.TagSet, "prod", "1-29-1"),
			func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				whole(t, s, "prod", "1-29-1")
			},
		},
		"S-1 S-3 the default, its validator and base release": {
			nil, tagOp(plan.TagSet, "default", "1-29-1"), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				whole(t, s, "default", "1-29-1")
				if v, _ := s.DefaultValidator(); v.Revision != "1-29-1" {
					t.Errorf("validator: %+v", v)
				}
				if base, _ := s.Base(); base.DefaultRevisionValue() != "1-29-1" {
					t.Errorf("base: %+v", base.Values)
				}
			},
		},
		"a tag that goes": {
			[]plan.Request{tagOp(plan.TagSet, "prod", "1-29-1")}, tagOp(plan.TagRemove, "prod", ""), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				if len(s.Tags()) != 0 {
					t.Error(s.Tags())
				}
			},
		},
		"one that goes from a release before 1.28 with the Service that it brought there": {
			[]plan.Request{tagOp(plan.TagSet, "prod", "1-29-1"), tagOp(plan.TagSet, "prod", "default")}, tagOp(plan.TagRemove, "prod", ""), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				if len(s.Tags())+len(s.TagServices) != 0 {
					t.Error(s.Tags(), s.TagServices)
				}
			},
		},
		"S-1 the default tag gives back to the unrevisioned injector": {
			[]plan.Request{tagOp(plan.TagSet, "default", "default")}, tagOp(plan.TagRemove, "default", ""), func(t *testing.T, s mesh.Snapshot) {
				t.Helper()
				if i := s.Injection(map[string]string{mesh.InjectionLabel: "enabled"}, nil); i.Revision != "default" || i.Tag != "" || i.Conflict {
					t.Errorf("the next pod: %+v", i)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, writer := beside(t)
			for _, r := range tt.first {
				carry(t, w, writer, r)
			}
			p, before := carry(t, w, writer, tt.then)
			tt.check(t, observed(t, w))
			if o := observed(t, w).Orphans(); len(o) > 0 {
				t.Errorf("orphans: %s", strings.Join(o, "; "))
			}
			back(t, writer, p, before)
			if d := cmp.Diff(before, observed(t, w), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("S-51: not as before: %s", d)
			}
		})
	}
}

func TestTagSet_theInjectorHasABundleFromItsFirstMoment(t *testing.T) {
	w, _, writer := beside(t)
	r := tagOp(plan.TagSet, "prod", "1-29-1")
	r.Operation.WebhookName, r.Operation.AutoInject = "mine", true
	carry(t, w, writer, r)
	c, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), "mine", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Webhooks) != 3 {
		t.Errorf("%d entries, want two of the name and auto", len(c.Webhooks))
	}
	for _, h := range c.Webhooks {
		if len(h.ClientConfig.CABundle) == 0 || h.ClientConfig.Service.Name != "istiod-1-29-1" {
			t.Errorf("R§1.4: entry %s calls %+v", h.Name, h.ClientConfig)
		}
	}
	if d := cmp.Diff(map[string]string{"app": "sidecar-injector", mesh.RevLabel: "1-29-1", mesh.TagLabel: "prod"}, c.Labels); d != "" {
		t.Error(d)
	}
}

func TestS2_aSplitTagIsRepairedWithoutMovingAnything(t *testing.T) {
	w, _, writer := beside(t)
	carry(t, w, writer, tagOp(plan.TagSet, "prod", "1-29-1"))
	svc, err := w.Kube.CoreV1().Services(istioSystem).Get(t.Context(), mesh.TagServiceName("prod"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	svc.Labels[mesh.RevLabel] = "default"
	if _, err := w.Kube.CoreV1().Services(istioSystem).Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := observed(t, w); !s.Tags()[0].Split {
		t.Fatalf("it is not split: %+v", s.Tags())
	}
	carry(t, w, writer, plan.Request{Operation: &plan.Operation{Verb: plan.TagRepair}})
	whole(t, observed(t, w), "prod", "1-29-1")
}

// TestS54_aTagThatIsFollowedMeanwhileStays: the plan saw nobody.
func TestS54_aTagThatIsFollowedMeanwhileStays(t *testing.T) {
	w, _, writer := beside(t)
	carry(t, w, writer, tagOp(plan.TagSet, "prod", "1-29-1"))
	before := observed(t, w)
	p := plan.Build(before, tagOp(plan.TagRemove, "prod", ""))
	if _, err := w.Kube.CoreV1().Namespaces().Create(t.Context(), namespace("late", mesh.RevLabel, "prod"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := writer.Apply(t.Context(), p.Steps[0], p, before)
	if !errors.Is(err, drive.ErrRefused) || !strings.Contains(err.Error(), "namespace late follows it") {
		t.Errorf("got %v", err)
	}
	whole(t, observed(t, w), "prod", "1-29-1")
}

func TestTagGenerate(t *testing.T) {
	w, _, writer := beside(t)
	s := observed(t, w)
	for tag, want := range map[string][]string{
		"prod":    {"kind: MutatingWebhookConfiguration", "name: istio-revision-tag-prod", "kind: Service", "name: istiod-revision-tag-prod"},
		"default": {"name: istio-revision-tag-default", "name: istio-sidecar-injector\n", mesh.Deactivated},
	} {
		w.kube.ClearActions()
		b, err := writer.Manifest(context.Background(), plan.Step{Kind: plan.SetTag, Tag: tag, To: "1-29-1", Version: "1.29.1"}, plan.Plan{}, s, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(string(b), text) {
				t.Errorf("%q is missing from\n%s", text, b)
			}
		}
		if wrote := writes(w); len(wrote) > 0 {
			t.Errorf("it wrote %v", wrote)
		}
	}
}

// TestCharts: a base and a gateway release come and go through Helm.
func TestCharts_thereAndBack(t *testing.T) {
	w, h, writer := shop(t)
	if err := w.kube.Tracker().Add(deployment("shop", "edge", 1, "istio-proxy", "auto")); err != nil {
		t.Fatal(err)
	}
	before := observed(t, w)
	st := plan.Step{Kind: plan.InstallChart, Target: "shop/edge", Release: &mesh.Release{Namespace: "shop", Name: "edge", Chart: "gateway", Version: "1.27.0"}}
	for range 2 {
		if err := writer.Apply(t.Context(), st, plan.Plan{}, before); err != nil {
			t.Fatal(err)
		}
	}
	if !h.did("install edge like ") {
		t.Errorf("Helm was asked: %v", h.calls)
	}
	if err := writer.Revert(t.Context(), st, plan.Plan{}, before); err != nil || !h.did("uninstall edge") {
		t.Errorf("%v; Helm was asked: %v", err, h.calls)
	}
	gone := plan.Step{Kind: plan.RemoveChart, Target: istioSystem + "/istio-base", Release: &mesh.Release{Namespace: istioSystem, Name: "istio-base", Chart: "base", Version: "1.27.0"}}
	if err := writer.Apply(t.Context(), gone, plan.Plan{}, before); err != nil || !h.did("keep istio-base") || !h.did("uninstall istio-base") {
		t.Errorf("%v; Helm was asked: %v", err, h.calls)
	}
	if err := writer.Revert(t.Context(), gone, plan.Plan{}, before); err != nil || !h.did("restore istio-base") {
		t.Errorf("%v; Helm was asked: %v", err, h.calls)
	}
}
