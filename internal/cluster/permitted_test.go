package cluster_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/cluster"
)

func TestLacksNamesEachVerbAndResource(t *testing.T) {
	w := newWorld(t)
	w.kube.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		at := r.Spec.ResourceAttributes
		r.Status.Allowed = at.Verb == "get" || at.Resource == "pods" && at.Subresource == ""
		return true, r, nil
	})
	rules := []access.Rule{
		{Group: "", Resources: []string{"pods", "pods/portforward"}, Verbs: []string{"create"}},
		{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"get", "patch"}},
	}
	got, err := cluster.Lacks(t.Context(), w.Clients, rules)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"create pods/portforward", "patch deployments.apps"}, got); d != "" {
		t.Error(d)
	}
	w.kube.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	if _, err := cluster.Lacks(t.Context(), w.Clients, rules); err == nil {
		t.Error("no answer is not a yes")
	}
}
